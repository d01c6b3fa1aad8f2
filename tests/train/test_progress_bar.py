"""What is seen of a run's steps, in a terminal and in a file."""

import io
import re
import sys

import pytest
import tqdm.std

from asc_jax.parallel import hosts
from asc_jax.train.progress_bar import StepBar


class Screen(io.StringIO):
    """A standard error that is a terminal, or not."""

    def __init__(self, terminal: bool):
        super().__init__()
        self.isatty = lambda: terminal


@pytest.fixture
def screen(monkeypatch):
    """A function that puts a standard error in the place of this process's."""

    def put(terminal: bool) -> Screen:
        put_in = Screen(terminal)
        monkeypatch.setattr(sys, "stderr", put_in)
        return put_in

    return put


def test_a_bar_counts_time_from_the_end_of_the_first_step_which_compiles(screen, monkeypatch):
    seen = screen(terminal=True)
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


def test_where_there_is_no_terminal_an_epoch_is_a_line(screen):
    seen = screen(terminal=False)
    with StepBar(30, 0) as bar:
        for epoch in (1, 2):
            bar.describe(f"epoch {epoch}/2")
            for _ in range(15):
                bar.update(1)
            bar.conclude(f"loss {epoch}.5")
    text = seen.getvalue()
    assert "\r" not in text
    lines = text.splitlines()
    assert len(lines) == 2
    for epoch, line in enumerate(lines, start=1):
        assert re.fullmatch(rf"epoch {epoch}/2: loss {epoch}\.5, [\d.e+]+ step/s", line)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_process_that_is_not_the_first_shows_nothing(screen, monkeypatch, terminal):
    seen = screen(terminal)
    monkeypatch.setattr(hosts, "is_first", lambda: False)
    with StepBar(30, 0) as bar:
        bar.describe("epoch 1/2")
        bar.update(15)
        bar.conclude("loss 0.5")
    assert seen.getvalue() == ""
