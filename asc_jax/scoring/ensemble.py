"""From the folds' logits to one answer per clip."""

import jax
import jax.numpy as jnp


def mean_logits(logits: jax.Array) -> jax.Array:
    """Averages the logits of the folds.

    Args:
      logits: (F, B, K).

    Returns:
      (B, K).

    Source: paper §2.5 ("four models are linearly combined").
    """
    return jnp.mean(logits, axis=0)


def mean_probabilities(logits: jax.Array) -> jax.Array:
    """Averages the probabilities of the folds; returns their logarithm, which serves as logits.

    Args:
      logits: (F, B, K).

    Returns:
      (B, K).
    """
    log_probabilities = jax.nn.log_softmax(logits, axis=-1)
    return jax.nn.logsumexp(log_probabilities, axis=0) - jnp.log(logits.shape[0])


RULES = {"mean_logits": mean_logits, "mean_probabilities": mean_probabilities}


def decide(logits: jax.Array, decision: str = "argmax") -> jax.Array:
    """One class per clip.

    Args:
      logits: (B, K), finite: the largest of a row with NaN would be the NaN.
      decision: "argmax", or "threshold": the class whose probability is above 0.5, and
        class 0 where there is none, as the DCASE 2018 baseline decides.

    Returns:
      (B,) int32 class indices.
    """
    best = jnp.argmax(logits, axis=-1)
    if decision == "threshold":
        best = jnp.where(jnp.max(jax.nn.softmax(logits, axis=-1), axis=-1) > 0.5, best, 0)
    return best
