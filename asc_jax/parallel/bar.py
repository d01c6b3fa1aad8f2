"""Progress, which the first process alone shows: a bar in a terminal, lines elsewhere."""

import os
import sys

import tqdm

from asc_jax.parallel import hosts

_COLUMNS = 79  # of a terminal that does not say how many it has


def is_shown() -> bool:
    """Whether this process shows bars."""
    return hosts.is_first() and sys.stderr is not None and sys.stderr.isatty()


def make_bar(total: int, unit: str, doing: str = "", n_done: int = 0) -> tqdm.tqdm:
    """Begins a bar that leaves nothing behind.

    Args:
      total: units that there are to do.
      unit: of what is counted.
      doing: what stands before the bar.
      n_done: units that were done before.
    """
    shown = is_shown()
    known = shown and _width() > 0
    return tqdm.tqdm(
        total=total,
        unit=unit,
        desc=doing,
        initial=n_done,
        leave=False,
        dynamic_ncols=known,
        ncols=None if known else _COLUMNS,
        disable=not shown,
    )


def _width() -> int:
    """Columns of the terminal; 0 where it does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 0


def say_without_bar(text: str) -> None:
    """Prints on the standard error what a bar would say, where none is shown."""
    if hosts.is_first() and sys.stderr is not None and not is_shown():
        print(text, file=sys.stderr, flush=True)


def print_above(text: str) -> None:
    """Prints on the standard output, at once, above any bar; nothing but in the first process."""
    if hosts.is_first():
        with tqdm.tqdm.external_write_mode():
            print(text, flush=True)
