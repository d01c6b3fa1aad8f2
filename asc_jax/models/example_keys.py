"""Random numbers by an example's place in the whole batch, however the batch is sharded."""

import jax
import jax.numpy as jnp


def places(n: int, axis_name: str | None) -> jax.Array:
    """The places of a shard's examples in the whole batch.

    Args:
      n: examples of the shard b.
      axis_name: mesh axis that the batch is sharded over, or None.

    Returns:
      (b,) int32.
    """
    return (jax.lax.axis_index(axis_name) * n if axis_name else 0) + jnp.arange(n)


def example_keys(key: jax.Array, n: int, axis_name: str | None) -> jax.Array:
    """(b,) keys: whatever is drawn from them is the same on every mesh. As `places`."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, places(n, axis_name))
