"""A run's logits, and what they score while it trains."""

import contextlib

import jax
import numpy as np

from asc_jax.data import batches
from asc_jax.parallel.arrays import fetch, put
from asc_jax.parallel.mapping import PER_EXAMPLE
from asc_jax.stats.scores import class_wise_accuracy, confusion_matrix
from asc_jax.train.classifier import ClassifierState
from asc_jax.train.feed import Feed
from asc_jax.train.setup import Setup


def predict(
    setup: Setup, state: ClassifierState, lists: list[np.ndarray], feed: Feed | None = None
) -> list[np.ndarray]:
    """Logits of every fold on its own list of clips.

    Args:
      setup: of the run.
      state: all folds'.
      lists: one (n_f,) list of clips per fold.
      feed: of the clips; the run's own by default.

    Returns:
      One (n_f, K) float32 array per fold.
    """
    indices = batches.padded_indices(lists, setup.config.train.batch_size)  # (F, S, B)
    logits = []
    with contextlib.closing((feed or setup.feed).calls(np.moveaxis(indices, 1, 0))) as calls:
        for clips_pool, clips in calls:
            if logits:  # one call ahead of the device, so that no more pools wait for it
                jax.block_until_ready(logits[-1])
            clips = put(clips, setup.mesh, PER_EXAMPLE)
            logits.append(setup.steps.evaluate(state, clips_pool, clips))
    logits = np.concatenate(fetch(logits), axis=1)  # (F, S * B, K)
    return [fold_logits[: len(clips)] for fold_logits, clips in zip(logits, lists, strict=True)]


def score_fold(logits: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """A fold's loss and class-wise accuracy, by which its best epoch is chosen.

    Args:
      logits: (n, K).
      targets: (n,) class indices.
    """
    log_probabilities = jax.device_get(jax.nn.log_softmax(jax.device_put(logits)))
    loss = -log_probabilities[np.arange(len(targets)), targets].mean()
    confusion = confusion_matrix(targets, logits.argmax(-1), logits.shape[-1])
    return float(loss), float(class_wise_accuracy(confusion))
