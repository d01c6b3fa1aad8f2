"""The progress of a run's steps: a bar on the standard error, lines on the standard output."""

import sys

import tqdm

from asc_jax.parallel.bar import make_bar, print_above, say_without_bar


class StepBar:
    """A bar of steps that says when the first one compiles, and counts time from its end.

    A rate over the compilation too would be wrong by hours at first, and for long. Lines of
    results stay above the bar; where the standard error is no terminal they are alone. In a
    process that does not speak to the user there is neither.
    """

    def __init__(self, n_steps: int, n_done: int):
        """Begins.

        Args:
          n_steps: of the whole run.
          n_done: by earlier calls of the command.
        """
        self._n_steps, self._n = n_steps, n_done
        self._doing, self._compiled = "", False
        self._bar = make_bar(n_steps, "step", n_done=n_done)
        if n_done:
            print_above(f"resuming at step {n_done} of {n_steps}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def describe(self, doing: str) -> None:
        """Says before the bar what is done now; without a bar, only that steps compile."""
        self._doing = doing
        self._bar.set_description(doing if self._compiled else f"{doing}, compiling")
        if not self._compiled:
            say_without_bar("compiling")

    def update(self, n: int) -> None:
        """Counts so many steps more. At the first call they are compiled and begun."""
        self._n += n
        if self._compiled:
            self._bar.update(n)
            return
        self._compiled = True
        self._bar.close()
        self._bar = make_bar(self._n_steps, "step", self._doing, self._n)

    def write(self, message: str) -> None:
        """Prints a line on the standard error, above the bar."""
        tqdm.tqdm.write(message, sys.stderr)
