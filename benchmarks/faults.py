"""What is left of the work, and of its results, when processes are killed and disks fail.

Every command is a process of its own. A fault strikes it, the same command
is given again, and in the end its result must be that of a run that nothing struck, bit for
bit. Full disks are small file systems, which it takes root to mount.
"""

import dataclasses
import functools
import multiprocessing
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from benchmarks.fault_subjects import Subject, environment, prepare

# How many of each kind; by the subject's name.
FULL = {"cache": 2, "synthesis": 2, "training": 6}
DAMAGED = {"cache": 4, "GAN training": 4, "training": 12}
KILLS = {"cache": 6, "evaluation": 8, "synthesis": 10, "GAN training": 5, "training": 12,
         "saving": 10}  # fmt: skip
QUICK = ({}, {"training": 1}, {"saving": 1})

_PROCESSES = multiprocessing.get_context("forkserver")
_IMPORTED = ("asc_jax.scoring.evaluate", "asc_jax.gan.synthesize", "asc_jax.report.page",
             "asc_jax.report.gan.page", "sklearn.model_selection", "soundfile")  # fmt: skip


@dataclasses.dataclass
class Row:
    """What became of the faults of one kind; `lost` has the steps of each that had any to lose."""

    fault: str
    during: str
    faults: int = 0
    survived: int = 0
    wrong: int = 0
    lost: list[int] = dataclasses.field(default_factory=list)

    def shown(self) -> dict:
        """As a row of the table."""
        return {
            "fault": self.fault,
            "during": self.during,
            "faults": self.faults,
            "survived": self.survived,
            "lost steps, mean": sum(self.lost) / len(self.lost) if self.lost else None,
            "lost steps, most": max(self.lost, default=None),
            "wrong results": self.wrong,
            "steps": self.lost,
        }


def run(args) -> dict:
    """Strikes, and compares; see `benchmarks.__main__` for the arguments."""
    rng = random.Random(args.seed)
    full, damaged, kills = QUICK if args.quick else (FULL, DAMAGED, KILLS)
    started, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory(prefix="asc_jax_faults_") as folder:
        os.environ.update(environment(pathlib.Path(folder)))
        _PROCESSES.set_forkserver_preload([__name__, *_IMPORTED])
        subjects = prepare(pathlib.Path(folder), small=args.quick, run=finish)
        for counts, strike in ((full, fill_disks), (damaged, damage_files), (kills, kill_often)):
            for name, n in counts.items():
                rows.append(strike(subjects[name], n, rng))
                print(rows[-1], file=sys.stderr)
    shown = [row.shown() for row in rows]
    total = {name: sum(row[name] for row in shown) for name in ("faults", "survived")}
    total |= {"wrong results": sum(row["wrong results"] for row in shown)}
    return {
        "rows": [*shown, {"fault": "all", "during": ""} | total],
        "seed": args.seed,
        "save_every": subjects["training"].save_every,
        "minutes": (time.perf_counter() - started) / 60,
    }


def start(subject: Subject, place: pathlib.Path) -> multiprocessing.Process:
    """The subject's command in a new process that counts its steps; its words go to files."""
    counter = subject.counter
    counter.write_bytes(b"")
    process = _PROCESSES.Process(target=counted, args=(counter, subject.words(place)))
    process.start()
    return process


def counted(counter: pathlib.Path, words: Sequence) -> None:
    """Runs a command of asc-jax in this process; a byte is added to a file at each step."""
    from asc_jax import cli
    from asc_jax.train.progress_bar import StepBar

    for stream, name in ((sys.stdout, ".out"), (sys.stderr, ".err")):
        with counter.with_suffix(name).open("w") as file:
            os.dup2(file.fileno(), stream.fileno())
    update = StepBar.update

    def count(bar, n):
        with counter.open("ab") as file:
            file.write(b"." * n)
        return update(bar, n)

    StepBar.update = count
    sys.exit(cli.main(list(map(str, words))))


def finish(subject: Subject, place: pathlib.Path, *, expected: int = 0) -> int:
    """Runs a subject's command to its end.

    Returns:
      The steps that it took.

    Raises:
      RuntimeError: it ended with another status than the expected one.
    """
    process = start(subject, place)
    process.join(timeout=1800)  # s; else it hangs
    process.kill()
    process.join()
    if process.exitcode != expected:
        said = subject.counter.with_suffix(".err").read_text()
        raise RuntimeError(
            f"{subject.name}: status {process.exitcode} instead of {expected}: {said}"
        )
    return subject.counter.stat().st_size


def judged(row: Row, subject: Subject, place: pathlib.Path, n: int, action: Callable) -> None:
    """Adds n faults to a row: survived if `action` ends well, wrong if the result then differs."""
    row.faults += n
    try:
        action()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return
    row.survived += n
    if subject.result(place) != subject.whole:
        print(f"{place}: differs from {subject.reference}", file=sys.stderr)
        row.wrong += n


def kill_often(subject: Subject, n: int, rng: random.Random) -> Row:
    """Kills a command up to `subject.per_run` times on its way to one end, until n have struck."""
    row, number = Row("kill -9", subject.name), 0
    while row.faults < n:
        place = subject.fresh()
        number += 1
        n_here = min(subject.per_run, n - row.faults)
        struck = 0
        for part in range(n_here):
            struck += _kill_once(subject, place, (part + rng.random()) / n_here, rng, row)
        if struck:
            judged(row, subject, place, struck, functools.partial(finish, subject, place))
        if number > 4 * n:
            raise RuntimeError(f"{subject.name}: ends before any fault can strike")
    return row


def _kill_once(
    subject: Subject, place: pathlib.Path, share: float, rng: random.Random, row: Row
) -> bool:
    """Kills a command a random moment after it has come so far; False if it was quicker."""
    counter = subject.counter
    base, began = subject.saved_step(place), time.perf_counter()
    process = start(subject, place)
    while process.is_alive() and not subject.reached(
        place, share, base + counter.stat().st_size, time.perf_counter() - began
    ):
        time.sleep(0.0005)
    time.sleep(rng.uniform(0, subject.delay))
    process.kill()
    process.join()
    if process.exitcode != -signal.SIGKILL:
        return False
    if subject.save_every:
        row.lost.append(base + counter.stat().st_size - subject.saved_step(place))
    return True


def fill_disks(subject: Subject, n: int, rng: random.Random) -> Row:
    """Runs a command on a disk too small for it, then on the same disk made larger."""
    row = Row("full disk", subject.name)
    for number in range(n):
        disk = subject.home / f"disk{number}"
        disk.mkdir()
        size = int(rng.uniform(0.15, 0.9) * subject.size)
        _mount(disk, f"size={size // 4096 * 4}k")
        try:
            place = subject.fresh(disk)

            def full_then_larger(disk=disk, place=place):
                taken = finish(subject, place, expected=subject.when_full)
                saved = subject.saved_step(place)
                _mount(disk, "remount,size=1g")
                finish(subject, place)
                if subject.save_every:
                    row.lost.append(taken - saved)

            judged(row, subject, place, 1, full_then_larger)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return row


def _mount(disk: pathlib.Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            f"{disk}: a small file system cannot be mounted ({done.stderr.strip()}); run this as "
            "root, or with --quick, which fills no disk"
        )


def damage_files(subject: Subject, n: int, rng: random.Random) -> Row:
    """Flips a bit of a file that a command has left, or cuts it; then the command comes again."""
    row = Row("flipped bit or cut file", subject.name)
    for _ in range(n):
        place = subject.copied()
        files = subject.precious(place)
        sizes = [path.stat().st_size for path in files]  # each byte is as likely as any other
        _damage(rng.choices(files, sizes)[0], rng)

        def again(place=place):
            steps = finish(subject, place)
            if subject.save_every:
                row.lost.append(steps)

        judged(row, subject, place, 1, again)
    return row


def _damage(path: pathlib.Path, rng: random.Random) -> None:
    content, modified = bytearray(path.read_bytes()), path.stat()
    if rng.random() < 0.5:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    else:
        del content[rng.randrange(len(content)) :]
    path.write_bytes(content)
    os.utime(path, ns=(modified.st_atime_ns, modified.st_mtime_ns))  # a disk leaves no trace
