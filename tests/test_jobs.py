"""Jobs that fail, and callers that are killed."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

from asc_jax import jobs
from asc_jax.jobs import Job, carry_out, only_caller

ROOT = pathlib.Path(__file__).parents[1]

# A program that notes its word, and ends with the status that the next word says.
NOTES = """
import sys, time
word, status, seconds = sys.argv[1:]
print("loading", word)
time.sleep(float(seconds))
open({notes!r}, "a").write(word)
sys.exit(int(status))
"""


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """A small program in the place of the commands; what it notes."""
    program, notes = tmp_path / "program.py", tmp_path / "notes"
    program.write_text(NOTES.format(notes=str(notes)))
    monkeypatch.setattr(jobs, "PROGRAM", (sys.executable, "-SE", str(program)))
    return notes


def job(name: str, *statuses: int) -> Job:
    return Job(name, (name,), tuple((name, str(status), "0") for status in statuses))


def test_a_failure_ends_its_job_and_a_fatal_one_all(tmp_path, notes):
    todo = [job("a", 1, 0), job("b", 0, 0), job("c", 2), job("d", 0)]
    with only_caller(tmp_path) as lock:
        failures = carry_out(todo, tmp_path, lock, fatal=(2,))
    assert notes.read_text() == "abbc"
    assert {name: failure.status for name, failure in failures.items()} == {"a": 1, "c": 2}
    assert str(failures["a"]) == "failed with status 1: loading a"


def test_a_job_that_lacks_something_is_not_tried(tmp_path, notes):
    done = lambda name: notes.exists() and name in notes.read_text()
    needs = {"b": ["a"], "d": ["c"]}
    lacks = lambda job: [name for name in needs.get(job.name, ()) if not done(name)]
    todo = [job("a", 0), job("b", 0), job("d", 0), job("c", 0)]
    with only_caller(tmp_path) as lock:
        failures = carry_out(todo, tmp_path, lock, lacks=lacks)
    assert notes.read_text() == "abc"
    assert {name: str(failure) for name, failure in failures.items()} == {"d": "not tried: needs c"}


CALLER = """
import pathlib, sys
from asc_jax import jobs
jobs.PROGRAM = (sys.executable, "-SE", {program!r})
with jobs.only_caller(pathlib.Path({workdir!r})) as lock:
    jobs.carry_out([jobs.Job("slow", (), (("slow", "0", "3"),))], pathlib.Path({workdir!r}), lock)
"""


def test_a_command_whose_caller_was_killed_is_waited_for(tmp_path, notes, capsys):
    program = str(tmp_path / "program.py")
    code = CALLER.format(program=program, workdir=str(tmp_path))
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not (tmp_path / "slow.log").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)  # s; for the program to be started
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    assert not notes.exists()
    with only_caller(tmp_path):
        assert notes.read_text() == "slow"
    assert "an earlier call's command is at work" in capsys.readouterr().err
