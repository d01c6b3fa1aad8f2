"""A signal ends a command with status 75, whenever it comes and however often."""

import os
import subprocess
import sys

import pytest
from checkout import ROOT

# A command that does what a test says, in the place of one of the commands.
PROGRAM = """
import gc, os, signal, sys, time
from asc_jax import cli
from asc_jax.runtime.errors import Stopped

def command(args):
{body}

cli.COMMANDS["check"] = command
sys.exit(cli.main(["data", "check", "."]))
"""


def run_command(body: str) -> subprocess.CompletedProcess:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=lines)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("name", "times"),
    [("SIGINT", 2), ("SIGTERM", 2), ("SIGHUP", 1), ("SIGUSR1", 1), ("SIGUSR2", 1)],
)
def test_a_signal_that_a_callback_swallows_comes_again(name, times):
    done = run_command(f"""
left = [{times}]
def callback(phase, info):
    if phase == "start" and left[0]:
        left[0] -= 1
        os.kill(os.getpid(), signal.{name})
gc.callbacks.append(callback)
for _ in range({times}):
    gc.collect()
gc.disable()
time.sleep(200)
print("trained on")
""")
    assert done.returncode == 75, done.stderr
    assert "trained on" not in done.stdout


@pytest.mark.parametrize(
    ("error", "name"), [("KeyboardInterrupt", "SIGINT"), ("Stopped('saved')", "SIGTERM")]
)
def test_further_signals_cut_neither_a_clean_up_nor_the_end_short(error, name):
    """The last comes when Python has put the defaults in the place of its own handlers."""
    done = run_command(f"""
class Late:
    def __del__(self, kill=os.kill, here=os.getpid(), number=signal.{name}):
        kill(here, number)
sys.modules["late"] = Late()
try:
    raise {error}
finally:
    os.kill(os.getpid(), signal.{name})
    time.sleep(0.3)
    print("cleaned up")
""")
    assert (done.returncode, done.stdout) == (75, "cleaned up\n"), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_comes_again_goes_to_who_asks_for_signals_by_then():
    """As a training loop does, in which an exception would cut a checkpoint short."""
    done = run_command("""
heard, left = [], [1]
def callback(phase, info):
    if left and left.pop():
        os.kill(os.getpid(), signal.SIGTERM)
gc.callbacks.append(callback)
gc.collect()
previous = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
time.sleep(0.5)
signal.signal(signal.SIGTERM, previous)
time.sleep(0.3)
print(len(heard))
""")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_a_signal_after_a_runs_last_step_ends_the_command_before_the_next_run():
    done = run_command("""
from asc_jax.train.stop import StopSignal
with StopSignal():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.3)
print("the next run")
""")
    assert (done.returncode, done.stdout) == (75, ""), done.stderr


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [("INT", 0, "went on\n"), ("HUP", 0, "went on\n"), ("TERM", 75, "")],
)
def test_of_the_signals_that_a_shell_script_ignores_only_sigterm_is_heard(name, status, said):
    """nohup ignores SIGHUP, scripts SIGINT for what they run in the background.

    SIGTERM they ignore for themselves.
    """
    body = f"    os.kill(os.getpid(), signal.SIG{name}); print('went on')"
    done = subprocess.run(
        ["/bin/sh", "-c", f'trap "" {name}; exec "$@"', "sh", sys.executable, "-c",
         PROGRAM.format(body=body)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (status, said), done.stderr


TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
import time
from asc_jax.train.stop import StopSignal

with StopSignal() as stop:
    os.write(1, b"a step\\n")
    while not stop.requested:
        time.sleep(0.01)
    open(sys.argv[1], "w").write("saved")
    sys.exit(75)
"""


def test_a_closed_terminal_ends_the_step_and_saves_it(tmp_path):
    """From then on nothing can be written to it, either."""
    ours, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, tmp_path / "step"],
        cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    assert os.read(ours, 6) == b"a step"
    os.close(ours)
    assert process.wait(timeout=300) == 75
    assert (tmp_path / "step").read_text() == "saved"
