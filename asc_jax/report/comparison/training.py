"""How the rows were trained: their learning curves, their settings, their cost."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from urllib.parse import quote

from asc_jax.report.comparison.folders import Run
from asc_jax.report.comparison.results import Result, Results
from asc_jax.report.comparison.stacked import label, stacked_table
from asc_jax.report.curves import Line, fold_lines, loss_top, mean_line
from asc_jax.report.drawing import curve_chart
from asc_jax.report.tables import DASH, Markup, duration, quantity, text
from asc_jax.runs.metrics_log import non_finite_policy
from asc_jax.runs.provenance import in_short, other_files

N_COLOURS = 8

# Fields that say where things are and how they are called; they change no result.
UNIMPORTANT = {"title", "data.cache_dir", "data.workers", "train.keep_checkpoints"}


def curves(results: Results) -> Markup:
    """The learning curves of all rows in one chart per quantity, with their legend."""
    css = {one.name: colour(i) for i, one in enumerate(results.results) if one.row}
    charts = []
    for key, title, percent in (
        ("loss", "Training loss", False),
        ("validation_loss", "Validation loss", False),
        ("validation_accuracy", "Validation: class-wise accuracy (%)", True),
    ):
        series = {one.name: _seeds(one.row.runs, key) for one in results.rows}
        series = {name: lines for name, lines in series.items() if any(lines)}
        if series:
            top = 1.0 if percent else loss_top([one for lines in series.values() for one in lines])
            chart = curve_chart(title, series, top, percent=percent, css=css, unit="seed")
            caption = f"<figcaption><strong>{text(title)}</strong></figcaption>"
            charts.append(f'<figure class="chart">{caption}{chart.svg}</figure>')
    if not charts:
        return Markup()
    legend = "".join(f'<li class="{css[one.name]}">{label(one.name)}</li>' for one in results.rows)
    several = any(len(one.row.runs) > 1 for one in results.rows)
    words = "Thick lines: the mean over folds" + (
        " and seeds; thin: each seed." if several else "."
    )
    return Markup(
        f'<ul class="legend">{legend}</ul>\n<div class="charts">{"".join(charts)}</div>\n'
        f'<p class="note">{words}</p>'
    )


def colour(number: int) -> str:
    """The CSS class of a row's lines: as many colours as there are, then dashed."""
    return f"c{number % N_COLOURS}" + (" dashed" if number // N_COLOURS % 2 else "")


def _seeds(runs: Sequence[Run], key: str) -> list[Line]:
    """One line per run: the mean over its folds."""
    return [mean_line(fold_lines(run.metrics, key)) for run in runs]


def settings(results: Results, folder: pathlib.Path) -> Markup:
    """Where the rows' configs differ, and nothing else; links to the runs' own pages.

    Args:
      results: the rows.
      folder: where the page is going to be.
    """
    reference = _fields(results.results[results.reference])
    rows = []
    for i, one in enumerate(results.results):
        if one.row is None:
            continue
        own = _fields(one)
        changed = sorted(
            field
            for field in own.keys() | reference.keys()
            if own.get(field) != reference.get(field)
        )
        cells = [
            f"<code>{text(field)}</code> {_value(reference, field)} → <b>{_value(own, field)}</b>"
            for field in changed
        ]
        if files := _other_source(results.results[results.reference], one):
            cells.append(f"functions: {text(in_short(files))}")
        if others := _scored_by_other(one):
            cells.append(f"scored by other functions than trained by: {text(in_short(others))}")
        if i == results.reference:
            cells = ["the reference"]
        words = Markup("<br>".join(cells or ["the same"]))
        rows.append((one.name, words, Markup(", ".join(_links(one.row.runs, folder)))))
    return stacked_table(["", "Differs from the reference in", "Runs"], rows, "settings")


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


def _value(fields: Mapping[str, object], field: str) -> Markup:
    if field not in fields:
        return text("none")
    value = fields[field]
    return text(value if isinstance(value, str) and value else json.dumps(value))


def _links(runs: Sequence[Run], folder: pathlib.Path) -> list[str]:
    names = [f"seed {run.config.get('seed')}" if len(runs) > 1 else run.path.name for run in runs]
    links = []
    for run, name in zip(runs, names, strict=True):
        page = run.path / "report.html"
        # "./" keeps a folder's name from being read as a scheme.
        path = os.path.relpath(page if page.exists() else run.path, folder)
        links.append(f'<a href="./{quote(path)}">{text(name or path)}</a>')
    return links


def cost(results: Results) -> Markup:
    """Size, speed and time of each row."""
    rows = [(one.name, *_costs(one.row.runs)) for one in results.rows]
    header = [
        "",
        "Parameters",
        "MACs per clip",
        "Receptive field, frames",
        "Clips/s",
        "Training of a run",
        "Device hours, all runs",
        "Device",
    ]
    devices = {row[-1] for row in rows}
    note = ""
    if len(devices) == 1:  # one line says it for all
        header, rows = header[:-1], [row[:-1] for row in rows]
        note = f'\n<p class="note">Trained on {text(*devices)}.</p>'
    return Markup(stacked_table(header, rows, "cost") + note)


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
