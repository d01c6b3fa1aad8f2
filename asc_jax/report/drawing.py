"""Drawings on pages: inline SVG, coloured by the style sheet, so that it follows light and dark."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from asc_jax.report.curves import Line, fold_lines, loss_top, mean_line
from asc_jax.report.formatting import MINUS
from asc_jax.stats.calibration import Reliability


def element(tag: str, *inner: object, **attributes: object) -> Markup:
    """Makes an element; what it holds and its attributes are escaped.

    Args:
      tag: its name.
      inner: text, or `Markup` of further elements.
      attributes: `class_` for class, `aria_label` for aria-label.
    """
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    start = Markup("").join(Markup(' {}="{}"').format(*pair) for pair in names.items())
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(tag), start, Markup("").join(inner))


def round_step(span: float, most: int) -> float:
    """Finds the smallest of 1, 2, 5, 10, 20, ... (or 0.5, 0.2, ...) of which `most` span `span`."""
    exact = span / most
    power = 10 ** math.floor(math.log10(exact))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= exact * (1 - 1e-9))


def ticks(top: float, most: int) -> list[float]:
    """Lists round numbers from 0 up to `top`, at most `most` steps."""
    if top <= 0:
        return [0.0]
    step = round_step(top, most)
    return [i * step for i in range(int(top / step + 1e-9) + 1)]


class Chart(NamedTuple):
    """A drawing of learning curves.

    Attributes:
      title: what its vertical axis shows.
      svg: the drawing.
      legend: the names of its series, which are their CSS classes; () where it is elsewhere.
      selected: whether checkpoints that were selected are marked in it.
    """

    title: str
    svg: Markup
    legend: Sequence[str]
    selected: bool


def learning_curves(metrics: Sequence[Mapping], selected_epochs: Sequence[int]) -> list[Chart]:
    """Draws loss and class-wise accuracy of a run, as far as its log holds them.

    Args:
      metrics: the epochs of the log.
      selected_epochs: of each fold, to be marked.
    """
    training = fold_lines(metrics, "loss")
    validation = fold_lines(metrics, "validation_loss")
    accuracy = fold_lines(metrics, "validation_accuracy")
    charts = []
    if training:
        series = {"training": training} | ({"validation": validation} if validation else {})
        charts.append(curve_chart("Loss", series, loss_top(training + validation)))
    if accuracy:
        folds = zip(accuracy, selected_epochs, strict=False)
        dots = [(e, v) for line, selected in folds for e, v in line if e == selected]
        title = "Class-wise accuracy (%)"
        series = {"validation": accuracy}
        charts.append(curve_chart(title, series, 1.0, dots=dots, percent=True))
    return charts


def curve_chart(
    title: str,
    series: Mapping[str, Sequence[Line]],
    top: float,
    *,
    css: Mapping[str, str] | None = None,
    dots: Line = (),
    percent: bool = False,
    unit: str = "fold",
) -> Chart:
    """Draws per series a thin line for each fold, and a thick one for their mean, against epochs.

    Args:
      title: what the vertical axis shows.
      series: the lines of each series by its name.
      top: upper end of the vertical axis, which begins at 0.
      css: the CSS class of each series; None where the name is one.
      dots: (epoch, value) of the checkpoints that were selected.
      percent: whether the vertical axis is labelled in percent.
      unit: what a thin line is of.
    """
    last = max((e for lines in series.values() for line in lines for e, _ in line), default=1)
    left, above, width, height = 36, 8, 358, 208
    x = lambda epoch: f"{left + width * epoch / max(1, last):.1f}"
    y = lambda value: above + height * (1 - value / top)
    at = lambda point: f"{x(point[0])},{y(point[1]):.1f}"

    def path(line: Line, kind: str, label: str) -> Markup:
        # `h0` lets a line of one point show as a round dot.
        d = f"M{' L'.join(map(at, line))}h0"
        return element("path", element("title", label), class_=kind, d=d)

    drawn = []
    for value in ticks(top, 5):
        label = f"{100 * value:.0f}" if percent else f"{value:.6g}"
        drawn.append(element("path", class_="grid", d=f"M{left},{y(value):.1f}h{width}"))
        drawn.append(element("text", label, class_="y", x=left - 7, y=f"{y(value) + 3.5:.1f}"))
    drawn += [
        element("text", f"{epoch:g}", class_="x", x=x(epoch), y=232)
        for epoch in ticks(last, max(1, min(6, last)))
    ]
    drawn.append(element("text", "epoch", class_="x", x=left + width / 2, y=247))
    lines = []
    for name, own in series.items():
        kind = css[name] if css else name
        if len(own) > 1:
            for i, line in enumerate(own, 1):
                lines += [path(line, f"{kind} fold", f"{name}, {unit} {i}")] if line else []
        if mean := mean_line(own):
            of = f", mean of the {unit}s" if len(own) > 1 else ""
            lines.append(path(mean, f"{kind} mean", f"{name}{of}"))
    lines += [element("circle", cx=x(e), cy=f"{y(v):.1f}", r=3) for e, v in dots]
    # The inner viewport cuts off what rises above the axis.
    inside = {"y": above - 2, "width": 400, "height": height + 4}
    drawn.append(element("svg", *lines, **inside, viewBox=f"0 {above - 2} 400 {height + 4}"))
    svg = element("svg", *drawn, viewBox="0 0 400 250", role="img", aria_label=title)
    return Chart(title, svg, () if css else tuple(series), bool(dots))


def reliability_diagram(one: Reliability) -> Markup:
    """Draws confidence against accuracy, with the clips of each bin at the foot."""
    left, above, size = 24, 4, 150
    x = lambda value: f"{left + size * value:.1f}"
    y = lambda value: f"{above + size * (1 - value):.1f}"
    bins = [b for b, n in enumerate(one.counts) if n]
    drawn = [element("rect", class_="frame", x=left, y=above, width=size, height=size)]
    for b in bins:
        low, high = one.edges[b : b + 2]
        share = 0.25 * one.counts[b] / one.counts.max()
        box = {"width": f"{size * (high - low):.1f}", "height": f"{size * share:.1f}"}
        drawn.append(element("rect", class_="clips", x=x(low), y=y(share), **box))
    drawn.append(element("path", class_="ideal", d=f"M{x(0)},{y(0)}L{x(1)},{y(1)}"))
    for b in bins:
        confidence, accuracy = one.confidence[b], one.accuracy[b]
        says = f"confidence {100 * confidence:.0f} %, right {100 * accuracy:.0f} % of "
        says = element("title", f"{says}{one.counts[b]:,} clips")
        gap = f"M{x(confidence)},{y(confidence)}V{y(accuracy)}"
        dot = {"cx": x(confidence), "cy": y(accuracy), "r": 2.6}
        drawn += [element("path", class_="gap", d=gap), element("circle", says, **dot)]
    line = "L".join(f"{x(one.confidence[b])},{y(one.accuracy[b])}" for b in bins)
    drawn.append(element("path", class_="line", d=f"M{line}"))
    for share in (0, 50, 100):
        css = "x last" if share == 100 else "x"
        drawn.append(element("text", share, class_=css, x=x(share / 100), y=above + size + 11))
        height = float(y(share / 100)) + 3
        drawn.append(element("text", share, class_="y", x=left - 4, y=f"{height:.1f}"))
    label = {"role": "img", "aria_label": "reliability diagram"}
    return element("svg", *drawn, class_="diagram", viewBox="0 0 176 168", **label)


def forest_plot(rows: Sequence[tuple[float, float, float, float]]) -> list[Markup]:
    """Draws a forest plot in pieces for the rows of a table.

    Places are in percent and heights in pixels: it grows narrow on a phone without its letters
    growing small.

    Args:
      rows: a difference, the ends of its interval, and the size of differences that are easily
        missed, all of them fractions.

    Returns:
      The reference as a dot; each difference as a square on its interval, behind it the band of
      what could be missed; and the axis in percentage points.
    """
    ends = [end for _, low, high, missed in rows for end in (low, high, -missed, missed)]
    left, right = max(-1.0, min(0.0, *ends)), min(1.0, max(0.0, *ends))
    step, margin = round_step(max(right - left, 0.006), 6), max(0.04 * (right - left), 0.001)
    left, right = left - margin, right + margin
    digits = 0 if step >= 0.01 * (1 - 1e-9) else 1
    length = lambda difference: f"{100 * difference / (right - left):.2f}%"
    place = lambda value: length(value - left)

    def vertical(value: float, css: str, half: int) -> Markup:
        x = place(value)
        return element("line", class_=css, x1=x, x2=x, y1=19 - half, y2=19 + half)

    grid, labels = [], []
    for i in range(math.ceil(left / step), math.floor(right / step) + 1):
        # As long as the highest row needs, whose cell cuts off the rest.
        grid.append(vertical(i * step, "grid" if i else "zero", 500))
        sign = "+" if i > 0 else MINUS if i < 0 else ""
        words = f"{sign}{abs(100 * i * step):.{digits}f}"
        labels.append(element("text", words, x=place(i * step), y=14))
    dot = element("circle", cx=place(0), cy=19, r=4)
    drawn = [element("svg", *grid, dot, height=38)]
    for difference, low, high, missed in rows:
        band = {"x": place(-missed), "y": 8, "width": length(2 * missed), "height": 22, "rx": 3}
        line = {"x1": place(low), "x2": place(high), "y1": 19, "y2": 19}
        marks = [element("rect", class_="missed", **band)]
        marks.append(element("line", class_="whisker", **line))
        marks += [vertical(end, "whisker", 4) for end in (low, high)]
        # Places are in percent and the square in pixels: an inner drawing has both.
        square = element("rect", class_="square", x=-5, width=10, height=10)
        marks.append(element("svg", square, x=place(difference), y=14, overflow="visible"))
        drawn.append(element("svg", *grid, *marks, height=38))
    return [*drawn, element("svg", *labels, height=20)]
