"""The progress of a run's steps, for whoever watches: a bar in a terminal, lines in a file."""

import sys
import time

import tqdm

from asc_jax.parallel import hosts


class StepBar:
    """A bar of steps that says when the first one compiles, and counts time from its end.

    A rate over the compilation too would be wrong by hours at first, and for long. Where the
    standard error is no terminal there is no bar, but a line for each epoch; in a process that
    does not speak to the user there is neither.
    """

    def __init__(self, n_steps: int, n_done: int):
        """Begins.

        Args:
          n_steps: of the whole run.
          n_done: by earlier calls of the command.
        """
        terminal = sys.stderr.isatty()
        self._in_lines = hosts.is_first() and not terminal
        self._n_steps, self._n = n_steps, n_done
        self._hidden = self._in_lines or not hosts.is_first()
        self._doing, self._since, self._n_since = "", 0.0, 0
        self._bar = self._begin(leave=False)

    def _begin(self, *, leave: bool) -> tqdm.tqdm:
        return tqdm.tqdm(
            total=self._n_steps,
            initial=self._n,
            unit="step",
            dynamic_ncols=True,
            leave=leave,
            disable=self._hidden,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def describe(self, doing: str) -> None:
        """Says what is done now, an epoch: it stands before the bar, or begins the next line."""
        self._doing = doing
        self._bar.set_description(doing if self._since else f"{doing}, compiling")

    def update(self, n: int) -> None:
        """Counts so many steps more. At the first call they are compiled and begun."""
        self._n += n
        self._n_since += n
        if self._since:
            self._bar.update(n)
            return
        self._since = time.perf_counter()
        self._bar.close()
        self._bar = self._begin(leave=True)
        self._bar.set_description(self._doing)

    def conclude(self, result: str) -> None:
        """Says what the epoch has come to: it stands behind the bar, or makes a line."""
        if self._in_lines:
            rate = self._n_since / (time.perf_counter() - self._since)
            print(f"{self._doing}: {result}, {rate:.3g} step/s", file=sys.stderr, flush=True)
        self._bar.set_postfix_str(result)

    def write(self, message: str) -> None:
        """Prints a line on the standard error, above the bar."""
        self._bar.write(message, sys.stderr)
