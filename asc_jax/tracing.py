"""Tracing without Python's garbage collector in the way."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keeps the collector off while a function is traced, or lowered.

    What is traced stays: the collector looks through all of it again and again, and finds nothing,
    for a third of the time that a deep network takes to trace (docs/performance.md).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
