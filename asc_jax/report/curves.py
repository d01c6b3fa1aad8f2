"""Learning curves: the lines of a training log."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from asc_jax.report.formatting import percent

Line = list[tuple[float, float]]  # (epoch, value)


def fold_lines(metrics: Sequence[Mapping], key: str) -> list[Line]:
    """Takes the values of one metric against epochs from a log, one line per fold.

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
    """Averages lines at the epochs where every one has a value."""
    by_epoch: dict[float, list[float]] = {}
    for line in lines:
        for epoch, value in line:
            by_epoch.setdefault(epoch, []).append(value)
    return [(e, fmean(v)) for e, v in sorted(by_epoch.items()) if len(v) == len(lines)]


def optimistic_score(metrics: Sequence[Mapping]) -> str:
    """Says what the score would be if each fold's epoch had been chosen on the scored clips.

    Many published scores are chosen so.

    Args:
      metrics: the epochs of `metrics.jsonl`.

    Returns:
      The best and the last epoch's class-wise accuracy; "" where only one epoch was validated,
      or none on the clips that are scored.
    """
    scored = [one for one in metrics if one.get("validation_list") == "held_out"]
    lines = fold_lines(scored, "validation_accuracy")
    if not lines or any(len(line) < 2 for line in lines):
        return ""
    best = fmean(max(value for _, value in line) for line in lines)
    last = fmean(line[-1][1] for line in lines)
    return (
        f"{percent(best)} % class-wise accuracy if each fold's epoch were chosen on the clips that "
        f"it is scored on, of {max(map(len, lines))}; {percent(last)} % at the last one"
    )


def loss_top(lines: Sequence[Line]) -> float:
    """Finds the top of a loss axis.

    Leaves out the highest 2 % of the values: one early outlier of a validation loss would
    press every curve against the floor.
    """
    values = sorted(value for line in lines for _, value in line)
    # The loss of one class alone is 0.
    return (values and 1.05 * values[math.ceil(0.98 * len(values)) - 1]) or 1.0
