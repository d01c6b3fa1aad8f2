"""A run's logits, and what they score while it trains."""

import contextlib
from collections.abc import Sequence

import jax
import numpy as np

from asc_jax.data import batches
from asc_jax.data.folds import Split
from asc_jax.parallel.arrays import fetch, put
from asc_jax.parallel.mapping import PER_EXAMPLE
from asc_jax.stats.scores import class_wise_accuracy, confusion_matrix
from asc_jax.train.feed import Feed
from asc_jax.train.setup import Setup
from asc_jax.train.state import ClassifierState


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
      One (n_f, K) float32 array per fold; of crops the logarithms of the mean probabilities of a
      clip's windows, without those that have no sound where others have.
    """
    feed, crops = feed or setup.feed, setup.model.crops
    if crops is None:
        return _ask(setup, state, feed, lists)
    rows = [[crops.in_a_row(length) for length in feed.lengths[clips]] for clips in lists]
    starts = [np.concatenate([*own, np.zeros(0, int)]) for own in rows]
    places = [np.repeat(np.arange(len(own)), list(map(len, own))) for own in rows]
    clips = [own[place] for own, place in zip(lists, places, strict=True)]
    answers = _ask(setup, state, feed, clips, starts)
    each = zip(answers, places, lists, strict=True)
    return [_over_windows(*answer, place, len(own)) for answer, place, own in each]


def _ask(
    setup: Setup,
    state: ClassifierState,
    feed: Feed,
    lists: list[np.ndarray],
    starts: list[np.ndarray] | None = None,
) -> list:
    """What `Steps.evaluate` gives of each fold's list: clips, or their windows by their starts."""
    size = setup.config.train.batch_size
    indices = np.moveaxis(batches.padded_indices(lists, size), 1, 0)  # (S, F, B)
    at = indices if starts is None else np.moveaxis(batches.padded_indices(starts, size), 1, 0)
    answers = []
    with contextlib.closing(feed.calls(indices)) as calls:
        for (clips_pool, clips), places in zip(calls, at, strict=True):
            if answers:  # one call ahead of the device, so that no more pools wait for it
                jax.block_until_ready(answers[-1])
            given = clips if starts is None else np.stack([clips, places], axis=-1)
            given = put(given.astype(np.int32), setup.mesh, PER_EXAMPLE)
            answers.append(setup.steps.evaluate(state, clips_pool, given))
    joined = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *fetch(answers))
    of_fold = lambda i: jax.tree.map(lambda leaf: leaf[i, : len(lists[i])], joined)
    return list(map(of_fold, range(len(lists))))


def _over_windows(
    logits: np.ndarray, loud: np.ndarray, place: np.ndarray, n_clips: int
) -> np.ndarray:
    """The logarithms of clips' mean probabilities over their windows.

    Args:
      logits: (w, K).
      loud: (w,) bool, those that count, unless a clip has none.
      place: (w,) whose they are.
      n_clips: how many clips.

    Returns:
      (n_clips, K) float32.
    """
    from scipy.special import softmax

    heard = np.bincount(place[loud], minlength=n_clips) > 0
    counts = loud | ~heard[place]
    sums = np.zeros((n_clips, logits.shape[-1]))
    np.add.at(sums, place[counts], softmax(logits[counts].astype(float), axis=-1))
    n_windows = np.bincount(place[counts], minlength=n_clips)[:, None]
    smallest = np.finfo(np.float32).tiny  # a probability of 0 has no logarithm
    return np.log(np.maximum(sums / n_windows, smallest)).astype(np.float32)


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


def validation_lists(splits: Sequence[Split]) -> tuple[str, list[np.ndarray]]:
    """Finds the clips that validate each fold: its inner ones, else those that it holds out.

    Returns:
      "inner" or "held_out", the same for all folds, and the indices of each fold's clips.
    """
    name = "inner" if any(len(split.inner) for split in splits) else "held_out"
    return name, [getattr(split, name) for split in splits]
