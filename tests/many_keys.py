"""Functions of an example's key, for many keys at once."""

import jax
import numpy as np


def over_keys(function, n: int) -> np.ndarray:
    """The results of a function of a key, for `n` keys."""
    return jax.tree.map(np.asarray, jax.jit(lambda: jax.vmap(function)(keys(n)))())


def keys(n: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), n)
