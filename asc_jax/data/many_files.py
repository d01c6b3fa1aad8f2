"""Reading many files in parallel, with every bad one named."""

import collections
import concurrent.futures
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from asc_jax.data.on_disk import first_three
from asc_jax.runtime.errors import InputError

T = TypeVar("T")

MANY = 100  # files; fewer are read before anyone asks what is going on


def map_files(
    read: Callable[[pathlib.Path], T], paths: Sequence[pathlib.Path], *, workers: int = 0
) -> Iterator[T]:
    """Reads many files in parallel, in order, and says so on the standard error.

    Threads suffice: numpy's reading, libsndfile, soxr and XLA release the interpreter's lock.
    Only a few results per worker are ever in memory.

    Args:
      read: what to do with each path.
      paths: the files.
      workers: number of threads; 0 for one per core.

    Yields:
      What `read` returned, in the order of the paths, until the first bad file.

    Raises:
      InputError: after the last file, with a line for each kind of bad file; see `complaints`.
    """
    from asc_jax.parallel.bar import make_bar, say_without_bar

    if len(paths) >= MANY:
        say_without_bar(f"decoding {len(paths):,} clips")
    workers = workers or os.cpu_count() or 1
    pending: collections.deque[tuple[pathlib.Path, concurrent.futures.Future]]
    pending = collections.deque()
    bad: dict[pathlib.Path, str] = {}
    todo = iter(paths)
    with (
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
        make_bar(len(paths), "clip", "decoding") as bar,
    ):
        try:
            while True:
                while len(pending) < 4 * workers and (path := next(todo, None)) is not None:
                    pending.append((path, pool.submit(read, path)))
                if not pending:
                    break
                path, future = pending.popleft()
                try:
                    result = future.result()
                except InputError as error:
                    bad[path] = str(error)
                else:
                    if not bad:  # the caller's work is lost anyway once a file is bad
                        yield result
                bar.update()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # a stop waits for no more files
    if bad:
        raise InputError(complaints(bad, len(paths)))


def complaints(bad: Mapping[pathlib.Path, str], n_files: int) -> str:
    """What is wrong with files, a line for each kind: its first file's, and how many share it.

    Args:
      bad: what `InputError` says of each bad file.
      n_files: how many were read, bad or not.

    Returns:
      The lines. Complaints that differ in the path and in numbers alone are of one kind.
    """
    kinds: dict[str, list[pathlib.Path]] = {}
    for path, message in bad.items():
        kind = re.sub(r"\d+(\.\d+)?", "0", message.replace(str(path), ""))
        kinds.setdefault(kind, []).append(path)
    lines = []
    for first, *others in kinds.values():
        line = bad[first]
        if len(others) == n_files - 1 > 0:
            line += f" (all {n_files} files are alike in this)"
        elif others:
            also = first_three([str(path) for path in others])
            line += f" (and {len(others)} more of {n_files} files: {also})"
        lines.append(line)
    return "\n".join(lines)
