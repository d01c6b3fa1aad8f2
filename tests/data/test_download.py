"""`data download` against a server on loopback: small archives of the data set's own layout."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import archive_server
import pytest
from archive_server import stall, zipped
from refusals import refused

from asc_jax import cli
from asc_jax.data import fetching, read_dataset
from asc_jax.data.check import check_dataset
from asc_jax.data.download import download
from asc_jax.data.zenodo import RECORDS, UNPACKED, Archive, Record

TOP = "TUT-urban-acoustic-scenes-2018-development"
CLIPS = {"development": 8640, "leaderboard": 1200, "evaluation": 3600}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetching, "TIMEOUT", 5.0)
    monkeypatch.setattr(fetching, "PATIENCE", 5.3)
    monkeypatch.setattr(fetching, "PAUSE", 0.01)
    with archive_server.serve() as serving:
        yield serving


@pytest.fixture(scope="module")
def contents(scenes) -> dict[str, bytes]:
    """Archives by their names, as the development set has them."""
    files = lambda pattern: {
        path.relative_to(scenes).as_posix(): path.read_bytes()
        for path in sorted(scenes.glob(pattern))
    }
    tables = files("meta.csv") | files("evaluation_setup/*")
    audio = list(files("audio/*").items())
    parts = {
        "doc": {"README.md": b"the terms"},
        "meta": tables,
        "audio.1": dict(audio[:30]),
        "audio.2": dict(audio[30:]),
    }
    return {f"{TOP}.{part}.zip": zipped(files, TOP) for part, files in parts.items()}


@pytest.fixture
def record(server, contents) -> Record:
    return server.publish(contents)


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
    return tmp_path / "data" / "set"


def test_a_set_is_what_the_check_reads(server, record, root, scenes, capsys):
    download(record, root, server=server.address)
    said = capsys.readouterr().err
    theirs, ours = check_dataset(scenes), check_dataset(root)
    differing = {name for name in ours if ours[name] != theirs[name]}
    assert differing == {"root", "command"}
    assert not list(root.rglob("*.zip")) and (root / "README.md").exists()
    parts = [line.partition(":")[0] for line in said.splitlines()]
    assert [f"{TOP}.{part}" for part in parts] == [archive.name for archive in record.archives]
    assert "100%" in said.splitlines()[-1] and "\r" not in said  # a log: no bar
    download(record, root, server=server.address)
    assert len(server.ranges) == 4


def test_archives_that_are_named_are_used_and_kept(server, record, contents, root, tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    here, fetched = list(contents.items())[:3], record.archives[3]
    for name, content in here:
        (folder / name).write_bytes(content)
    download(record, root, folder, server=server.address)
    assert len(server.ranges) == 1
    assert {path.name for path in folder.iterdir()} == {*dict(here), fetched.name}
    download(record, tmp_path / "another", folder, server=server.address)
    assert len(server.ranges) == 1
    assert not check_dataset(tmp_path / "another")["faults"]


def test_a_wrong_archive_that_lay_there_is_named_and_left(server, record, root, tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    mine = folder / record.archives[0].name
    mine.write_bytes(zipped({"README.md": b"mine"}))
    with refused(path=mine):
        download(record, root, folder, server=server.address)
    assert mine.exists() and not root.exists()


def test_a_file_that_is_deleted_is_fetched_again_and_no_other_is(server, record, root):
    download(record, root, server=server.address)
    clips = [root / clip.path for clip in read_dataset(root).clips]
    clips[0].unlink()
    others = [(path, path.stat().st_ino) for path in clips[1:]]
    download(record, root, server=server.address)
    assert clips[0].exists() and len(server.ranges) == 5
    assert others == [(path, path.stat().st_ino) for path in clips[1:]]


def test_disks_without_room_and_folders_that_cannot_be(server, root, tmp_path):
    large = Record(1, (Archive("large.zip", 1 << 60, ""),))
    for archives in (None, tmp_path / "archives"):
        with refused(path=root):
            download(large, root, archives, server=server.address)
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with refused(path=place):
            download(Record(1, ()), place, server=server.address)
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and not server.ranges


@pytest.mark.parametrize(
    "words, field",
    [
        (["--set=training", "--accept_license"], "--set"),
        (["--accept_license=yes"], "--accept_license"),
        (["--archives=", "--accept_license"], "--archives"),
        ([], "--accept_license"),
    ],
)
def test_the_command_line_refuses(root, monkeypatch, capsys, words, field):
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert cli.main(["data", "download", f"--root={root}", *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(field)
    assert not root.exists()


COMMAND = """
import functools, json, sys
from asc_jax import cli
from asc_jax.data import download, zenodo

download.download = functools.partial(download.download, server=sys.argv.pop(1))
archives = [zenodo.Archive(*fields) for fields in json.loads(sys.argv.pop(1))]
zenodo.RECORDS["leaderboard"] = zenodo.Record(7, tuple(archives))
sys.exit(cli.main())
"""


def command(server, record, root, *words, **how) -> subprocess.Popen:
    """The command in a process of its own, of a server on loopback."""
    archives = json.dumps([dataclasses.astuple(archive) for archive in record.archives])
    line = [sys.executable, "-c", COMMAND, server.address, archives, "data", "download"]
    line += ["--set=leaderboard", f"--root={root}", *words]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, **how)


@pytest.mark.parametrize("number, expected", [(signal.SIGTERM, 75), (signal.SIGKILL, -9)])
def test_a_signal_stops_it_and_the_same_command_goes_on(server, record, root, number, expected):
    server.answers = [archive_server.right] * 2 + [stall(200_000)]
    with command(server, record, root, "--accept_license") as process:
        partial = root / ".download" / f"{record.archives[2].name}.partial"
        until = time.monotonic() + 60
        while len(server.ranges) < 3 or not partial.exists():
            assert process.poll() is None and time.monotonic() < until, process.stderr.read()
            time.sleep(0.02)
        time.sleep(0.2)  # what was sent has come
        process.send_signal(number)
        assert process.wait(30) == expected
        assert "Traceback" not in process.stderr.read()
    assert 0 < partial.stat().st_size <= 200_000 and not list((root / "audio").glob("*"))
    with command(server, record, root, "--accept_license", stdout=subprocess.PIPE) as process:
        assert process.wait(60) == 0
        assert f"asc-jax data check {root}" in process.stdout.read().splitlines()[-1]
    assert re.fullmatch(r"bytes=[1-9]\d*-", server.ranges[3]) and len(server.ranges) == 5
    assert not check_dataset(root)["faults"]


@pytest.mark.parametrize("answer, expected", [("y\n", 0), ("no\n", 2)])
def test_the_licence_is_asked_for_in_a_terminal(server, record, root, answer, expected):
    ours, theirs = os.openpty()
    os.write(ours, answer.encode())
    with command(server, record, root, stdin=theirs) as process:
        os.close(theirs)
        assert process.wait(60) == expected
        assert "zenodo.org/records/1228142" in process.stderr.readline()
    os.close(ours)
    assert root.exists() == (expected == 0)


@pytest.mark.parametrize("name", RECORDS)
def test_the_published_sets(name):
    archives = RECORDS[name].archives
    assert all(re.fullmatch("[0-9a-f]{32}", archive.md5) for archive in archives)
    assert len({archive.md5 for archive in archives}) == len(archives)
    n_bytes = CLIPS[name] * 2_880_044
    assert n_bytes <= UNPACKED * sum(archive.size for archive in archives) < 1.02 * n_bytes


def test_the_flag_knows_the_published_sets(capsys):
    with pytest.raises(SystemExit):
        cli.main(["data", "download", "--help"])
    assert "{" + ",".join(RECORDS) + "}" in capsys.readouterr().out
