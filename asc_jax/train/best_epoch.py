"""The variables of a fold's best epoch."""

import flax.struct
import jax
import jax.numpy as jnp

from asc_jax.train.state import ClassifierState


@flax.struct.dataclass
class BestEpoch:
    """The variables of a fold's best epoch by the score of its inner clips."""

    params: dict
    batch_stats: dict
    score: jax.Array  # () float32, class-wise accuracy; -1 before the first
    epoch: jax.Array  # () int32, from 1
    collections: dict = flax.struct.field(default_factory=dict)


def keep_best(best: BestEpoch, state: ClassifierState, score, epoch) -> BestEpoch:
    """`best`, or this epoch's variables if its score is higher (the earlier one wins a tie)."""
    now = BestEpoch(state.params, state.batch_stats, score, epoch, state.collections)
    return jax.tree.map(lambda new, old: jnp.where(score > best.score, new, old), now, best)
