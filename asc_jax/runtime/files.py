"""Files that are there whole, or as they were before; JSON without NaN."""

import contextlib
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from asc_jax.runtime.errors import InputError


def write_whole(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file beside its place and renames it into it, folders included.

    It is on disk when this returns: after a loss of power there is the old file or the new one.

    Args:
      path: the file.
      content: text is written as UTF-8; bytes of a path that are none, as escapes (`\\udce9`).

    Raises:
      InputError: it cannot be written; what stood there is untouched.
    """
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    if path.exists() and not path.is_file():  # a device would become a file
        raise InputError("is not a regular file; name another", path=path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror}); free some space, or make its folder writable",
            path=path,
        ) from None


def append_line(path: pathlib.Path, line: Mapping) -> None:
    """Appends an object to a file of JSON lines.

    Raises:
      InputError: the file cannot be written.
    """
    try:
        with path.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror}); free some space and run the same "
            "command to resume",
            path=path,
        ) from None


def _sync_folder(folder: pathlib.Path) -> None:
    """Puts a folder's names on disk, where the platform and the file system can do so."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def digest(content: str | bytes) -> str:
    """16 hexadecimal digits that name a content."""
    content = content.encode() if isinstance(content, str) else content
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def remove(path: pathlib.Path) -> None:
    """Removes a file, if it is there.

    Raises:
      InputError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be removed ({error.strerror}); make its folder writable",
            path=path,
        ) from None


def parse_json(text: str | bytes, **hooks) -> Any:
    """The content of JSON whose numbers are finite, as `json.dumps(allow_nan=False)` writes it.

    Args:
      text: the JSON.
      **hooks: as for `json.loads`.

    Raises:
      ValueError: it is no JSON, or holds NaN, infinity or a number too large for a float, or more
        levels than Python can read.
    """
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite, **hooks)
    except RecursionError as error:
        raise ValueError(str(error)) from None


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
    """Reads a record: what the block finds wrong with the file or its content is said of it.

    Raises:
      InputError: it cannot be read, or is not what was once written there.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror or error}); restore it", path=path
        ) from None
    except (ValueError, LookupError, AttributeError, TypeError):
        raise InputError("cannot be read; restore it from a backup", path=path) from None


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is no number that JSON has")
    return value
