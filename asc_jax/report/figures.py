"""Figures for a paper: SVG drawings by matplotlib."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asc_jax.report.curves import fold_lines, loss_top, mean_line
from asc_jax.report.formatting import row_shares

SETTINGS = {
    "svg.hashsalt": "asc_jax",  # otherwise the element ids differ from run to run
    "text.parse_math": False,  # a label may hold a dollar sign
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}
BLUE, WARM, INK = "#1a4e7a", "#a8642a", "#1d1c1a"


def draw_svg(draw: Callable[[Any], None], width: float, height: float) -> str:
    """The figure that `draw` fills, as SVG text that is the same for the same input.

    Args:
      draw: draws on the `matplotlib.figure.Figure` that it is given.
      width: inches.
      height: inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    # Clips are named after their places, whose last digits vary: the layout is solved by steps.
    names: dict[str, str] = {}
    number = lambda found: names.setdefault(found[0], f"p{len(names)}")
    return re.sub(r'(?<=[#"])p[0-9a-f]{10}(?=[")])', number, stream.getvalue())


def short(labels: Sequence[str]) -> list[str]:
    """The labels, cut where they would leave no room for the drawing."""
    return [label if len(label) <= 28 else f"{label[:27]}…" for label in labels]


def label_width(labels: Sequence[str]) -> float:
    """About how many inches the longest of the short labels takes."""
    return 0.08 * max(map(len, short(labels)), default=0)


def confusion_figure(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """The confusion matrix, rows true, columns predicted, in percent of the row."""
    shares = row_shares(confusion)
    n_classes = len(labels)

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, row in enumerate(shares):
            for j, share in enumerate(row):
                if confusion[i][j]:
                    colour = "white" if share > 0.5 else INK
                    weight = "bold" if i == j else "normal"
                    style = {"ha": "center", "va": "center", "color": colour, "weight": weight}
                    axes.text(j, i, f"{100 * share:.0f}", **style)
        axes.set_xticks(range(n_classes), short(labels), rotation=90)
        axes.set_yticks(range(n_classes), short(labels))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")

    side = 0.5 + label_width(labels) + 0.32 * n_classes
    return draw_svg(draw, side, side)


def per_class_figure(per_class: Sequence[Mapping]) -> str:
    """The accuracy of each class as a bar with its interval."""
    labels = [score["scene_label"] for score in per_class]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for i, score in enumerate(per_class):
            value, low, high = (score.get(key) for key in ("value", "low", "high"))
            if value is not None:
                axes.barh(i, 100 * value, height=0.62, color=BLUE, alpha=0.55)
            if low is not None and high is not None:
                axes.plot(
                    [100 * low, 100 * high], [i, i], "|-", color=INK, lw=0.9, ms=4, clip_on=False
                )
        axes.set_yticks(range(len(labels)), short(labels))
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("accuracy (%), with interval of at least 95 %")
        axes.tick_params(axis="y", length=0)

    return draw_svg(draw, 3.3 + label_width(labels), 0.7 + 0.22 * len(per_class))


def learning_curves_figure(metrics: Sequence[Mapping]) -> str:
    """Loss and class-wise accuracy against epochs: folds thin, their mean thick."""
    training = fold_lines(metrics, "loss")
    validation = fold_lines(metrics, "validation_loss")
    accuracy = fold_lines(metrics, "validation_accuracy")

    def plot(axes: Any, lines: list, name: str, colour: str, scale: float = 1) -> None:
        for line in lines:
            axes.plot(
                [e for e, _ in line], [scale * v for _, v in line], c=colour, lw=0.6, alpha=0.45
            )
        mean = mean_line(lines)
        axes.plot([e for e, _ in mean], [scale * v for _, v in mean], c=colour, lw=1.4, label=name)

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, 2 if accuracy else 1, squeeze=False)[0]
        plot(panels[0], training, "training", WARM)
        if validation:
            plot(panels[0], validation, "validation", BLUE)
        panels[0].set_ylim(0, loss_top(training + validation))
        panels[0].set_ylabel("loss")
        panels[0].legend(frameon=False)
        if accuracy:
            plot(panels[1], accuracy, "validation", BLUE, scale=100)
            panels[1].set_ylim(0, 100)
            panels[1].set_ylabel("class-wise accuracy, validation (%)")
        for axes in panels:
            axes.set_xlim(left=0)
            axes.set_xlabel("epoch")

    return draw_svg(draw, 6.5 if accuracy else 3.4, 2.5)
