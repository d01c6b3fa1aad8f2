"""A run's state: from its checkpoints, or before the first step."""

import pathlib

import jax
import numpy as np

from asc_jax.parallel.arrays import fetch, put, shapes_per_fold
from asc_jax.parallel.mapping import PER_FOLD
from asc_jax.runs.checkpoint import Checkpoints, Progress
from asc_jax.runtime.errors import InputError
from asc_jax.train.classifier import BestEpoch, ClassifierState
from asc_jax.train.setup import Setup

# Score and number of a fold's best epoch, before any.
_BEFORE_THE_FIRST = np.float32(-1), np.int32(0)


def restore(setup: Setup, checkpoints: Checkpoints) -> tuple[dict, Progress]:
    """The newest whole checkpoint, or the beginning.

    Returns:
      "state", and "best", each fold's best epoch (None unless the config chooses one); and the
      progress.
    """
    if found := checkpoints.restore(like(setup)):
        return found
    state, best = setup.init(), None
    if setup.choosing:
        score, epoch = (np.full(len(setup.splits), value) for value in _BEFORE_THE_FIRST)
        params, statistics, others = jax.tree.map(
            lambda leaf: leaf.copy(), (state.params, state.batch_stats, state.collections)
        )
        best = BestEpoch(params, statistics, *put((score, epoch), setup.mesh, PER_FOLD), others)
    return {"state": state, "best": best}, Progress()


def like(setup: Setup, *, on_host: bool = False) -> dict:
    """Shapes of what a checkpoint holds, and its places if it is not to stay on the host."""
    best = None
    if setup.choosing:
        best = BestEpoch(
            setup.like.params,
            setup.like.batch_stats,
            *shapes_per_fold(_BEFORE_THE_FIRST, len(setup.splits), setup.mesh),
            setup.like.collections,
        )
    tree = {"state": setup.like, "best": best}
    if on_host:
        tree = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    return tree


def restore_chosen(
    workdir: pathlib.Path, setup: Setup, *, on_host: bool = False
) -> tuple[ClassifierState, Progress, list[int]]:
    """The state to score: the newest that is saved, also within an epoch.

    A fold's chosen epoch, where the config chooses one, is a whole one all the same.

    Args:
      workdir: the run folder.
      setup: of the run.
      on_host: leave the state there; its devices are for others.

    Returns:
      The state with the variables of each fold's chosen epoch, where training
      stands, and the chosen epoch of each fold.

    Raises:
      InputError: no epoch that could be scored is finished.
    """
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        found, progress = checkpoints.restore(like(setup, on_host=on_host)) or ({}, Progress())
    done = progress.epochs
    if not done:
        raise InputError(
            "no epoch is finished; run asc-jax train with this --workdir", path=workdir
        )
    state, best = found["state"], found["best"]
    if not setup.choosing:
        return state, progress, [done] * len(setup.splits)
    epochs = fetch(best.epoch).tolist()
    if min(epochs) == 0:
        after = setup.config.train.select_after
        raise InputError(
            f"epoch {done} is not beyond train.select_after={after}; train on before evaluating",
            path=workdir,
        )
    chosen = {name: getattr(best, name) for name in ("params", "batch_stats", "collections")}
    return state.replace(**chosen), progress, epochs
