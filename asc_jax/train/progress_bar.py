"""The progress of a run's steps, for whoever watches: a bar in a terminal, lines in a file."""

import sys
import time

import tqdm

from asc_jax import hosts


class StepBar(tqdm.tqdm):
    """A bar of steps that says when the first one compiles, and counts time from there.

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
        self._in_lines = not sys.stderr.isatty()
        self._compiling = True
        self._doing, self._since, self._n_since = "", 0.0, 0
        super().__init__(
            total=n_steps,
            initial=n_done,
            unit="step",
            dynamic_ncols=True,
            disable=self._in_lines or not hosts.is_first(),
        )
        self.unit = "step"  # a disabled bar has none

    def set_description(self, desc: str | None = None, refresh: bool = True) -> None:
        """What is done now, an epoch: it stands before the bar, or begins the next line."""
        self._doing = desc or ""
        said = f"{desc}, compiling" if self._compiling else desc
        super().set_description(said, refresh)

    def update(self, n: int = 1) -> bool | None:
        """So many steps more. At the first call none is done, but they are compiled and begun."""
        self._n_since += n
        if not self._compiling:
            return super().update(n)
        self._compiling = False
        self._since = time.perf_counter()
        if self.disable:
            return super().update(n)
        self.start_t = self.last_print_t = self._time()
        shown = super().update(n)
        self.initial = self.last_print_n = self.n
        self.set_description(self._doing)
        return shown

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """What the epoch has come to: it stands behind the bar, or makes a line."""
        if self._in_lines and hosts.is_first():
            rate = self._n_since / (time.perf_counter() - self._since)
            print(f"{self._doing}: {s}, {rate:.3g} step/s", file=sys.stderr, flush=True)
        super().set_postfix_str(s, refresh)
