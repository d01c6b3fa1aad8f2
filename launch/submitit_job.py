#!/usr/bin/env python3
"""Commands on SLURM by submitit, one job each: a run, or all runs of a sweep as an array.

    launch/submitit_job.py --folder=jobs commands.txt --partition=gpu --gpus=1 --at-once=8

`commands.txt` has a job per line, one command or several joined by &&, as `asc-jax sweep --dry_run`
prints them; blank lines and those that begin with # are left out. A job that is preempted or
reaches its time limit saves, stops and is queued again. `--local` runs the jobs on this machine,
one after another. submitit comes with the extra `cluster`: pip install -e '.[cluster]'.
"""

import argparse
import contextlib
import itertools
import os
import pathlib
import shlex
import subprocess
import sys


class Job:
    """The commands of a line as submitit's job; it is queued again when its turn is over."""

    def __init__(self, line: str):
        self.line = line
        self.process = None
        words = itertools.groupby(shlex.split(line), key=lambda word: word == "&&")
        self.commands = [list(command) for joint, command in words if not joint]

    def __call__(self) -> None:
        """Runs the commands, the next one if none has failed; raises at the first that fails."""
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
        return DelayedSubmission(Job(self.line))


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
    jobs = [Job(line) for line in lines if line and not line.startswith("#")]
    if not jobs:
        print(f"{args.commands}: holds no command", file=sys.stderr)
        return 2
    # By default submitit gives a job up at its fourth time limit.
    cluster = {"cluster": "slurm", "slurm_max_num_timeout": args.turns - 1}
    executor = submitit.AutoExecutor(
        args.folder, **({"cluster": "local"} if args.local else cluster)
    )
    executor.update_parameters(name="asc-jax", timeout_min=round(60 * args.hours))
    if not args.local:
        executor.update_parameters(
            cpus_per_task=args.cpus,
            gpus_per_node=args.gpus,
            slurm_partition=args.partition,
            slurm_array_parallelism=args.at_once,
        )
    if args.local:
        return run_here(executor, jobs)
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
