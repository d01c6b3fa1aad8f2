"""Folders that belong to one thing: a run, a sweep or a reproduction."""

import pathlib
from collections.abc import Collection, Mapping

from asc_jax.runtime.errors import InputError


def refuse_another(
    folder: pathlib.Path,
    kind: str,
    theirs: Mapping,
    ours: Mapping,
    *,
    mend: str = "use another --workdir",
) -> None:
    """Checks that a folder belongs to the run that is to be resumed in it.

    Args:
      folder: whose record was read.
      kind: of thing that it belongs to.
      theirs: fields of the record, of those that may not change on the way.
      ours: the same fields now.
      mend: what to do otherwise.

    Raises:
      InputError: naming the first field that differs.
    """
    for field in {**theirs, **ours}:
        if theirs.get(field) != ours.get(field):
            raise InputError(
                f"belongs to another {kind} ({field}={theirs.get(field)!r} there, "
                f"{ours.get(field)!r} now); {mend}",
                path=folder,
            )


def refuse_files(folder: pathlib.Path, kind: str, *, beside: Collection[str] = ()) -> None:
    """Checks that a folder without a record is empty.

    Args:
      folder: held, see `asc_jax.runs.folder.hold`.
      kind: what it would be with a record.
      beside: names of what may be there.

    Raises:
      InputError: it is not.
    """
    if any(found.name not in (".lock", *beside) for found in folder.iterdir()):
        raise InputError(f"is not empty and is not a {kind}; use another folder", path=folder)
