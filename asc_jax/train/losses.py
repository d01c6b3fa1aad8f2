"""Losses of the classifier."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from asc_jax.runtime import functions


def cross_entropy(
    logits: jax.Array, targets: jax.Array, *, label_smoothing: jax.typing.ArrayLike = 0.0
) -> jax.Array:
    """Categorical cross-entropy per example.

    Args:
      logits: (B, K).
      targets: (B, K) class probabilities.
      label_smoothing: (), share of each target that is spread evenly over the classes.

    Returns:
      (B,) nats.

    Source: paper §4.2.
    """
    smoothed = optax.smooth_labels(targets, label_smoothing)
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), smoothed)


def balanced_weights(counts: np.ndarray) -> np.ndarray:
    """Weighs classes as if each had as many examples; the mean over the examples is 1.

    Args:
      counts: (K,) examples of each class, above 0.

    Returns:
      (K,) float32.
    """
    return (counts.mean() / counts).astype(np.float32)


LOSSES = {"cross_entropy": cross_entropy}


def make_loss(name: str) -> Callable:
    """The loss that a config names.

    Args:
      name: a key of `LOSSES`, or a reference to a function of the user's own
        (logits (B, K), targets (B, K)) -> (B,); the targets that it is given are smoothed.

    Returns:
      A function like `cross_entropy`.
    """
    if not functions.is_own(name):
        return LOSSES[name]
    own = functions.load(name, field="train.loss")
    return lambda logits, targets, *, label_smoothing: own(
        logits.astype(jnp.float32), optax.smooth_labels(targets, label_smoothing)
    )
