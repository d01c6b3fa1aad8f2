"""Learning curves: the lines behind them and their drawing as inline SVG.

The drawing takes its colours from the page's style sheet, so that it follows light and dark.
"""

import html
import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from asc_jax.report.tables import Markup, text

Line = list[tuple[float, float]]  # (epoch, value)

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 36, 6, 8, 34


def fold_lines(metrics: Sequence[Mapping], key: str) -> list[Line]:
    """The values of one metric against epochs, one line per fold.

    An epoch without the metric, or where it is not finite, is left out of the line.
    """
    rows = [(m["epoch"], m[key]) for m in metrics if m.get(key)]
    n_folds = max((len(values) for _, values in rows), default=0)
    return [
        [
            (epoch, values[fold])
            for epoch, values in rows
            if fold < len(values) and values[fold] is not None and math.isfinite(values[fold])
        ]
        for fold in range(n_folds)
    ]


def mean_line(lines: Sequence[Line]) -> Line:
    """The mean over folds, at the epochs where every fold has a value."""
    by_epoch: dict[float, list[float]] = {}
    for line in lines:
        for epoch, value in line:
            by_epoch.setdefault(epoch, []).append(value)
    return [(e, fmean(v)) for e, v in sorted(by_epoch.items()) if len(v) == len(lines)]


def loss_top(lines: Sequence[Line]) -> float:
    """The top of a loss axis.

    Leaves out the highest 2 % of the values: one early outlier of a validation loss would
    press every curve against the floor.
    """
    values = sorted(value for line in lines for _, value in line)
    # The loss of one class alone is 0.
    return (values and 1.05 * values[math.ceil(0.98 * len(values)) - 1]) or 1.0


def ticks(top: float, most: int) -> list[float]:
    """Round numbers from 0 up to `top`, at most `most` steps."""
    if top <= 0:
        return [0.0]
    exact = top / most
    power = 10 ** math.floor(math.log10(exact))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= exact * (1 - 1e-9))
    return [i * step for i in range(int(top / step + 1e-9) + 1)]


def curve_chart(
    title: str,
    series: Mapping[str, Sequence[Line]],
    top: float,
    dots: Sequence[tuple[float, float]] = (),
    percent: bool = False,
    css: Mapping[str, str] | None = None,
    unit: str = "fold",
) -> Markup:
    """One chart: per series a thin line for each fold and a thick one for their mean.

    Args:
      title: what the vertical axis shows; stands above the chart.
      series: the lines of each series by its name.
      top: upper end of the vertical axis, which begins at 0.
      dots: (epoch, value) of the checkpoints that were selected.
      percent: whether the vertical axis is labelled in percent.
      css: the CSS class of each series, whose legend is then elsewhere; None where the name
        is one.
      unit: what a thin line is of.

    Returns:
      A figure with the SVG, and with its legend unless `css` is given.
    """
    last = max((e for lines in series.values() for line in lines for e, _ in line), default=1)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(epoch: float) -> float:
        return LEFT + width * epoch / max(1, last)

    def y(value: float) -> float:
        return TOP + height * (1 - value / (top or 1))

    def path(line: Line, kind: str, label: str) -> str:
        points = " L".join(f"{x(e):.1f},{y(v):.1f}" for e, v in line)
        # `h0` lets a line of one point show as a round dot.
        return f'<path class="{kind}" d="M{points}h0"><title>{html.escape(label)}</title></path>'

    drawn = []
    for value in ticks(top, 5):
        label = f"{100 * value:.0f}" if percent else f"{value:.6g}"
        drawn.append(f'<path class="grid" d="M{LEFT},{y(value):.1f}h{width}"/>')
        drawn.append(f'<text class="y" x="{LEFT - 7}" y="{y(value) + 3.5:.1f}">{label}</text>')
    drawn.extend(
        f'<text class="x" x="{x(epoch):.1f}" y="{HEIGHT - 18}">{epoch:g}</text>'
        for epoch in ticks(last, max(1, min(6, last)))
    )
    drawn.append(f'<text class="x" x="{LEFT + width / 2}" y="{HEIGHT - 3}">epoch</text>')

    # The inner viewport cuts off what rises above the axis.
    drawn.append(
        f'<svg y="{TOP - 2}" width="{WIDTH}" height="{height + 4}" '
        f'viewBox="0 {TOP - 2} {WIDTH} {height + 4}">'
    )
    for name, lines in series.items():
        kind = css[name] if css else name
        for number, line in enumerate(lines if len(lines) > 1 else (), 1):
            if line:
                drawn.append(path(line, f"{kind} fold", f"{name}, {unit} {number}"))
        if mean := mean_line(lines):
            of = f", mean of the {unit}s" if len(lines) > 1 else ""
            drawn.append(path(mean, f"{kind} mean", f"{name}{of}"))
    drawn.extend(f'<circle cx="{x(e):.1f}" cy="{y(v):.1f}" r="3"/>' for e, v in dots)
    legend = "" if css else "".join(f'<span class="{name}">{name}</span> ' for name in series)
    return Markup(
        f'<figure class="chart"><figcaption><strong>{text(title)}</strong> {legend}</figcaption>\n'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(title)}">\n'
        + "\n".join(drawn)
        + "\n</svg></svg></figure>"
    )


def selected_points(lines: Sequence[Line], epochs: Sequence[int]) -> Line:
    """The point of each fold's line at the epoch that was selected for it."""
    points = []
    for line, selected in zip(lines, epochs, strict=False):
        points.extend((e, v) for e, v in line if e == selected)
    return points


def learning_curves(metrics: Sequence[Mapping], selected_epochs: Sequence[int]) -> Markup:
    """The charts of loss and class-wise accuracy, as far as the metrics hold them."""
    training = fold_lines(metrics, "loss")
    validation = fold_lines(metrics, "validation_loss")
    accuracy = fold_lines(metrics, "validation_accuracy")
    charts = ""
    if training:
        series = {"training": training} | ({"validation": validation} if validation else {})
        charts += curve_chart("Loss", series, loss_top(training + validation))
    if accuracy:
        dots = selected_points(accuracy, selected_epochs)
        title = "Class-wise accuracy (%)"
        charts += curve_chart(title, {"validation": accuracy}, 1.0, dots, percent=True)
    return Markup(f'<div class="charts">{charts}</div>') if charts else Markup()
