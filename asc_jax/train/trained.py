"""A trained run, opened without the data that it was trained on."""

import dataclasses
import pathlib

import jax

from asc_jax.data.splits import read_splits
from asc_jax.parallel.agreement import read_by_first
from asc_jax.runs.checkpoint import Progress
from asc_jax.runs.folder import read_trained_config
from asc_jax.train.model import make_model
from asc_jax.train.recipe import Model
from asc_jax.train.restore import restore_chosen
from asc_jax.train.state import ClassifierState, state_shapes


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run with at least one finished epoch.

    Attributes:
      folder: the run's.
      config: the run's.
      record: `splits.json`.
      labels: the classes, in the order of the logits.
      folds: the numbers of the folds, in the order of the state's leading axis.
      model: the functions of the run.
      state: of all folds at their chosen epochs, on the host.
      progress: where training stands.
    """

    folder: pathlib.Path
    config: object
    record: dict
    labels: tuple[str, ...]
    folds: tuple[int, ...]
    model: Model
    state: ClassifierState
    progress: Progress


def open_trained(folder: pathlib.Path, field: str) -> Trained:
    """Opens a run.

    Args:
      folder: the run's.
      field: the config's field, or the flag, that names it.

    Raises:
      InputError: it is no trained run, or its files are not whole.
    """
    config = read_trained_config(folder, field)
    record = read_by_first(lambda: read_splits(folder / "splits.json"))
    labels = tuple(sorted({label for label, _ in record["clips"].values()}))
    folds = tuple(map(int, record["folds"]))
    model = make_model(config, len(labels), n_steps=1)
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((len(folds), *leaf.shape), leaf.dtype),
        state_shapes(model),
    )
    state, progress, _ = restore_chosen(folder, config, like)
    return Trained(folder, config, record, labels, folds, model, state, progress)
