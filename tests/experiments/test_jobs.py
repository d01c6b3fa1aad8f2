"""Jobs that fail, and callers that are killed."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from checkout import ROOT

from asc_jax.experiments import jobs
from asc_jax.experiments.jobs import Job, carry_out, only_caller
from asc_jax.runtime.errors import Stopped
from asc_jax.runtime.interruption import Interruptible

# A program that notes its word, once a file is there, and ends with the status that it is told.
NOTES = """
import os, sys, time
word, status, awaited = sys.argv[1:]
print("loading", word, flush=True)
while not os.path.exists(awaited):
    time.sleep(0.01)
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
    return Job(name, (name,), tuple((name, str(status), "/") for status in statuses))


def test_a_failure_ends_its_job_and_a_fatal_one_all(tmp_path, notes):
    todo = [job("a", 1, 0), job("b", 0, 0), job("c", 2), job("d", 0)]
    with only_caller(tmp_path) as lock:
        failures = carry_out(todo, tmp_path, lock, fatal=(2,))
    assert notes.read_text() == "abbc"
    assert {name: failure.status for name, failure in failures.items()} == {"a": 1, "c": 2}
    assert failures["a"].said == "loading a"


def test_a_job_that_lacks_something_is_not_tried(tmp_path, notes):
    done = lambda name: notes.exists() and name in notes.read_text()
    needs = {"b": ["a"], "d": ["c"]}
    lacks = lambda job: [name for name in needs.get(job.name, ()) if not done(name)]
    todo = [job("a", 0), job("b", 0), job("d", 0), job("c", 0)]
    with only_caller(tmp_path) as lock:
        failures = carry_out(todo, tmp_path, lock, lacks=lacks)
    assert notes.read_text() == "abc"
    assert list(failures) == ["d"]
    assert failures["d"].status is None and "c" in failures["d"].said.split()


CALLER = """
import pathlib, sys
from asc_jax.experiments import jobs
jobs.PROGRAM = (sys.executable, "-SE", {program!r})
workdir, slow = pathlib.Path({workdir!r}), jobs.Job("slow", (), (("slow", "0", {awaited!r}),))
with jobs.only_caller(workdir) as lock:
    jobs.carry_out([slow], workdir, lock)
"""


def test_a_command_whose_caller_was_killed_is_waited_for(tmp_path, notes, monkeypatch):
    program, awaited, log = (tmp_path / name for name in ("program.py", "awaited", "slow.log"))
    code = CALLER.format(program=str(program), workdir=str(tmp_path), awaited=str(awaited))
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    while not (log.exists() and "loading" in log.read_text()):
        assert caller.poll() is None
        time.sleep(0.01)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    said = []

    def say(words, file):
        said.append(words)
        awaited.touch()

    monkeypatch.setattr(jobs, "print", say, raising=False)
    with only_caller(tmp_path):
        assert notes.read_text() == "slow"
    assert len(said) == 1 and said[0].startswith(str(tmp_path))


def test_a_signal_ends_the_wait_for_an_earlier_call(tmp_path, monkeypatch, process_as_it_was):
    tell = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(jobs, "print", lambda *_, file: tell.start(), raising=False)
    again = only_caller(tmp_path)
    with only_caller(tmp_path), pytest.raises(KeyboardInterrupt), Interruptible(), again:
        pass


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_signals_are_passed_on(tmp_path, monkeypatch, process_as_it_was, name):
    code = (
        "import signal, sys, time\n"
        f"signal.signal(signal.{name}, lambda *_: sys.exit(7))\n"
        "open(sys.argv[1], 'w')\n"
        "time.sleep(1000)"
    )
    monkeypatch.setattr(jobs, "PROGRAM", (sys.executable, "-c", code))
    ready, number = tmp_path / "ready", getattr(signal, name)

    def tell():
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=tell)
    thread.start()
    with only_caller(tmp_path) as lock, pytest.raises(Stopped):
        carry_out([Job("a", (), ((str(ready),),))], tmp_path, lock)
    thread.join()
