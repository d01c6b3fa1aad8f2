"""`sweep.json`: which runs a sweep's folder holds. Read without JAX."""

import json
import pathlib

from asc_jax.errors import InputError

RECORD = "sweep.json"


def read_record(workdir: pathlib.Path) -> dict:
    """A sweep's record.

    Args:
      workdir: the sweep's folder.

    Returns:
      "config", the file of the base; "base", its fields; "settings", by name the "fields" of
      each and its "runs", seed -> folder below the sweep's.

    Raises:
      InputError: it cannot be read.
    """
    path = workdir / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        _ = [(one["fields"], one["runs"]) for one in record["settings"].values()]
        return record | {"base": dict(record["base"].items())}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: cannot be read; restore it from a backup") from None
