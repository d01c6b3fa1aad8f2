"""`sweep.json`: what a sweep's folder belongs to, and where its runs are. No JAX."""

import json
import pathlib
from collections.abc import Mapping, Sequence

from asc_jax.config import format as config_format
from asc_jax.config.format import missing_fields, refuse_newer
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, write_whole
from asc_jax.runtime.folders import refuse_another, refuse_files

RECORD = "sweep.json"


def joined_record(ours: Mapping, workdir: pathlib.Path, *, beside: Sequence[str] = ()) -> str:
    """What `sweep.json` is to hold: these runs beside those that it has.

    Args:
      ours: "command", sweep or train; "question", what the ablation asks, if it says so;
        "config", the file of the base; "base", its fields; "data", what lies where its fields
        say, from `identify`; "settings", by name the "fields" of each and its "runs", seed ->
        folder below the sweep's.
      workdir: the sweep's folder.
      beside: names of what may be in a folder that has no record yet.

    Raises:
      InputError: the folder is not empty and no sweep's, or another's.
    """
    ours = json.loads(json.dumps({"format": config_format.FORMAT, **ours}))  # as it is read back
    path = workdir / RECORD
    if path.exists():
        theirs = read_record(workdir)
        ours |= {"settings": _joined(theirs, ours, workdir), "lost": theirs["lost"]}
    else:
        refuse_files(workdir, "sweep's folder", beside=beside)
    return json.dumps(ours, indent=1, allow_nan=False) + "\n"


def _joined(theirs: Mapping, ours: Mapping, workdir: pathlib.Path) -> dict:
    """The settings of two records of one folder."""
    came_later = json.loads(json.dumps(missing_fields(theirs["base"], theirs["format"])))
    base = {f: v for f, v in came_later.items() if f in ours["base"]} | theirs["base"]
    refuse_another(workdir, "sweep", base, ours["base"])
    refuse_another(workdir, "sweep", theirs["data"], ours["data"])
    settings = dict(theirs["settings"])
    for name, setting in ours["settings"].items():
        alike = (there for there, one in settings.items() if one["fields"] == setting["fields"])
        name = next(alike, name)
        before = settings.get(name, setting)
        if before["fields"] != setting["fields"]:
            raise InputError(
                f"belongs to another sweep (its {name} sets {before['fields']}); use another "
                "--workdir",
                path=workdir,
            )
        for seed, place in setting["runs"].items():
            there = before["runs"].get(seed, place)
            if there != place:
                raise InputError(
                    f"has the run {place} as {there}; use that name, or another --workdir",
                    path=workdir,
                )
        settings[name] = setting | {"runs": before["runs"] | setting["runs"]}
    return settings


def refuse_other_runs(workdir: pathlib.Path, runs: Mapping[str, Mapping]) -> list[str]:
    """Checks that runs are what a record says of them.

    Args:
      workdir: the sweep's folder.
      runs: folder below it -> the fields of its config that a record keeps, and its seed.

    Returns:
      All folders of the record.

    Raises:
      InputError: one of them is another run there.
    """
    record = read_record(workdir)
    places = []
    for setting in record["settings"].values():
        for seed, place in setting["runs"].items():
            places.append(place)
            if place in runs:
                came_later = missing_fields(record["base"], record["format"])
                theirs = came_later | record["base"] | setting["fields"] | {"seed": int(seed)}
                theirs, ours = json.loads(json.dumps([theirs, dict(runs[place])]))  # as read back
                kept = {field: value for field, value in theirs.items() if field in ours}
                refuse_another(workdir / place, "run", kept, ours)
    return places


def write_lost(workdir: pathlib.Path, lost: Mapping[str, str]) -> None:
    """Adds runs that a program has lost for good: what to say of each, by its folder."""
    record = read_record(workdir)
    record["lost"] = record["lost"] | dict(lost)
    write_whole(workdir / RECORD, json.dumps(record, indent=1, allow_nan=False) + "\n")


def run_folders(workdir: pathlib.Path) -> list[pathlib.Path]:
    """The runs of a folder that has a record, or the folder itself, which is a run."""
    if (workdir / "config.json").exists() or not (workdir / RECORD).exists():
        return [workdir]
    record = read_record(workdir)
    runs = [run for setting in record["settings"].values() for run in setting["runs"].values()]
    return [workdir / run for run in runs if run not in record["lost"]]


def read_record(workdir: pathlib.Path) -> dict:
    """A sweep's record, as `joined_record` takes it.

    Raises:
      InputError: it cannot be read, or is a newer version's.
    """
    path = workdir / RECORD
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
        _ = [(one["fields"], one["runs"]) for one in record["settings"].values()]
        parts = {"base": record["base"]} | {f: record.get(f, {}) for f in ("data", "lost")}
        more = {"command": record.get("command", "sweep")}
        more["question"] = str(record.get("question") or "")
        more["format"] = refuse_newer(record.get("format", 1), str(path))
        return record | more | {name: dict(part.items()) for name, part in parts.items()}
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError("cannot be read; restore it from a backup", path=path) from None
