"""Losses of the classifier."""

import jax
import jax.numpy as jnp
import optax


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

    Source: report §4.2.
    """
    smoothed = optax.smooth_labels(targets, label_smoothing)
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), smoothed)
