"""Recordings in folders: which files they are, and a folder per class as a data set."""

import pathlib

from asc_jax.data.table import Row
from asc_jax.runtime.errors import InputError

# Endings of files that are taken for recordings where nothing lists them: of formats that
# libsndfile reads, and of others, which are then complained of.
READABLE = (
    "wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc", "au", "snd", "caf",
    "w64", "rf64", "voc",
)  # fmt: skip
UNREADABLE = ("m4a", "mp4", "aac", "wma", "webm", "mkv", "mov", "amr", "3gp", "ape", "wv")


def find_recordings(folder: pathlib.Path) -> list[pathlib.Path]:
    """All files below a folder whose ending is a recording's, in the order of their paths.

    Hidden files and folders are left out.
    """
    endings = tuple(f".{ending}" for ending in READABLE + UNREADABLE)
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.name.lower().endswith(endings)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]


def class_folders(root: pathlib.Path) -> list[Row]:
    """The recordings of a folder per class, as the rows of a table; [] if there are none.

    Raises:
      InputError: some recordings lie in a folder per class and others beside those, or a class's
        folder has none.
    """
    rows, empty = [], []
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and path.name[0] != "."]
    for folder in folders:
        found = [path.relative_to(root).as_posix() for path in find_recordings(folder)]
        rows += [Row(0, path, folder.name) for path in found]
        empty += [] if found else [folder]
    if rows and empty:
        raise InputError(
            "would be a class, like the folders beside it, but has no recording; add some, or name "
            "another data.root",
            path=empty[0],
        )
    n_loose = len(find_recordings(root)) - len(rows)
    if rows and n_loose:
        raise InputError(
            f"recordings lie beside the class folders ({n_loose}); move them into one of "
            "these, or elsewhere",
            path=root,
        )
    return rows
