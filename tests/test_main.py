"""What the commands say before they do anything, and who may work in a run folder."""

import fcntl

from refusals import refused

from asc_jax import cli
from asc_jax.runs.folder import hold


def test_without_a_command_the_commands_are_listed(process_as_it_was, capsys):
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and all(f"\n    {name}" in err for name in ("data", "train", "reproduce"))
    assert cli.main(["data"]) == 2
    assert "{download,synth,check}" in capsys.readouterr().err


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
