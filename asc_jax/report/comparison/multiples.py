"""Small pictures of the same kind, one per row: confusion matrices, reliability diagrams."""

import html
from collections.abc import Callable, Sequence

import numpy as np

from asc_jax.report.comparison.export import points
from asc_jax.report.comparison.results import Result, Results
from asc_jax.report.comparison.stacked import label
from asc_jax.report.tables import Markup, text
from asc_jax.stats.calibration import Reliability

_CELL = 10  # units of a cell of a matrix
_EDGE = 9  # units, for the numbers of the scenes


def multiples(
    rows: Sequence[Result],
    draw: Callable[[Result], str],
    note: Callable[[Result], str],
) -> Markup:
    """One figure per row.

    Args:
      rows: what to draw.
      draw: the SVG of a row.
      note: a few words below its name.
    """
    figures = "\n".join(
        f"<figure><figcaption>{label(one.name)}<small>{text(note(one))}</small></figcaption>\n"
        f"{draw(one)}</figure>"
        for one in rows
    )
    return Markup(f'<div class="multiples">\n{figures}\n</div>')


def confusions(results: Results) -> Markup:
    """What each row confuses, and how that differs from the reference."""
    labels = results.listed.scene_labels
    reference = results.results[results.reference]

    def change(one: Result) -> np.ndarray:
        return _shares(one.confusion) - _shares(reference.confusion)

    words = "Rows: the true scene; columns: the answer; colour: the share of the row."
    parts = [
        Markup(f"<p>{words}</p>"),
        multiples(
            results.results,
            lambda one: _matrix(_shares(one.confusion), labels),
            lambda one: "",
        ),
    ]
    if results.others:
        parts += [
            Markup("<h3>Difference from the reference</h3>"),
            Markup(
                "<p>Blue: more right answers, or fewer of this confusion; orange: the other way. "
                "Each picture has its own scale; the confusion that has changed most, in points, "
                "stands above it.</p>"
            ),
            multiples(
                results.others,
                lambda one: _matrix(change(one), labels, signed=True),
                lambda one: largest_shift(change(one), labels),
            ),
        ]
    names = "".join(f"<li>{number} {text(name)}</li>" for number, name in enumerate(labels, 1))
    return Markup("\n".join([*parts, f'<ul class="key">{names}</ul>']))


def largest_shift(change: np.ndarray, labels: Sequence[str]) -> str:
    """The cell off the diagonal that has changed most, in words."""
    off = np.where(np.eye(len(labels), dtype=bool), 0, np.abs(change)).round(6)
    if not off.any():
        return "no difference"
    i, j = np.unravel_index(off.argmax(), off.shape)
    return f"{labels[i]} → {labels[j]} {points(change[i, j])}"


def _shares(confusion: np.ndarray) -> np.ndarray:
    return confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)


def _matrix(values: np.ndarray, labels: Sequence[str], *, signed: bool = False) -> str:
    """A matrix of shares, or of their differences, as squares of more or less colour."""
    side = _EDGE + _CELL * len(labels)
    full = max(0.1, float(np.abs(values).max())) if signed else 1.0
    cells = []
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if abs(value) < 5e-4:
                continue
            # More on the diagonal is better, more beside it is worse.
            shift = "up" if (value > 0) == (i == j) else "down"
            says = points(value) if signed else f"{100 * value:.0f} %"
            cells.append(
                f'<rect class="{shift if signed else "share"}" x="{_EDGE + _CELL * j}" '
                f'y="{_EDGE + _CELL * i}" width="{_CELL}" height="{_CELL}" '
                f'opacity="{abs(value) / full:.3f}">'
                f"<title>{html.escape(f'{labels[i]} → {labels[j]}: {says}')}</title></rect>"
            )
    numbers = "".join(
        f'<text x="{_EDGE + _CELL * (k + 0.5)}" y="{_EDGE / 2}">{k + 1}</text>'
        f'<text x="{_EDGE / 2}" y="{_EDGE + _CELL * (k + 0.5)}">{k + 1}</text>'
        for k in range(len(labels))
    )
    diagonal = "".join(
        f'<rect class="diagonal" x="{at}" y="{at}" width="{_CELL}" height="{_CELL}"/>'
        for at in range(_EDGE, side, _CELL)
    )
    frame = _CELL * len(labels)
    return (
        f'<svg class="matrix" viewBox="0 0 {side} {side}" role="img" '
        f'aria-label="confusion matrix">{"".join(cells)}{diagonal}'
        f'<rect class="frame" x="{_EDGE}" y="{_EDGE}" width="{frame}" height="{frame}"/>'
        f"{numbers}</svg>"
    )


def reliability_diagrams(results: Results) -> Markup:
    """Confidence against accuracy, with the clips of each bin at the foot."""
    return multiples(
        results.results,
        lambda one: _diagram(one.calibration.diagram),
        lambda one: f"ECE {100 * one.calibration.diagram.expected_calibration_error:.1f} points",
    )


def _diagram(one: Reliability) -> str:
    left, top, size = 24, 4, 150

    def x(value: float) -> str:
        return f"{left + size * value:.1f}"

    def y(value: float) -> str:
        return f"{top + size * (1 - value):.1f}"

    most = max(1, one.counts.max())
    parts = [f'<rect class="frame" x="{left}" y="{top}" width="{size}" height="{size}"/>']
    shown = [b for b, n in enumerate(one.counts) if n]
    for b in shown:
        low, high, height = one.edges[b], one.edges[b + 1], 0.25 * one.counts[b] / most
        parts.append(
            f'<rect class="clips" x="{x(low)}" y="{y(height)}" '
            f'width="{size * (high - low):.1f}" height="{size * height:.1f}"/>'
        )
    parts.append(f'<path class="ideal" d="M{x(0)},{y(0)}L{x(1)},{y(1)}"/>')
    for b in shown:
        where = x(one.confidence[b])
        words = (
            f"confidence {100 * one.confidence[b]:.0f} %, right {100 * one.accuracy[b]:.0f} % of "
            f"{one.counts[b]:,} clips"
        )
        parts.append(
            f'<path class="gap" d="M{where},{y(one.confidence[b])}V{y(one.accuracy[b])}"/>'
            f'<circle class="dot" cx="{where}" cy="{y(one.accuracy[b])}" r="2.6">'
            f"<title>{words}</title></circle>"
        )
    line = "L".join(f"{x(one.confidence[b])},{y(one.accuracy[b])}" for b in shown)
    parts.append(f'<path class="line" d="M{line}"/>')
    for share in (0, 50, 100):
        at = share / 100
        anchor = ' style="text-anchor:end"' if share == 100 else ""
        parts.append(f'<text class="x" x="{x(at)}" y="{top + size + 11}"{anchor}>{share}</text>')
        parts.append(f'<text class="y" x="{left - 4}" y="{float(y(at)) + 3:.1f}">{share}</text>')
    return (
        f'<svg class="diagram" viewBox="0 0 {left + size + 2} {top + size + 14}" role="img" '
        f'aria-label="reliability diagram">{"".join(parts)}</svg>'
    )
