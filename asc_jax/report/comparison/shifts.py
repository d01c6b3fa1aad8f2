"""Where rows differ: per scene, city and device, the reference's score and the others' shifts."""

import html
from collections.abc import Callable, Sequence

import numpy as np

from asc_jax.report.comparison.export import points
from asc_jax.report.comparison.results import Result, Results
from asc_jax.report.comparison.stacked import label
from asc_jax.report.tables import Markup, percent, score_cell, table
from asc_jax.stats.scores import Score

Scores = Callable[[Result], Sequence[Score]]


def by_scene(results: Results) -> Markup:
    """Accuracy of each scene."""
    return shift_table(results, results.listed.scene_labels, lambda one: one.per_class)


def by_group(results: Results, field: str) -> Markup:
    """Class-wise accuracy in each city, or on each device; nothing where there are not two."""
    names = list(results.listed.groups(field))
    if not names:
        return Markup()
    return shift_table(results, names, lambda one: [one.groups[field][name] for name in names])


def shift_table(results: Results, names: Sequence[str], scores: Scores) -> Markup:
    """The reference's scores in percent, below them the others' differences from it in points.

    Args:
      results: the rows.
      names: of the columns.
      scores: a row's, one per column.

    Returns:
      The table, and all scores with their intervals folded away below it.
    """
    reference = results.results[results.reference]
    base = [score.value for score in scores(reference)]
    shifts = {one.name: np.array([s.value for s in scores(one)]) - base for one in results.others}
    largest = max([0.1, *(float(np.nanmax(np.abs(v), initial=0)) for v in shifts.values())])
    lines = [_line(reference.name, [percent(v) for v in base], [0] * len(base), "reference")]
    for name, values in shifts.items():
        shown = ["" if np.isnan(v) else points(v) for v in values]
        lines.append(_line(name, shown, np.nan_to_num(values) / largest))
    head = "".join(f'<th scope="col"><span>{html.escape(name)}</span></th>' for name in names)
    body = "\n".join(lines)
    rows = [
        (name, *(_with_interval(scores(one)[k]) for one in results.results))
        for k, name in enumerate(names)
    ]
    every = table(["", *(label(one.name) for one in results.results)], rows)
    upright = "" if max(map(len, names)) > 4 else " flat"
    return Markup(
        f'<div class="scroll"><table class="shift{upright}" style="--k:{len(names)}">\n'
        f"<thead><tr><td></td>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
        "<details><summary>All values with intervals of at least 95 % (%)</summary>"
        f"{every}</details>"
    )


def _line(name: str, cells: Sequence[str], strengths: Sequence[float], css: str = "") -> str:
    columns = "".join(
        f'<td class="{"up" if strength >= 0 else "down"}" style="--s:{0.75 * abs(strength):.3f}">'
        f"{cell}</td>"
        for cell, strength in zip(cells, strengths, strict=True)
    )
    return f'<tr class="{css}"><th scope="row">{label(name)}</th>{columns}</tr>'


def _with_interval(score: Score) -> Markup:
    return score_cell({"value": score.value, "low": score.low, "high": score.high})
