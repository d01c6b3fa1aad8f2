"""The statistics of averaged networks, made anew before such a network is saved or scored."""

import contextlib
import itertools

import jax
import numpy as np

from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_STEP, SHARED
from asc_jax.train.setup import Setup, epoch_indices
from asc_jax.train.state import ClassifierState

MOST_BATCHES = 32  # or those of an epoch, if it has fewer


def make_statistics(setup: Setup, state: ClassifierState, *, epoch: int) -> ClassifierState:
    """Makes the averaged networks' statistics anew, of the first batches of an epoch.

    They depend on the averaged parameters, the epoch and the seed alone, so that a run which was
    stopped has the same.

    Args:
      setup: of the run.
      state: of all folds; consumed.
      epoch: from 0.

    Returns:
      The state; the same where there is no average, or nothing in it but parameters.
    """
    if state.average is None or not state.untrained:
        return state
    indices = epoch_indices(setup, [epoch])[:, :MOST_BATCHES]
    n, size = indices.shape[1], setup.steps_per_call
    bounds = list(itertools.pairwise([*range(0, n, size), n]))
    with contextlib.closing(setup.feed.calls(indices[:, i:j] for i, j in bounds)) as calls:
        for (pool, clips), (i, j) in zip(calls, bounds, strict=True):
            numbers = put(np.arange(i, j, dtype=np.int32), setup.mesh, SHARED)
            clips = put(clips, setup.mesh, PER_STEP)
            state = setup.steps.statistics(state, pool, clips, numbers)
            jax.block_until_ready(state)  # so that no more pools wait for the device
    return state
