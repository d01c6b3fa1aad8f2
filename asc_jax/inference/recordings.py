"""Recordings that a user names: files, folders, the standard input."""

import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from asc_jax.data.audio import stream
from asc_jax.data.class_folders import READABLE, find_recordings
from asc_jax.runtime.errors import InputError

STDIN, _STDIN_NAME = "-", "standard input"


def find(places: Sequence[str]) -> list[str]:
    """The recordings that are named, each folder's in the order of their paths.

    Args:
      places: files, folders, of which all files with an audio file's ending are taken, also from
        folders below, or "-" for the standard input.

    Raises:
      InputError: a place does not exist, a folder has no recording, or "-" is named twice.
    """
    found = []
    for place in places:
        path = pathlib.Path(place)
        if place == STDIN or path.is_file():
            found.append(place)
        elif path.is_dir():
            inside = list(map(str, find_recordings(path)))
            if not inside:
                raise InputError(
                    f"no recording in it (.{', .'.join(READABLE[:6])}, ...); name another folder, "
                    "or the files",
                    path=path,
                )
            found += inside
        else:
            raise InputError("no such file or folder; correct the name", path=path)
    if found.count(STDIN) > 1:
        raise InputError("can be read only once; name it once", field=STDIN)
    return found


def read(places: Iterable[str]) -> Iterator[tuple[str, Iterator[tuple[np.ndarray, int]]]]:
    """The name of each recording, and its blocks: ((t, channels) float32, its rate, Hz).

    Args:
      places: from `find`.
    """
    for place in places:
        yield place, _blocks(place)


def _blocks(place: str) -> Iterator[tuple[np.ndarray, int]]:
    """The blocks of a recording."""
    if place != STDIN:
        yield from stream(pathlib.Path(place))
        return
    if sys.stdin is None:
        raise InputError("is closed; name a file", path=_STDIN_NAME)
    try:
        with tempfile.NamedTemporaryFile(prefix="asc_jax-") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)  # formats are read back and forth
            file.flush()
            # What it finds wrong with the sound it says by an InputError.
            yield from stream(pathlib.Path(file.name), _STDIN_NAME)
    except OSError as error:
        raise InputError(
            f"cannot be stored while it is read ({error.strerror}); free some space, or "
            "name a file",
            path=_STDIN_NAME,
        ) from None
