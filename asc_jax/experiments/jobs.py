"""Jobs: commands carried out one after the other, each as a process of its own.

What a command has done stands in its run folder. So a job that a stop or a failure has cut
short is resumed by the same commands, and one that is finished is seen to be.
"""

import collections
import contextlib
import dataclasses
import fcntl
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TextIO

from asc_jax.data import manifest
from asc_jax.runtime.errors import STOPPED, InputError, Stopped
from asc_jax.runtime.files import parse_json
from asc_jax.runtime.interruption import Signals

# What a job's commands are commands of.
PROGRAM = (sys.executable, "-m", "asc_jax")

# Held by the commands that are at work in a folder, beside the `.lock` of who calls them.
LOCK = ".commands.lock"


@dataclasses.dataclass(frozen=True)
class Job:
    """Commands that are carried out in order, and what they make.

    Attributes:
      name: of its log, without ".log".
      runs: what it makes, in its owner's terms.
      commands: the words of each, after "asc-jax".
    """

    name: str
    runs: tuple
    commands: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """A line for a shell."""
        return " && ".join(shlex.join(("asc-jax", *command)) for command in self.commands)


@dataclasses.dataclass(frozen=True)
class Failure:
    """How a job has ended that did not come to its end.

    Attributes:
      status: exit status of the command; 2 where its log could not be written, None where
        none was tried.
      said: the command's last line, or what the job lacks.
    """

    status: int | None
    said: str

    def __str__(self) -> str:
        if self.status is None:
            return f"not tried: {self.said}"
        return f"failed with status {self.status}: {self.said}"


def carry_out(
    jobs: Sequence[Job],
    workdir: pathlib.Path,
    lock: TextIO,
    *,
    fatal: Collection[int] = (),
    lacks: Callable[[Job], Collection[str]] = lambda job: (),
) -> dict[str, Failure]:
    """Carries out jobs, and says how they go on the standard error.

    Args:
      jobs: in order.
      workdir: where their logs go.
      lock: of `only_caller`.
      fatal: exit statuses after which no further job is tried.
      lacks: asked when a job's turn comes: what it needs and is not done. It is not tried then.

    Returns:
      What went wrong, by the names of the jobs.

    Raises:
      Stopped: by a signal; the process that ran has been told, and has ended.
    """
    failures = {}
    with Signals(signal.SIGINT, signal.SIGTERM) as signals:
        for number, job in enumerate(jobs, start=1):
            log, place = workdir / f"{job.name}.log", f"[{number}/{len(jobs)}] {job.name}"
            started = time.perf_counter()
            if missing := lacks(job):
                failure = Failure(None, f"needs {', '.join(missing)}")
            else:
                print(f"{place}: see {log}", file=sys.stderr)
                failure = _failure(job, log, lock, signals)
            if failure:
                failures[job.name] = failure
                print(f"{place}: {failure}", file=sys.stderr)
                if failure.status in fatal:
                    break
            else:
                seconds = time.perf_counter() - started
                print(f"{place}: done in {seconds:.0f} s", file=sys.stderr)
    return failures


def is_scored(folder: pathlib.Path, n_epochs: int, sets: Iterable[str] = ()) -> bool:
    """Whether a classifier's run is evaluated as it should be.

    Args:
      folder: the run's.
      n_epochs: that it is to have.
      sets: names of those beside the development set that its report must speak of.
    """
    try:
        report = parse_json((folder / "report.json").read_text())
        listed = {one["name"] for one in (*report["lists"], *report["unlabelled"])}
        if report["training"]["epochs"] < n_epochs or not listed.issuperset(sets):
            return False
        # The page goes before anything else is written, and comes last.
        return (folder / "report.html").exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_synthesized(gan: pathlib.Path, clips: pathlib.Path, n_clips: int) -> bool:
    """Whether there are so many clips for each fold of a GAN's run, of all scenes alike."""
    try:
        scenes = collections.defaultdict(set)
        for corpus in parse_json((gan / "corpora.json").read_text()):
            scenes[corpus["fold"]].update(corpus["scene_labels"])
        lines, _ = manifest.read_lines(clips / manifest.NAME, manifest.TO_TRAIN)
        made = collections.Counter((line["fold"], line["scene_label"]) for line in lines)
        counts = [[made[fold, label] for label in labels] for fold, labels in scenes.items()]
        return all(sum(c) >= n_clips and min(c) >= n_clips // len(c) for c in counts)
    except (InputError, OSError, ValueError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def only_caller(workdir: pathlib.Path) -> Iterator[TextIO]:
    """Waits until no command that an earlier call has started is at work any more.

    One whose caller was killed continues to its end, because it has inherited its caller's lock.

    Args:
      workdir: of the jobs; held by the caller.

    Yields:
      The lock, to be inherited.
    """
    with (workdir / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(
                f"{workdir}: a command of an earlier call is still running; waiting for it",
                file=sys.stderr,
            )
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _failure(job: Job, log: pathlib.Path, lock: TextIO, signals: Signals) -> Failure | None:
    """Carries out a job; returns what went wrong, if anything did."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as said:
            for command in job.commands:
                status = _call([*PROGRAM, *command], said, lock, signals)
                if status:
                    return Failure(status, _last_line(log))
    except OSError as error:
        return Failure(2, f"{log}: {error.strerror}")
    return None


def _call(command: Sequence[str], output: TextIO, lock: TextIO, signals: Signals) -> int:
    """Runs a process to its end, in a group of its own: a terminal's ^C reaches it once.

    Returns:
      Its exit status.

    Raises:
      Stopped: a signal has come, or has stopped the process.
    """
    status = None
    if not signals.received:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            pass_fds=(lock.fileno(),),
        ) as process:
            sent = 0
            while (status := process.poll()) is None:
                for number in signals.received[sent:]:
                    process.send_signal(number)
                    sent += 1
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.1)  # s
    if signals.received or status == STOPPED:
        raise Stopped("stopped; run the same command to resume")
    return status


def _last_line(log: pathlib.Path) -> str:
    lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
