#!/usr/bin/env python3
"""Commands on SLURM by submitit, one job each: a run, or all runs of a sweep as an array.

    launch/submitit_job.py --folder=jobs commands.txt --partition=gpu --gpus=1 --at-once=8

`commands.txt` has a job per line, one command or several joined by &&, as `asc-jax sweep --dry_run`
prints them; blank lines and those that begin with # are left out. A job that is preempted or
reaches its time limit saves, stops and is queued again, but not after three turns in a row that
have added neither a checkpoint nor a clip to the folders of --workdir and --out. `--local` runs the
jobs on this machine, one after another. submitit comes with the extra `cluster`:
pip install -e '.[cluster]'.
"""

import argparse
import contextlib
import itertools
import os
import pathlib
import shlex
import subprocess
import sys

# Flags that name what a command writes to.
FOLDERS = ("--workdir", "--out")

# Turns in a row that may add nothing to what is saved.
IDLE = 3


class Job:
    """The commands of a line as submitit's job; it is queued again when its turn is over."""

    def __init__(self, line: str, idle: int = 0):
        """Before a turn; `idle` is how many in a row before it have added nothing."""
        self.line = line
        self.idle = idle
        self.before = []
        self.process = None
        words = itertools.groupby(shlex.split(line), key=lambda word: word == "&&")
        self.commands = [list(command) for joint, command in words if not joint]

    def __call__(self) -> None:
        """Runs the commands, the next one if none has failed; raises at the first that fails."""
        self.before = self.saved()
        for command in self.commands:
            # In its own session: the cluster's signals are for submitit, which calls `checkpoint`.
            self.process = subprocess.Popen(command, start_new_session=True)
            status = self.process.wait()
            if status:
                raise RuntimeError(f"{shlex.join(command)}: status {status}")

    def checkpoint(self):
        """Ahead of preemption or of the time limit: saves; submitit queues what this returns."""
        from submitit.helpers import DelayedSubmission

        if self.process:
            self.process.terminate()
            # Not `Popen.wait`, in whose middle the signal that called this has come.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
            self.idle = self.idle + 1 if self.folders() and self.saved() == self.before else 0
        if self.idle >= IDLE:
            raise RuntimeError(f"{self.line}: {IDLE} turns have added nothing; not queued again")
        return DelayedSubmission(Job(self.line, self.idle))

    def folders(self) -> list[pathlib.Path]:
        """Those of the commands' flags --workdir and --out."""
        words = [word for command in self.commands for word in command]
        named = [word.partition("=") for word in words]
        joint = [value for flag, equals, value in named if flag in FOLDERS and equals]
        apart = [value for flag, value in itertools.pairwise(words) if flag in FOLDERS]
        return [pathlib.Path(folder) for folder in joint + apart]

    def saved(self) -> list[pathlib.Path]:
        """The checkpoints and clips there."""
        found = [
            path
            for folder in self.folders()
            for path in folder.rglob("*")
            if path.suffix == ".wav" or (path.parent.name == "checkpoints" and path.name.isdigit())
        ]
        return sorted(found)


def main() -> int:
    """Submits the commands and prints the jobs' numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("commands", type=pathlib.Path, help="a file; - for standard input")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="for the jobs' logs")
    parser.add_argument("--local", action="store_true", help="on this machine, and wait for them")
    parser.add_argument("--partition", default=None)
    parser.add_argument("--gpus", type=int, default=1, help="per job (1)")
    parser.add_argument("--cpus", type=int, default=8, help="per job (8)")
    parser.add_argument("--hours", type=float, default=24, help="of a turn, not of the run (24)")
    parser.add_argument(
        "--turns", type=int, default=100, help="up to its time limit, per job (100)"
    )
    parser.add_argument("--at-once", type=int, default=16, help="jobs of the array (16)")
    args = parser.parse_args()
    try:
        import submitit
    except ImportError:
        print("submitit is not installed; run pip install -e '.[cluster]'", file=sys.stderr)
        return 2
    try:
        file = sys.stdin if str(args.commands) == "-" else args.commands.open()
    except OSError as error:
        print(f"{args.commands}: cannot be read ({error.strerror})", file=sys.stderr)
        return 2
    with file:
        lines = [line.strip() for line in file]
    jobs = []
    for number, line in enumerate(lines, start=1):
        try:
            jobs += [Job(line)] if line and not line.startswith("#") else []
        except ValueError as error:
            print(f"{args.commands}:{number}: is no command ({error})", file=sys.stderr)
            return 2
    if not jobs:
        print(f"{args.commands}: holds no command", file=sys.stderr)
        return 2
    # By default submitit gives a job up at its fourth time limit.
    cluster = {"cluster": "slurm", "slurm_max_num_timeout": args.turns - 1}
    executor = submitit.AutoExecutor(
        args.folder, **({"cluster": "local"} if args.local else cluster)
    )
    executor.update_parameters(name="asc-jax", timeout_min=round(60 * args.hours))
    if args.local:
        return run_here(executor, jobs)
    executor.update_parameters(
        cpus_per_task=args.cpus,
        gpus_per_node=args.gpus,
        slurm_partition=args.partition,
        slurm_array_parallelism=args.at_once,
    )
    for submitted, job in zip(executor.submit_array(jobs), jobs, strict=True):
        print(submitted.job_id, job.line)
    return 0


def run_here(executor, jobs: list[Job]) -> int:
    """Runs jobs one after another; 1 if any has failed, whose log is named."""
    failed = 0
    for job in jobs:
        submitted = executor.submit(job)
        print(submitted.job_id, job.line, flush=True)
        if submitted.exception() is not None:
            failed = 1
            print(f"{submitted.paths.stderr}: says why it failed", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
