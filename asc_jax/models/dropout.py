"""Dropout whose masks do not depend on the mesh."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from asc_jax.models.example_keys import example_keys

# The masks' random stream, by flax's name for it.
DROPOUT_STREAM = "dropout"


class Dropout(nn.Module):
    """Sets values to 0 at random and raises the others, with a mask per example.

    `flax.linen.Dropout` draws one mask for the maps of a shard: another number of shards
    would give another mask.

    Attributes:
      rate: probability of a 0.
      axis_name: mesh axis that the batch is sharded over, or None.

    Source: Srivastava et al., Journal of Machine Learning Research 15, 2014.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(B, ...) -> (B, ...); draws from the random stream "dropout" in training."""
        if not train or self.rate == 0:
            return x
        axis_name = None if self.is_initializing() else self.axis_name
        keys = example_keys(self.make_rng(DROPOUT_STREAM), len(x), axis_name)
        draw = lambda key: jax.random.bernoulli(key, 1 - self.rate, x.shape[1:])
        return jnp.where(jax.vmap(draw)(keys), x / (1 - self.rate), 0)
