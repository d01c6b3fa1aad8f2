"""Scores of predictions, and how far they can be trusted. No JAX."""

import dataclasses

import numpy as np

from asc_jax.stats.jackknife import Jackknife, jackknife

_NORMAL = 1.959964  # 97.5 % of the normal distribution


@dataclasses.dataclass(frozen=True)
class Score:
    """A fraction with its interval, which holds the true one at least 95 times of 100."""

    value: float
    low: float
    high: float


def confusion_matrix(targets: np.ndarray, predictions: np.ndarray, n_classes: int) -> np.ndarray:
    """(K, K) int64 counts: rows true, columns predicted."""
    flat = np.bincount(targets * n_classes + predictions, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def class_wise_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Averages the recalls of the classes: (..., K, K) counts -> (...). Source: DCASE 2018 Task 1.

    It chooses epochs during training; reports use `scores_by_location`.
    """
    right, total = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1)
    recalls = np.divide(right, total, out=np.full(total.shape, np.nan), where=total > 0)
    return np.nanmean(recalls, axis=-1)


def scores_by_location(
    targets: np.ndarray, predictions: np.ndarray, locations: np.ndarray, n_classes: int
) -> tuple[Score, Score, list[Score]]:
    """Accuracy, class-wise accuracy and recalls, with intervals from a jackknife over locations.

    Clips of one location succeed and fail together; intervals from clips would be too narrow.
    The intervals are Wilson's, for as many independent clips as would vary as the locations
    do, and with Student's t. Where few locations hold an error that number is drawn towards
    the number of locations (`_with_worst_case`, which is this project's own): intervals are then
    wider than the sources', and cover the truth up to 100 times of 100 instead of 95. A bootstrap
    over locations was left for it: it covers too seldom where a scene has few locations
    (docs/scores.md has both).

    Args:
      targets: (n,) class indices.
      predictions: (n,) class indices, or (S, n) of several seeds, whose scores are averaged.
        The intervals are then of these models' mean; what other seeds would do is not in them.
      locations: (n,) any names.
      n_classes: number of classes K.

    Returns:
      accuracy, class-wise accuracy, and K recalls. A class without clips has NaN.

    Source: Korn and Graubard, "Confidence intervals for proportions with small expected
    number of positive counts estimated from survey data", 1998, for the number of clips;
    Dean and Pagano, "Evaluating confidence interval methods for binomial proportions in
    clustered surveys", 2015, for Wilson's form of it.
    """
    right = (targets == np.atleast_2d(predictions)).mean(axis=0)
    left_out = jackknife(targets, right, locations, n_classes)
    # Locations that hold an error, or a right answer, whichever are fewer.
    informative = min(len(np.unique(locations[right < 1])), len(np.unique(locations[right > 0])))
    return (
        _score(left_out, left_out.weights("accuracy"), informative),
        _score(left_out, left_out.weights("class_wise_accuracy"), informative),
        [_recall(left_out, k, informative) for k in range(n_classes)],
    )


def _score(left_out: Jackknife, weights: np.ndarray, informative: int) -> Score:
    """A weighted mean of the recalls; see `_with_worst_case`."""
    value = float(left_out.total(weights))
    variance = float(left_out.variance(weights))
    df = float(left_out.df(weights))
    n_locations = left_out.locations
    if not (variance > 0 and df > 0):
        # Nothing varied, or nothing could: no more is known than one answer per location.
        return _interval(value, n_locations)
    weight = _with_worst_case(variance / (value * (1 - value)), 1 / n_locations, informative)
    found = _interval(value, 1 / weight, df)
    return _narrower(found, _interval(value, min(1 / weight, n_locations), n_locations - 1))


def _recall(left_out: Jackknife, k: int, informative: int) -> Score:
    """One class's recall; see `_with_worst_case`. The classes share a design effect."""
    n_clips = left_out.n_clips
    if not n_clips[k]:
        return Score(float("nan"), float("nan"), float("nan"))
    effect = _with_worst_case(
        float(left_out.design_effect), n_clips.sum() / left_out.locations, informative
    )
    df = float(left_out.df(np.sqrt(n_clips)))  # of what the design effect is made of
    value, n_trials = float(left_out.means[k]), n_clips[k] / max(1.0, effect)
    found = _interval(value, n_trials, df)
    n_fewest = min(n_trials, left_out.n_locations[k])
    return _narrower(found, _interval(value, n_fewest, left_out.locations - 1))


def _with_worst_case(found: float, most: float, informative: int) -> float:
    """What was found of how locations vary, and what is feared, as one location of its own.

    Errors at one or two places say little of how errors cluster; without any, `most` is all
    there is, one answer per location.

    Args:
      found: an inverse number of clips, or a design effect.
      most: the same if clips of a location were one clip.
      informative: locations that hold an error, or a right answer, whichever are fewer.
    """
    return (informative * found + most) / (informative + 1)


def _narrower(found: Score, feared: Score) -> Score:
    """What was found, but not wider than one answer per location would be.

    Where one class has nearly all the errors there are next to no degrees of freedom, and
    Student's quantile has no bound, but how far the clips of a location can agree has one.
    """
    return Score(found.value, max(found.low, feared.low), min(found.high, feared.high))


def _interval(value: float, n_clips: float, df: float = 0) -> Score:
    """Wilson's interval with Student's quantile, or the normal one without `df`."""
    from scipy.special import stdtrit

    quantile = float(stdtrit(df, 0.975)) if df else _NORMAL
    low, high = wilson_interval(value, n_clips, quantile)
    return Score(value, min(low, value), max(high, value))


def wilson_interval(
    share: float, n_trials: float, quantile: float = _NORMAL
) -> tuple[float, float]:
    """Wilson's score interval of a binomial share: of 95 % unless `quantile` says otherwise."""
    scale = 1 + quantile**2 / n_trials
    centre = (share + quantile**2 / (2 * n_trials)) / scale
    root = np.sqrt(share * (1 - share) / n_trials + quantile**2 / (4 * n_trials**2))
    half = quantile / scale * root
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
