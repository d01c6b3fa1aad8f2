#!/usr/bin/env python3
"""Several processes of one asc-jax command on this machine, over loopback only.

    launch/local.py --processes=4 -- asc-jax train --config=... --workdir=...

On a machine with GPUs each process gets its share of them; on a CPU, --devices-per-process
virtual devices. What process 0 prints is passed through, that of the others after "[number] ".

SIGTERM, SIGINT, SIGHUP (a closed terminal, but under nohup), SIGUSR1 and SIGUSR2 make all processes
save and stop. When one is lost (killed, crashed),
the others can do nothing without it: they are ended, and the same command resumes from the last
checkpoint. Exit status: 0 done; 75 stopped, or a process was lost; else what the command says.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

STOPPED = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# Seconds that processes get to end by themselves once one of them has ended badly.
GRACE = 5


def main() -> int:
    """Starts the processes, watches them, and returns the job's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--processes", type=int, required=True, metavar="N")
    parser.add_argument("--devices-per-process", type=int, default=0, metavar="K")
    parser.add_argument("--port", type=int, default=0, help="the coordinator's; 0 for a free one")
    parser.add_argument(
        "--timeout", type=float, default=0, metavar="SECONDS", help="stop then; 0 for never"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    args = parser.parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if args.processes < 1 or args.devices_per_process < 0 or not command:
        parser.error("needs --processes=N, from 1, and a command behind --")
    if not 0 <= args.port <= 65535 or not args.timeout >= 0:
        parser.error("--port must be at most 65535, and --timeout a number of seconds from 0")
    if not shutil.which(command[0]):
        parser.error(f"{command[0]}: no such command")
    port = args.port or free_port()
    gpus = share_of_gpus(args.processes, args.devices_per_process)
    signals = []
    for which in SIGNALS:
        if which in SIGNALS[:2] or signal.getsignal(which) != signal.SIG_IGN:
            signal.signal(which, lambda *_: signals.append(True))
    processes, pumps = [], []
    for number in range(args.processes):
        process = subprocess.Popen(
            command,
            env=environment(number, args.processes, port, gpus, args.devices_per_process),
            stdout=subprocess.PIPE if number else None,
            stderr=subprocess.PIPE if number else None,
            start_new_session=True,  # a terminal's Ctrl-C comes through this process, once
        )
        processes.append(process)
        if number:
            for source, sink in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                pumps.append(threading.Thread(target=pass_on, args=(source, sink, number)))
                pumps[-1].start()
    status = watch(processes, signals, args.timeout)
    for pump in pumps:
        pump.join()
    return status


def environment(number: int, n_processes: int, port: int, gpus: list[list[str]], n_devices: int):
    """A process's variables: where the others are, and which devices are its own."""
    ours = os.environ | {
        "ASC_JAX_COORDINATOR": f"127.0.0.1:{port}",
        "ASC_JAX_PROCESSES": str(n_processes),
        "ASC_JAX_PROCESS": str(number),
    }
    # A step's working memory in pages of 2 MB, where a CPU takes it from the system at each step.
    ours.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    if gpus:
        ours["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[number])
    elif n_devices:
        ours["JAX_NUM_CPU_DEVICES"] = str(n_devices)
    return ours


def share_of_gpus(n_processes: int, per_process: int) -> list[list[str]]:
    """The GPUs of each process; [] on a machine without, or where JAX is kept from them."""
    if os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        there = [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    else:
        try:
            listed = subprocess.run(
                ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return []
        there = [str(i) for i, line in enumerate(listed.stdout.splitlines()) if "GPU" in line]
    if not there:
        return []
    each = per_process or len(there) // n_processes
    if each < 1 or each * n_processes > len(there):
        sys.exit(
            f"launch/local.py: {len(there)} GPUs are too few for {n_processes} processes; use "
            "fewer, or JAX_PLATFORMS=cpu"
        )
    return [there[i * each : (i + 1) * each] for i in range(n_processes)]


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pass_on(source, sink, number: int) -> None:
    """Prints what a process says, line by line, behind its number."""
    for line in source:
        say(f"[{number}] {line.decode(errors='replace')}", sink)


def say(text: str, sink) -> None:
    """Prints a text; what nobody can read any more keeps no process from saving."""
    try:
        sink.write(text)
        sink.flush()
    except OSError:  # the terminal is closed, or the reader of a pipe is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())


def watch(processes: list[subprocess.Popen], signals: list, timeout: float) -> int:
    """Waits until all have ended; ends all once one has ended badly.

    Args:
      processes: by number.
      signals: grows by one with each signal that is to go to all of them.
      timeout: seconds after which they are told to stop; 0 for never.
    """
    sent, stop_at, end_at, lost = 0, time.monotonic() + timeout, None, ""
    alive = processes
    while alive:
        alive = [process for process in processes if process.poll() is None]
        if timeout and time.monotonic() > stop_at:
            timeout = 0
            signals.append(True)
        while sent < len(signals):
            sent += 1
            for process in alive:
                process.terminate()
        # One that has saved and stopped (75) need not wait for the others: they save as well.
        if end_at is None and any(p.returncode not in (None, 0, STOPPED) for p in processes):
            end_at = time.monotonic() + GRACE
            lost = "" if sent else verdict(processes)
            if lost:
                say(f"{lost}\n", sys.stderr)
        if end_at and time.monotonic() > end_at:
            for process in alive:
                process.kill()
        time.sleep(0.05)
    return STOPPED if lost else status_of(processes)


def verdict(processes: list[subprocess.Popen]) -> str:
    """A line about the process that was lost; "" where the command has said what is wrong."""
    ended = {number: process.poll() or 0 for number, process in enumerate(processes)}
    lost = {number: signal.Signals(-status) for number, status in ended.items() if status < 0}
    # JAX aborts a process that has lost another: that one is the one to name, or what it says.
    number = min(lost, key=lambda number: (lost[number] == signal.SIGABRT, number), default=None)
    spoke = any(status > 0 and status != STOPPED for status in ended.values())
    if number is None or (spoke and lost[number] == signal.SIGABRT):
        return ""
    what = (
        "has lost another" if lost[number] == signal.SIGABRT else f"is lost ({lost[number].name})"
    )
    return (
        f"launch/local.py: process {number} of {len(processes)} {what}; all are ended; run the "
        "same command to resume"
    )


def status_of(processes: list[subprocess.Popen]) -> int:
    """The job's exit status."""
    statuses = [process.returncode for process in processes]
    # A second signal ends a process at once, with 128 + its number.
    stops = {STOPPED, *(128 + which for which in SIGNALS)}
    said = [status for status in statuses if status > 0 and status not in stops]
    if said:
        return said[0]
    return STOPPED if any(statuses) else 0


if __name__ == "__main__":
    sys.exit(main())
