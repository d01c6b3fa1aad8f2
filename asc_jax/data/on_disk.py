"""Listed files and the disk: which are not there, or there under another name."""

import os
import pathlib
import re
from collections.abc import Sequence

from asc_jax.data.names import on_any_disk
from asc_jax.runtime.errors import visible


def file_problems(root: pathlib.Path, paths: Sequence[str]) -> list[str]:
    """What is wrong with the audio files of a data set, as far as their names tell.

    Args:
      root: the data set's folder.
      paths: the listed files, below it.

    Returns:
      A line each for files that have another name on the disk, that are not there, and that
      two rows name; none if all is well.
    """
    missing = [path for path in paths if not os.path.exists(root / path)]
    listings: dict[pathlib.Path, dict[str, str]] = {}
    renamed = {path: found for path in missing if (found := _find(root, path, listings))}
    gone = [path for path in missing if path not in renamed]
    lines = []
    if renamed:
        pairs = [f"{_plain(path)} is {_plain(found)}" for path, found in renamed.items()]
        lines.append(
            f"{root}: {len(renamed)} of {len(paths)} listed files have another name in the folder "
            f"({first_three(pairs)}); write it in the tables as the folder has it"
        )
    if gone:
        lines.append(
            f"{root}: {len(gone)} of {len(paths)} listed files are not there "
            f"({first_three(gone)}); unpack all audio archives into the same folder, or delete "
            "their rows"
        )
    return [*lines, *_files_of_two_rows(root, paths)]


def _find(root: pathlib.Path, path: str, listings: dict[pathlib.Path, dict[str, str]]) -> str:
    """What the folder has in place of a file that is not there, or "".

    `listings` keeps what its folders hold, for the next file.
    """
    slashes = path.replace("\\", "/")
    before_comma = re.split("[,;]", path)[0]  # of a table whose columns commas separate
    for written in (slashes, f"audio/{slashes}", before_comma):
        found = pathlib.PurePosixPath()
        for part in pathlib.PurePosixPath(written).parts:
            folder = root / found
            if folder not in listings:
                listings[folder] = {on_any_disk(name): name for name in _names(folder)}
            found /= listings[folder].get(on_any_disk(part), part)
        if os.path.isfile(root / found):
            return str(found)
    return ""


def _names(folder: pathlib.Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _files_of_two_rows(root: pathlib.Path, paths: Sequence[str]) -> list[str]:
    """A line for the first file that two rows name, where its disk takes their names for one."""
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(on_any_disk(path), path)
        both = root / other, root / path
        if other != path and all(map(os.path.exists, both)) and os.path.samefile(*both):
            return [
                f"{root}: {_plain(other)} and {_plain(path)} are one file on this disk; delete "
                "one of their rows"
            ]
    return []


def _plain(path: str) -> str:
    """A path as it is, or with escapes where two may look the same."""
    return path if path.isascii() else ascii(path)


def first_three(names: Sequence[str]) -> str:
    """Lists some names for a message, the first three of many."""
    return ", ".join(map(visible, names[:3])) + (", ..." if len(names) > 3 else "")
