"""Work that a thread does ahead of who needs it."""

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2  # results that may wait, or be in the making, beside the one in use


def prefetch(make: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map(make, items)`, made by a thread of its own a little before it is asked for.

    Closing the iterator, which the end of a loop over all of it does too, ends the thread:
    what it makes at that moment is finished, the rest is dropped.

    Args:
      make: what the thread calls; what it raises is raised here.
      items: its arguments, drawn in the caller's thread.

    Yields:
      The results, in the order of the items.
    """
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(1, "prefetch") as thread:
        try:
            for item in items:
                waiting.append(thread.submit(make, item))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
