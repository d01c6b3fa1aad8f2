"""What a run's checkpoints hold, and the state of one that is to be scored."""

import pathlib

import jax
import numpy as np

from asc_jax.parallel.arrays import fetch
from asc_jax.runs.checkpoint import Checkpoints, Progress
from asc_jax.runtime.errors import InputError
from asc_jax.train.best_epoch import BestEpoch
from asc_jax.train.state import ClassifierState


def snapshot_like(state: ClassifierState, *, choosing: bool) -> dict:
    """Shapes of what a checkpoint holds.

    Args:
      state: shapes of all folds', with the places that they are restored to, if on devices.
      choosing: whether each fold's best epoch is kept as well.

    Returns:
      "state", and "best", each fold's best epoch or None.
    """
    best = None
    if choosing:
        like = state.step
        score, epoch = (
            jax.ShapeDtypeStruct(like.shape, dtype, sharding=like.sharding)
            for dtype in (np.float32, np.int32)
        )
        best = BestEpoch(state.params, state.batch_stats, score, epoch, state.collections)
    return {"state": state, "best": best}


def on_host(shapes):
    """The same shapes without places: what is restored like them stays on the host."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), shapes)


def restore_chosen(
    workdir: pathlib.Path, config, state: ClassifierState
) -> tuple[ClassifierState, Progress, list[int]]:
    """The state to score: the newest that is saved, also within an epoch.

    A fold's chosen epoch, where the config chooses one, is a whole one all the same.

    Args:
      workdir: the run folder.
      config: of the run.
      state: its shapes; see `snapshot_like`.

    Returns:
      The state with the variables of each fold's chosen epoch, of the averaged network where there
      is one; where training stands, and the chosen epoch of each fold.

    Raises:
      InputError: no epoch that could be scored is finished.
    """
    choosing = config.train.selection == "inner"
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        found = checkpoints.restore(snapshot_like(state, choosing=choosing))
    snapshot, progress = found or ({}, Progress())
    done = progress.epochs
    if not done:
        raise InputError("no epoch is finished; run asc-jax train first", path=workdir)
    restored, best = snapshot["state"].scored, snapshot["best"]
    if not choosing:
        return restored, progress, [done] * state.step.shape[0]
    epochs = fetch(best.epoch).tolist()
    if min(epochs) == 0:
        raise InputError(
            f"epoch {done} is not beyond train.select_after={config.train.select_after}; "
            "train longer before evaluating",
            path=workdir,
        )
    chosen = {name: getattr(best, name) for name in ("params", "batch_stats", "collections")}
    return restored.replace(**chosen), progress, epochs
