"""The table of a run's epochs that grows on the standard output, a row at each look."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from asc_jax.parallel.bar import print_above
from asc_jax.train.predict import validation_lists
from asc_jax.train.setup import Setup


class Table:
    """The looks at a run, a row or some for each, on the standard output."""

    def __init__(self, heading: Sequence[str], n_epochs: int, steps_per_epoch: int):
        """Prints the heading.

        Args:
          heading: lines, the last of which names the columns of results.
          n_epochs: of the run.
          steps_per_epoch: of each.
        """
        self._n_epochs, self._steps_per_epoch = n_epochs, steps_per_epoch
        self._compiled = False
        for line in heading[:-1]:
            self._print("", "", line)
        self._print("epoch", "step/s", heading[-1])

    def add(self, line: Mapping, results: Sequence[str]) -> None:
        """Prints what a look has come to.

        Args:
          line: of its epoch in `metrics.jsonl`, which says how long steps took.
          results: a row each.
        """
        seconds = line["seconds_per_step"]
        if not seconds and self._compiled:  # an epoch is one call, and this is not the first
            seconds = line["seconds"] / self._steps_per_epoch
        self._compiled = True
        for result in results:
            speed = f"{1 / seconds:.2f}" if seconds else "-"
            self._print(f"{line['epoch']}/{self._n_epochs}", speed, result)

    def _print(self, epoch: str, speed: str, result: str) -> None:
        width = max(len("epoch"), len(f"{self._n_epochs}/{self._n_epochs}"))
        print_above(f"{epoch:>{width}}  {speed:>6}  {result}")


def heading(setup: Setup) -> list[str]:
    """Names the columns of `results`, in lines for `Table`."""
    columns = f"{'loss':>7}  {'lr':>8}"
    name, lists = validation_lists(setup.splits)
    if not any(map(len, lists)):
        return [columns]
    folds = dict.fromkeys(split.fold for split in setup.splits)
    models = ["mean"] * (len(folds) > 1) + [f"fold{fold}" for fold in folds]
    above = f"class-wise accuracy on {name.replace('_', '-')} clips, %"
    return [
        f"{'':{len(columns)}} {above:>{7 * len(models)}}",
        columns + "".join(f"{one:>7}" for one in models),
    ]


def results(line: Mapping, runs: Sequence[str], lost: Collection[str] = ()) -> list[str]:
    """Renders what an epoch has come to, a row for each run that is not lost.

    Args:
      line: of the epoch, for `metrics.jsonl`.
      runs: the name of each model's run; "" of one that is alone.
      lost: names of runs.

    Returns:
      The rows. Means are of the folds that are finite; "-" is what is not.
    """
    rows = []
    for run in dict.fromkeys(runs):
        if run in lost:
            continue
        models = [i for i, name in enumerate(runs) if name == run]
        row = _cell(_mean([line["loss"][i] for i in models]), "7.3f")
        row += f"  {line['learning_rate'][models[0]]:8.2e}"
        if "validation_accuracy" in line:
            scores = [line["validation_accuracy"][i] for i in models]
            scores = [_mean(scores)] * (len(scores) > 1) + scores
            row += "".join(_cell(one and 100 * one, "7.1f") for one in scores)
        rows.append(f"{row}  {run}".rstrip())
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [one for one in values if one is not None]
    return float(np.mean(finite)) if finite else None


def _cell(value: float | None, form: str) -> str:
    return f"{'-':>7}" if value is None else f"{value:{form}}"
