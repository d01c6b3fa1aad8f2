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
        raise InputError("is empty; name a path (is a variable of the shell not set?)")
    if "\0" in path:
        raise InputError("has a null character in it, as no path has; correct it")
    if _ADDRESS.match(path):
        raise InputError("is no path of this machine's; mount it, and name the mounted folder")
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):  # nobody knows that home
        raise InputError(
            "is in no home folder that is known; write the whole path (for what is called so "
            f"in the current folder ./{path})"
        )
    return expanded
