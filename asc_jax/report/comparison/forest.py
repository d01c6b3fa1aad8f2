"""The forest plot: each row's difference from the reference, with its interval.

A table, whose drawings have places in percent and heights in pixels: it grows narrow on a
phone without its letters growing small.
"""

import dataclasses
import math
from collections.abc import Sequence

from asc_jax.report.comparison.export import MARKS, p_value, points, spread
from asc_jax.report.comparison.results import Difference, Results
from asc_jax.report.comparison.stacked import label
from asc_jax.report.tables import Markup, percent, text

_HEIGHT = 38  # px, of a row
_MIDDLE = _HEIGHT // 2


@dataclasses.dataclass(frozen=True)
class Axis:
    """The horizontal axis; all fractions.

    Attributes:
      low: left end.
      high: right end.
      step: from tick to tick.
    """

    low: float
    high: float
    step: float

    def place(self, value: float) -> str:
        """Where a value lies, as SVG takes it."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"

    def width(self, length: float) -> str:
        """How wide a difference of two values is."""
        return f"{100 * length / (self.high - self.low):.2f}%"

    def ticks(self) -> range:
        """The ticks, in steps from 0."""
        return range(math.ceil(self.low / self.step), math.floor(self.high / self.step) + 1)


def make_axis(differences: Sequence[Difference]) -> Axis:
    """An axis that has room for all intervals, and for what could have been missed."""
    found = [difference.comparison for difference in differences]
    reach = [0.0, *(one.low for one in found), *(one.high for one in found)]
    reach += [sign * one.detectable for one in differences for sign in (-1, 1)]
    low, high = max(-1.0, min(reach)), min(1.0, max(reach))
    exact = max(high - low, 0.006) / 6
    power = 10 ** math.floor(math.log10(exact))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= exact * (1 - 1e-9))
    margin = max(0.04 * (high - low), 0.001)
    return Axis(low - margin, high + margin, step)


def forest(results: Results) -> Markup:
    """Differences of class-wise accuracy: squares, intervals, and what could have been missed."""
    others = [(one, one.differences["class_wise_accuracy"]) for one in results.others]
    axis = make_axis([difference for _, difference in others])
    # As long as the highest row needs, whose cell cuts off the rest.
    grid = "".join(
        _vertical(axis, i * axis.step, "grid" if i else "zero", 500) for i in axis.ticks()
    )
    reference = results.results[results.reference]
    score = reference.scores["class_wise_accuracy"].value
    name = Markup(f"{label(reference.name)} <small>reference</small>")
    dot = f'<circle cx="{axis.place(0)}" cy="{_MIDDLE}" r="4"/>'
    lines = [_line(name, grid + dot, f"{percent(score)} %", "", "same")]
    for one, difference in others:
        found = difference.comparison
        value = f'{points(found.difference)} <span class="interval">{spread(found)}</span>'
        p = f"{p_value(difference.p).replace('<', '&lt;')} <b>{MARKS[difference.verdict]}</b>"
        drawing, css = grid + _marks(difference, axis), verdict_class(difference)
        lines.append(_line(label(one.name), drawing, Markup(value), Markup(p), css))
    return Markup(
        '<table class="forest">\n<thead><tr><th scope="col"></th>'
        '<th scope="col" class="ends"><span>← worse</span><span>better →</span></th>'
        '<th scope="col">Difference, points</th><th scope="col">p, corrected</th></tr></thead>\n'
        f"<tbody>\n{''.join(lines)}</tbody>\n"
        f'<tfoot><tr aria-hidden="true"><td></td><td class="plot">{_labels(axis)}</td><td></td>'
        "<td></td></tr></tfoot></table>"
    )


def verdict_class(difference: Difference) -> str:
    """The CSS class of a difference."""
    return {1: "better", -1: "worse", 0: "same"}[difference.verdict]


def _line(name: Markup, drawing: str, value: object, p: object, css: str) -> str:
    return (
        f'<tr class="{css}"><th scope="row">{name}</th><td class="plot" aria-hidden="true">'
        f'<svg height="{_HEIGHT}">{drawing}</svg></td><td class="value">{text(value)}</td>'
        f'<td class="p">{text(p)}</td></tr>\n'
    )


def _vertical(axis: Axis, value: float, css: str, half: int) -> str:
    x = axis.place(value)
    return f'<line class="{css}" x1="{x}" x2="{x}" y1="{_MIDDLE - half}" y2="{_MIDDLE + half}"/>'


def _marks(difference: Difference, axis: Axis) -> str:
    """The interval with its ends, the square on it, the band of what could be missed behind."""
    found = difference.comparison
    missed = difference.detectable
    ends = "".join(_vertical(axis, end, "whisker", 4) for end in (found.low, found.high))
    return (
        f'<rect class="missed" x="{axis.place(-missed)}" width="{axis.width(2 * missed)}" '
        f'y="{_MIDDLE - 11}" height="22" rx="3"/>'
        f'<line class="whisker" x1="{axis.place(found.low)}" x2="{axis.place(found.high)}" '
        f'y1="{_MIDDLE}" y2="{_MIDDLE}"/>{ends}'
        # Places are in percent and the square in pixels: an inner drawing has both.
        f'<svg x="{axis.place(found.difference)}" y="{_MIDDLE - 5}" overflow="visible">'
        '<rect class="square" x="-5" width="10" height="10"/></svg>'
    )


def _labels(axis: Axis) -> str:
    digits = 0 if axis.step >= 0.01 * (1 - 1e-9) else 1
    labels = []
    for i in axis.ticks():
        sign = "+" if i > 0 else "\N{MINUS SIGN}" if i < 0 else ""
        words = f"{sign}{abs(100 * i * axis.step):.{digits}f}"
        labels.append(f'<text x="{axis.place(i * axis.step)}" y="14">{words}</text>')
    return f'<svg height="20">{"".join(labels)}</svg>'
