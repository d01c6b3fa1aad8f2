"""A run's curves where people look at them: a table, TensorBoard, Weights & Biases.

All are made of the lines of `metrics.jsonl`, those of before a stop too: they can be deleted.
"""

import contextlib
import csv
import functools
import importlib
import io
import json
import pathlib
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np

from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole

# By the name in `train.writers`: the library that it needs.
LIBRARIES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


class Writer(Protocol):
    """Where curves go."""

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Adds the values at a step."""

    def draw(self, name: str, picture: np.ndarray, step: int) -> None:
        """Adds a picture, (height, width, 3) bytes, where there is a place for one."""

    def close(self) -> None:
        """Brings what was written to where it is seen."""


def refuse_missing(writers: Sequence[str]) -> None:
    """Checks that the libraries of some writers are installed.

    Raises:
      InputError: naming the extra that brings it.
    """
    for name in writers:
        try:
            importlib.import_module(LIBRARIES[name])
        except ImportError:
            raise InputError(
                f"{name} needs {LIBRARIES[name]}; pip install 'asc_jax[{name}]'",
                field="train.writers",
            ) from None


class Curves:
    """The table and other writers of a run."""

    def __init__(
        self,
        models: Sequence[str],
        writers: Sequence[str] = (),
        config: Mapping = MappingProxyType({}),
        labels: Sequence[str] = (),
    ):
        """Says what is to be written; nothing is, yet.

        Args:
          models: a name each, of the folds or GANs.
          writers: keys of `LIBRARIES`.
          config: fields that they show beside the curves.
          labels: of the classes.
        """
        self._models, self._names, self._config = models, writers, config
        self._labels = labels
        self._writers: list[Writer] = []

    def begin(self, folder: pathlib.Path, lines: Sequence[Mapping]) -> None:
        """Opens the writers anew, in a run's folder, with the lines of its log so far."""
        makers = {"tensorboard": TensorBoard, "wandb": Wandb}
        others = (functools.partial(makers[n], folder, self._config) for n in self._names)
        self._writers = []
        for make in (functools.partial(Table, folder), *others):
            with self._or_without():
                self._writers.append(make())
        for line in lines:
            self.write(line)

    def write(self, line: Mapping) -> None:
        """Adds a line of the log."""
        step = line.get("step", 0)  # 0 where nothing is trained
        values = scalars(line, self._models)
        counts = [one for one in line.get("confusion", ()) if one]
        for writer in list(self._writers):
            with self._or_without(writer):
                writer.write(values, step)
                if counts:
                    figure = draw_confusion(np.sum(counts, 0), self._labels)
                    writer.draw("confusion", as_picture(figure), step)

    def close(self) -> None:
        """Brings what was written to where it is seen."""
        for writer in list(self._writers):
            with self._or_without(writer):
                writer.close()

    @contextlib.contextmanager
    def _or_without(self, writer: Writer | None = None) -> Iterator[None]:
        """Goes on without a writer that fails: no run ends for its curves."""
        try:
            yield
        except Exception as error:  # libraries raise many kinds, without a network say
            if writer in self._writers:
                self._writers.remove(writer)
            reason = " ".join(str(error).split())[:200]
            print(f"curves: {type(error).__name__}: {reason}; the run continues", file=sys.stderr)


def scalars(line: Mapping, models: Sequence[str]) -> dict[str, float]:
    """The numbers of a line of the log, by name.

    Args:
      line: of `metrics.jsonl`.
      models: a name each, of the folds or GANs.

    Returns:
      "loss/fold1", "loss/fold2", ... and "loss/mean", of the models that have a number; what is
      the same for all by its name alone.
    """
    found = {}
    for name, value in line.items():
        if isinstance(value, list) and len(value) == len(models):
            each = {m: float(v) for m, v in zip(models, value, strict=True) if _is_number(v)}
            found |= {f"{name}/{model}": number for model, number in each.items()}
            if each:
                found[f"{name}/mean"] = sum(each.values()) / len(each)
        elif _is_number(value) and name != "step":
            found[name] = float(value)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def draw_confusion(counts: np.ndarray, labels: Sequence[str]):
    """Draws a confusion matrix: (K, K) clips, rows true, columns predicted, shaded by the row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 + 0.4 * len(labels), 2 + 0.4 * len(labels)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), "Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="true")
    for (row, column), n in np.ndenumerate(counts):
        if n:
            dark = n > counts[row].sum() / 2
            axes.text(column, row, n, ha="center", va="center", color="w" if dark else "k")
    return figure


def as_picture(figure) -> np.ndarray:
    """Renders a figure: (height, width, 3) bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


class Table:
    """`metrics.csv`: a row per epoch."""

    def __init__(self, folder: pathlib.Path):
        self._path, self._rows = folder / "metrics.csv", []

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        self._rows.append({"step": step} | dict(scalars))
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, columns)
        table.writeheader()
        table.writerows(self._rows)
        write_whole(self._path, text.getvalue())

    def draw(self, name: str, picture: np.ndarray, step: int) -> None:
        pass

    def close(self) -> None:
        pass


class TensorBoard:
    """`tensorboard/`, for `tensorboard --logdir=FOLDER`."""

    def __init__(self, folder: pathlib.Path, config: Mapping[str, object]):
        import tensorboardX

        place = folder / "tensorboard"
        shutil.rmtree(place, ignore_errors=True)
        self._writer = tensorboardX.SummaryWriter(str(place))
        fields = "\n".join(f"    {field} = {value!r}" for field, value in config.items())
        self._writer.add_text("config", fields)

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def draw(self, name: str, picture: np.ndarray, step: int) -> None:
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run of Weights & Biases, by its own settings (`WANDB_MODE=offline`, `WANDB_PROJECT`)."""

    def __init__(self, folder: pathlib.Path, config: Mapping[str, object]):
        import wandb

        place = folder / "wandb_id"
        if not place.exists():
            place.write_text(f"{uuid.uuid4().hex[:8]}\n")
        self._run = wandb.init(
            id=place.read_text().strip(),
            resume="allow",
            dir=str(folder),
            name=folder.name,
            config=json.loads(json.dumps(dict(config))),
        )
        self._done = self._run.step  # what a resumed run has there already

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        if step >= self._done:
            self._run.log(dict(scalars), step=step)

    def draw(self, name: str, picture: np.ndarray, step: int) -> None:
        import wandb

        if step >= self._done:
            self._run.log({name: wandb.Image(picture)}, step=step)

    def close(self) -> None:
        self._run.finish()
