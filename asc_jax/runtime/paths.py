"""Paths as users write them, in flags and in fields of a config: expanded and checked."""

import os
import re

from asc_jax.runtime.errors import InputError

_ADDRESS = re.compile(r"\w[\w+.-]+:/")


def expand(path: str) -> str:
    """A path with `~` and `~user` as the home folders that they stand for.

    Args:
      path: as it was written.

    Returns:
      The path; a relative one stays relative.

    Raises:
      InputError: it is empty, the address of a bucket, of an unknown home, or no path at all.
    """
    if not path:
        raise InputError("is empty; name a path (is a shell variable not set?)")
    if "\0" in path:
        raise InputError("contains a null character; correct it")
    if _ADDRESS.match(path):
        raise InputError("is not a path on this machine; mount it and name the mounted folder")
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):  # nobody knows that home
        raise InputError(
            "its home folder is not known; write the full path (or, for a file of this "
            f"name in the current folder, ./{path})"
        )
    return expanded
