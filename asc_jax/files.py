"""Files that are there whole, or as they were before; JSON without NaN."""

import json
import math
import os
import pathlib
from typing import Any

from asc_jax.errors import InputError


def write_whole(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file beside its place and renames it into it, folders included.

    Args:
      path: the file.
      content: text is written as UTF-8.

    Raises:
      InputError: it cannot be written; what stood there is untouched.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); free some space, or make its folder "
            "one that can be written"
        ) from None


def remove(path: pathlib.Path) -> None:
    """Removes a file, if it is there.

    Raises:
      InputError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be removed ({error.strerror}); make its folder one that can be written"
        ) from None


def parse_json(text: str | bytes) -> Any:
    """The content of JSON whose numbers are finite, as `json.dumps(allow_nan=False)` writes it.

    Raises:
      ValueError: it is no JSON, or holds NaN, infinity or a number too large for a float.
    """
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is no number that JSON has")
    return value
