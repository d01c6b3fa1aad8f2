"""What the folders of the runs hold, and which of them make one row of the table."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from asc_jax.config import format as config_format
from asc_jax.config.choices import FUNCTION_FIELDS
from asc_jax.report.page import read_report
from asc_jax.runs.logits import Predictions, read_logits
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runs.provenance import read_starts
from asc_jax.runs.sweep_record import RECORD, read_record
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import digest, reading
from asc_jax.scoring.alignment import refuse_other_labels


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that is trained and scored.

    Attributes:
      path: its folder.
      config: {"group.field": value}.
      report: the content of `report.json`.
      metrics: the epochs of `metrics.jsonl`.
      scene_labels: the classes, in the order of the logits.
      lists: name -> what the run said of a list of clips.
      start: the last of its training, from `starts.jsonl`; {} of an older run.
    """

    path: pathlib.Path
    config: Mapping[str, object]
    report: Mapping
    metrics: Sequence[Mapping]
    scene_labels: tuple[str, ...]
    lists: Mapping[str, Predictions]
    start: Mapping


@dataclasses.dataclass(frozen=True)
class Row:
    """A run, or the seeds of one setting of a sweep, or of train --seeds.

    Attributes:
      name: unlike the other rows'.
      folder: of the run, or of the setting.
      runs: at least one.
      base: whether it is what a sweep's other settings change.
    """

    name: str
    folder: pathlib.Path
    runs: tuple[Run, ...]
    base: bool = False


def read_rows(
    paths: Sequence[pathlib.Path], *, finished_only: bool = False
) -> tuple[list[Row], list[str]]:
    """The rows of run folders, and of folders of several runs that sweep or train has made.

    Args:
      paths: of either kind.
      finished_only: leave out what a sweep has not finished instead of refusing it.

    Returns:
      The rows, and the folders that were left out.

    Raises:
      InputError: a folder is neither, is named twice, is not finished, or has other classes.
    """
    rows, left_out = [], []
    for path in paths:
        if (path / RECORD).is_file():
            found, missing = _rows_of_sweep(path, finished_only)
            rows += found
            left_out += missing
        else:
            rows.append(Row(path.resolve().name, path, (read_run(path),)))
    runs = {}
    for row in rows:
        for run in row.runs:
            if (place := run.path.resolve()) in runs:
                raise InputError("is named twice; name each run once", path=run.path)
            runs[place] = run
    if not runs:
        raise InputError("no run is finished; wait for the first", path=", ".join(map(str, paths)))
    refuse_other_labels({str(run.path): run.scene_labels for run in runs.values()})
    if len({row.name for row in rows}) < len(rows):
        rows = [dataclasses.replace(row, name=str(row.folder)) for row in rows]
    return rows, left_out


def _rows_of_sweep(path: pathlib.Path, finished_only: bool) -> tuple[list[Row], list[str]]:
    """A row per setting, and the runs that are not finished."""
    record = read_record(path)
    if "gan.loss" in record["base"]:
        raise InputError("is a sweep of GANs; name the runs that trained on its clips", path=path)
    of_sweep = record["command"] == "sweep"
    mend = f"asc-jax sweep with --workdir={path}" if of_sweep else ""
    rows, left_out = [], []
    for name, setting in record["settings"].items():
        fields = setting["fields"]
        is_base = all(record["base"].get(field) == fields[field] for field in fields)
        runs = []
        for place in setting["runs"].values():
            try:
                if place in record["lost"]:
                    raise InputError(f"{record['lost'][place]}; add --finished_only", path=path)
                if not (path / place).exists():
                    again = mend or "the asc-jax train command of this folder again"
                    raise InputError(f"does not exist; run {again}", path=path / place)
                runs.append(read_run(path / place, mend=mend))
            except InputError:
                if not finished_only:
                    raise
                left_out.append(str(path / place))
        if runs:
            if of_sweep:
                called, folder = name, path / name
            elif fields:
                called, folder = name, runs[0].path
            else:
                called, folder = path.resolve().name, path
            rows.append(Row(called, folder, tuple(runs), is_base))
    return rows, left_out


def read_run(path: pathlib.Path, *, mend: str = "") -> Run:
    """A run's folder.

    Args:
      path: the folder.
      mend: the command that finishes the run; the usual ones by default.

    Raises:
      InputError: it is no run, or not trained and scored to its end.
    """
    config = _read_config(path)
    if "gan.loss" in config:
        raise InputError("is a run of GANs; name the runs that trained on its clips", path=path)
    metrics = read_metrics(path / "metrics.jsonl")
    done = metrics[-1]["epoch"] if metrics else 0
    wanted = config.get("train.epochs", done)
    evaluate = mend or f"asc-jax evaluate --workdir={path}"
    train = mend or f"its asc-jax train command again, then {evaluate}"
    scored = read_report(path / "report.json") if (path / "report.json").exists() else None
    if scored is None and done < wanted:
        raise InputError(f"is not finished (epoch {done} of {wanted}); run {train}", path=path)
    if scored is None or not (path / "logits.npz").exists():
        raise InputError(f"is not evaluated; run {evaluate}", path=path)
    epochs = (scored.get("training") or {}).get("epochs", wanted)
    if epochs < wanted:
        raise InputError(f"was evaluated at epoch {epochs} of {wanted}; run {train}", path=path)
    lists, labels = read_logits(path / "logits.npz")
    if list(labels) != scored.get("scene_labels", list(labels)):
        raise InputError(
            f"logits.npz and report.json have different scene labels; run {evaluate}", path=path
        )
    start = next(reversed(read_starts(path)), {})
    return Run(path, config, scored, metrics, labels, lists, start)


def _read_config(path: pathlib.Path) -> dict[str, object]:
    """A run's config.json, flat."""
    file = path / "config.json"
    if not file.is_file():
        raise InputError(
            "is neither a run folder nor the folder of a sweep; name folders that asc-jax "
            "train or sweep has made",
            path=path,
        )
    with reading(file):
        text = file.read_text(encoding="utf-8")
    fields = config_format.flatten(config_format.parse(text, str(file)))
    own = {f: fields[f] for f in FUNCTION_FIELDS if str(fields.get(f)).startswith("functions/")}
    return fields | {field: _by_content(path, reference) for field, reference in own.items()}


def _by_content(path: pathlib.Path, reference: str) -> str:
    """Names a function of the user's own, "functions/1/parts.py:focal", by its files' content."""
    _, number, name = reference.split("/", 2)
    folder = path / "functions" / number
    files = {file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*.py"))}
    return f"{name} ({digest(repr(files))[:8]})"
