"""Stochastic depth, or drop-path: residual branches that are left out at random in training."""

import jax
import jax.numpy as jnp

from asc_jax.models.example_keys import example_keys


def branch_factors(
    key: jax.Array, rate: float, n_blocks: int, n_examples: int, axis_name: str | None
) -> jax.Array:
    """Draws what each block's residual branch is multiplied by, for each example.

    The probability of a 0 rises evenly with depth: of block l of L it is rate * l / L. Other
    branches are divided by the probability that they are kept, so evaluation needs no factor;
    the source multiplies in evaluation instead, and leaves a branch out for a whole batch.

    Args:
      key: of the step, the same on all shards.
      rate: of the last block, below 1.
      n_blocks: L.
      n_examples: of the shard, B.
      axis_name: mesh axis that the batch is sharded over, or None.

    Returns:
      (L, B) float32.

    Source: Huang et al., arXiv:1603.09382.
    """
    kept = 1 - rate * jnp.arange(1, n_blocks + 1) / n_blocks
    keys = example_keys(key, n_examples, axis_name)
    draws = jax.vmap(lambda key: jax.random.bernoulli(key, kept))(keys)  # (B, L)
    return jnp.where(draws, 1 / kept, 0).T
