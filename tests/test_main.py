"""What the commands say before they do anything, and who may work in a run folder."""

import fcntl

import pytest
from refusals import refused

import asc_jax
from asc_jax import cli
from asc_jax.runs.folder import hold


def test_without_a_command_the_commands_are_listed(process_as_it_was, capsys):
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and all(f"\n    {name}" in err for name in ("data", "train", "reproduce"))
    assert cli.main(["data"]) == 2
    assert "{synth,check}" in capsys.readouterr().err


def test_the_version(process_as_it_was, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"asc-jax {asc_jax.__version__}\n"


def test_the_address_of_a_bucket_is_no_folder(process_as_it_was, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--config=none.py", "--workdir=gs://bucket/run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--workdir: gs://bucket/run: ")
    assert not list(tmp_path.iterdir())


def test_a_lock_that_its_holder_has_removed_is_none(tmp_path, monkeypatch):
    flock, calls = fcntl.flock, []

    def late(file, how):
        if not calls:  # the holder leaves between this process's opening and locking it
            (tmp_path / "run" / ".lock").unlink()
        calls.append(how)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with (
        hold(tmp_path / "run"),
        refused(path=tmp_path / "run"),
        hold(tmp_path / "run"),
    ):
        pass
    assert len(calls) == 3
