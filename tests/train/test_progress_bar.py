"""What is seen of a run's steps: in a terminal, in a pipe, and after a stop."""

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios

import pytest
import small
import tqdm.std
from checkout import ROOT
from process import ASC_JAX

from asc_jax.parallel import hosts
from asc_jax.train.progress_bar import StepBar

N_COLUMNS = 80


class Terminal(io.StringIO):
    """A standard error that is a terminal, of no known width."""

    def isatty(self) -> bool:
        return True


def test_a_bar_counts_time_from_the_end_of_the_first_step_which_compiles(monkeypatch):
    seen = Terminal()
    monkeypatch.setattr(sys, "stderr", seen)
    now = 1000.0  # s
    monkeypatch.setattr(tqdm.std, "time", lambda: now)
    with StepBar(300, 60) as bar:
        bar.describe("epoch 3/15")
        assert "epoch 3/15" in seen.getvalue()
        now += 60
        bar.update(4)
        after = len(seen.getvalue())
        for _ in range(9):
            now += 0.5
            bar.update(4)
        frame = seen.getvalue()[after:].split("\r")[-1]
    # 100 of 300 steps, 36 of them in 4.5 s; 200 to go.
    done = re.search(r"epoch 3/15: .* 100/300 \[00:04<00:2\d, +(\d\.\d\d)step/s", frame)
    assert done and float(done[1]) == pytest.approx(8, rel=0.01), frame


def test_a_process_that_is_not_the_first_shows_nothing(monkeypatch, capsys):
    seen = Terminal()
    monkeypatch.setattr(sys, "stderr", seen)
    monkeypatch.setattr(hosts, "is_first", lambda: False)
    with StepBar(30, 15) as bar:
        bar.describe("epoch 1/2")
        bar.update(15)
    assert seen.getvalue() == capsys.readouterr().out == ""


def in_terminal(command: list[str]) -> str:
    """What a command writes to a terminal of `N_COLUMNS`."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, N_COLUMNS, 0, 0))
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    written = b""
    with subprocess.Popen(command, cwd=ROOT, **streams) as process:
        os.close(theirs)
        try:
            while some := os.read(ours, 65536):
                written += some
        except OSError:  # the command has left
            pass
    os.close(ours)
    assert process.returncode == 0, written
    return written.decode()


def on_screen(written: str) -> list[str]:
    """The lines that stay where `N_COLUMNS` fit in one."""
    lines, column = [""], 0
    for one in written:
        if one == "\r":
            column = 0
        elif one == "\n":
            lines.append("")
            column = 0
        else:
            assert one.isprintable(), "moves that this screen does not know"
            if column == N_COLUMNS:
                lines.append("")
                column = 0
            lines[-1] = lines[-1][:column].ljust(column) + one + lines[-1][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


def epochs_of(lines: list[str]) -> list[str]:
    """The epochs whose rows are there, alone on their lines and whole."""
    *_, heading = (line.split() for line in lines if line.split()[:1] == ["epoch"])
    assert heading[-1] == "fold2"
    rows = [line.split() for line in lines if re.match(r" *\d+/\d+ ", line)]
    assert all(len(row) == len(heading) for row in rows), lines
    assert all(re.fullmatch(r"[\d.e+-]+", cell) for row in rows for cell in row[1:])
    return [row[0] for row in rows]


def test_rows_of_epochs_stay_and_a_run_that_goes_on_says_so(scenes, tmp_path):
    def command(n_epochs: int) -> list[str]:
        fields = "optimizer.schedule=constant", f"train.epochs={n_epochs}"
        words = ["train", f"--config={ROOT / small.CONFIG}", f"--workdir={tmp_path / 'run'}"]
        return [*ASC_JAX, *words, *small.words(scenes, *fields)]

    lines = on_screen(in_terminal(command(2)))
    assert epochs_of(lines) == ["1/2", "2/2"] and not any("resum" in line for line in lines)
    assert not any("step/s]" in line for line in lines), "the bar has left something behind"
    done = subprocess.run(command(3), cwd=ROOT, capture_output=True, text=True, check=True)
    assert epochs_of(done.stdout.splitlines()) == ["3/3"] and "\r" not in done.stderr
    assert "resum" in done.stdout + done.stderr
    assert "asc-jax evaluate" in done.stdout.splitlines()[-1]
