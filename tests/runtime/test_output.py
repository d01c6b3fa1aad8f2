"""What is printed: it loses no result, and a stream that cannot be written is one line at most."""

import io
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys

import pytest
from checkout import KEPT

from asc_jax import cli
from asc_jax.report.page import write_page
from asc_jax.runtime import files

FORMAT1 = KEPT / "format1"

BEGIN = (
    "import sys; from asc_jax import cli; from asc_jax.runtime import output; output.prepare()\n"
)


def process(code: str, **how) -> subprocess.CompletedProcess:
    """A program whose streams are prepared as the command's are."""
    variables = how.pop("env", {})
    end = "\nsys.exit(output.finish(0))"
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code + end],
        env=os.environ | variables,
        **{"stderr": subprocess.PIPE, "text": True} | how,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_traceback(unbuffered, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    code = f"print('a line'); print('x' * 100_000); open({str(tmp_path / 'made')!r}, 'w')"
    done = process(code, stdout=writer, env={"PYTHONUNBUFFERED": unbuffered})
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
    assert (tmp_path / "made").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has this device")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_a_line(unbuffered, tmp_path):
    code = f"print('a line'); print('x' * 100_000); open({str(tmp_path / 'made')!r}, 'w')"
    with open("/dev/full", "w") as full:
        done = process(code, stdout=full, env={"PYTHONUNBUFFERED": unbuffered})
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert (tmp_path / "made").exists()
        # A log of errors that is full stops nothing, and neither do both.
        code = "print('as it goes', file=sys.stderr); print('done')"
        done = process(code, stderr=full, stdout=subprocess.PIPE)
        assert (done.returncode, done.stdout) == (0, "done\n")
        assert process(code, stderr=full, stdout=full).returncode == 2


def test_the_command_prepares_its_streams(tmp_path):
    """Of the last flush, after the command has come to its end."""
    command = [sys.executable, "-m", "asc_jax", "--version"]
    variables = os.environ | {"PYTHONUNBUFFERED": ""}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=variables)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_what_the_encoding_lacks_comes_as_an_escape():
    code = "print('caf\\xe9 \\u2192 \\udce9'); print('\\u2192', file=sys.stderr)"
    done = process(code, stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "latin-1"}, text=False)
    assert done.returncode == 0
    assert done.stdout == b"caf\xe9 \\u2192 \\udce9\n" and done.stderr == b"\\u2192\n"


def test_files_are_written_before_anything_is_printed(tmp_path, monkeypatch, process_as_it_was):
    run = tmp_path / "run"
    shutil.copytree(FORMAT1, run)
    report = json.loads((run / "report.json").read_text())
    monkeypatch.setattr("asc_jax.scoring.evaluate.evaluate", lambda *_, **__: report)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    monkeypatch.setattr("asc_jax.report.terminal.render", lambda report: "é")
    with pytest.raises(UnicodeEncodeError):
        cli.main(["evaluate", f"--workdir={run}"])
    assert (run / "report.html").exists()


def test_a_name_that_is_no_utf8_is_escaped_in_what_is_written(tmp_path):
    """As Python has such a name of a folder."""
    name = os.fsdecode(b"caf\xe9")
    shutil.copytree(FORMAT1, tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    report["data"]["root"] = name
    (tmp_path / "run" / "report.json").write_text(json.dumps(report))
    assert b"caf\\udce9" in write_page(tmp_path / "run").read_bytes()


def test_a_file_is_on_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    path, done = tmp_path / "deeper" / "it.json", []
    sync, replace = os.fsync, pathlib.Path.replace

    def fsync(descriptor):
        status = os.fstat(descriptor)
        done.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")
        sync(descriptor)

    def move(self, target):
        done.append("moved")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(pathlib.Path, "replace", move)
    files.write_whole(path, "content")
    assert done == ["7 bytes", "moved", "folder"]
    assert path.read_text() == "content"
