"""`sweep.json`: what a sweep's folder belongs to, and where its runs are."""

import json
import pathlib
from collections.abc import Iterable, Mapping

from asc_jax import run
from asc_jax.ablation import Ablation
from asc_jax.config import flatten
from asc_jax.errors import InputError

RECORD = "sweep.json"

# Base fields that a sweep may change on the way: where things are.
_FREE_FIELDS = run.FREE_FIELDS - {"ensemble.rule", "ensemble.decision"} | {"seed"}


def joined_record(ablation: Ablation, runs: Iterable, workdir: pathlib.Path) -> str:
    """What `sweep.json` is to hold: these runs beside those that it has.

    Raises:
      InputError: the folder is not empty and no sweep's, or another's.
    """
    ours = {
        "config": ablation.path,
        "base": {f: v for f, v in flatten(ablation.base).items() if f not in _FREE_FIELDS},
        "settings": {
            setting.name: {"fields": setting.fields, "runs": {}} for setting in ablation.settings
        },
    }
    for one in runs:
        ours["settings"][one.setting.name]["runs"][str(one.seed)] = one.name
    ours = json.loads(json.dumps(ours))  # as it is read back
    path = workdir / RECORD
    if path.exists():
        ours["settings"] = _joined(read_record(workdir), ours, workdir)
    elif any(found.name != ".lock" for found in workdir.iterdir()):
        raise InputError(f"{workdir}: is not empty and no sweep's folder; use another --workdir")
    return json.dumps(ours, indent=1) + "\n"


def _joined(theirs: Mapping, ours: Mapping, workdir: pathlib.Path) -> dict:
    """The settings of two records of one folder."""
    for field in sorted(theirs["base"].keys() | ours["base"].keys()):
        if theirs["base"].get(field) != ours["base"].get(field):
            raise InputError(
                f"{workdir}: belongs to another sweep ({field}={theirs['base'].get(field)!r} "
                f"there, {ours['base'].get(field)!r} now); use another --workdir"
            )
    settings = dict(theirs["settings"])
    for name, setting in ours["settings"].items():
        before = settings.get(name, setting)
        if before["fields"] != setting["fields"]:
            raise InputError(
                f"{workdir}: belongs to another sweep (its {name} sets {before['fields']}); use "
                "another --workdir"
            )
        settings[name] = setting | {"runs": before["runs"] | setting["runs"]}
    return settings


def read_record(workdir: pathlib.Path) -> dict:
    """A sweep's record: "config", "base" and "settings", as `joined_record` writes them.

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
