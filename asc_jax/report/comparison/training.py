"""How the rows were trained: their learning curves, their settings, their cost."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from asc_jax.report.comparison.folders import Run
from asc_jax.report.comparison.results import Result, Results
from asc_jax.report.curves import fold_lines, loss_top, mean_line
from asc_jax.report.drawing import Chart, curve_chart
from asc_jax.report.formatting import DASH, duration, quantity
from asc_jax.runs.metrics_log import non_finite_policy
from asc_jax.runs.provenance import in_short, other_files

N_COLOURS = 8

# Fields that say where things are and how they are called; they change no result.
UNIMPORTANT = {"title", "data.cache_dir", "data.workers", "train.keep_checkpoints"}


def curves(results: Results) -> list[Chart]:
    """Draws a chart per quantity with the learning curves of all rows: runs and their mean."""
    charts = []
    for key, title, percent in (
        ("loss", "Training loss", False),
        ("validation_loss", "Validation loss", False),
        ("validation_accuracy", "Validation: class-wise accuracy (%)", True),
    ):
        series = {
            one.name: [mean_line(fold_lines(run.metrics, key)) for run in one.row.runs]
            for one in results.rows
        }
        series = {name: lines for name, lines in series.items() if any(lines)}
        if series:
            top = 1.0 if percent else loss_top([one for lines in series.values() for one in lines])
            css = colours(results)
            charts.append(curve_chart(title, series, top, css=css, percent=percent, unit="seed"))
    return charts


def colours(results: Results) -> dict[str, str]:
    """Gives each row the CSS classes of its lines: as many colours as there are, then dashed."""
    return {
        one.name: f"c{i % N_COLOURS}" + (" dashed" if i // N_COLOURS % 2 else "")
        for i, one in enumerate(results.results)
    }


def settings(results: Results) -> list[tuple[str, list]]:
    """Lists where the rows' configs differ from the reference's, and nothing else.

    Returns:
      Of each row its name and its differences, either (field, reference's value, own value) or
      words.
    """
    reference = results.results[results.reference]
    base = _fields(reference)
    rows = []
    for one in results.rows:
        own = _fields(one)
        lines: list = [
            (field, _value(base, field), _value(own, field))
            for field in sorted(own.keys() | base.keys())
            if own.get(field) != base.get(field)
        ]
        if files := _other_source(reference, one):
            lines.append(f"functions: {in_short(files)}")
        if others := _scored_by_other(one):
            lines.append(f"scored by other functions than trained by: {in_short(others)}")
        if one is reference:
            lines = ["the reference"]
        rows.append((one.name, lines or ["the same"]))
    return rows


def _other_source(reference: Result, one: Result) -> list[str]:
    """The files of the package in which a row's runs differ from the reference's."""
    if reference.row is None:
        return []
    ours = reference.row.runs[0].start
    starts = [run.start for run in one.row.runs if run.start and ours]
    return sorted({name for start in starts for name in other_files(ours, start)})


def _scored_by_other(one: Result) -> list[str]:
    """The functions that have changed between the training and the scoring of a row's runs."""
    training = [run.report.get("training") or {} for run in one.row.runs]
    return sorted({name for each in training for name in each.get("scored_by_other", ())})


def _fields(one: Result) -> dict[str, object]:
    """What all of a row's runs share: fields, and the versions that they were made with."""
    each = []
    for run in one.row.runs:
        versions = run.report.get("versions") or {}
        fields = {name: value for name, value in run.config.items() if name not in UNIMPORTANT}
        if policy := non_finite_policy(run.metrics):
            fields["train.non_finite"] = policy
        each.append(fields | {f"version of {name}": value for name, value in versions.items()})
    shared = {
        name: value
        for name, value in each[0].items()
        if all(other.get(name) == value for other in each[1:])
    }
    return shared | {"seed": ", ".join(str(fields.get("seed")) for fields in each)}


def _value(fields: Mapping[str, object], field: str) -> str:
    value = fields.get(field, "none")
    return value if isinstance(value, str) and value else json.dumps(value)


def cost(results: Results) -> dict[str, Any]:
    """Lists size, speed and time of each row, and the device where it is the same for all."""
    header = ["", "Parameters", "MACs per clip", "Receptive field, frames", "Clips/s"]
    header += ["Training of a run", "Device hours, all runs", "Device"]
    rows = [(one.name, _costs(one.row.runs)) for one in results.rows]
    devices = {cells[-1] for _, cells in rows}
    if len(devices) > 1:
        return {"header": header, "rows": rows, "device": ""}
    rows = [(name, cells[:-1]) for name, cells in rows]
    return {"header": header[:-1], "rows": rows, "device": devices.pop()}


def _costs(runs: Sequence[Run]) -> tuple[str, ...]:
    network = runs[0].report.get("network") or {}
    field = network.get("receptive_field")
    logs = [run.metrics for run in runs if run.metrics]
    speeds = [line["clips_per_second"] for log in logs for line in log]
    times = [sum(line["seconds"] for line in log) for log in logs]
    spent = [(run.report.get("training") or {}).get("device_seconds") for run in runs]
    devices = dict.fromkeys(str(run.report.get("device") or "unknown devices") for run in runs)
    return (
        quantity(network.get("parameters")),
        quantity(network.get("macs")),
        DASH if field is None else f"{field:,}",
        f"{median(speeds):,.0f}" if speeds else DASH,
        duration(fmean(times)) if times else DASH,
        DASH if None in spent else f"{sum(spent) / 3600:,.2f}",
        ", ".join(devices),
    )
