"""Scores of predictions, and how far they can be trusted. No JAX."""

import dataclasses

import numpy as np

_RESAMPLES = 2000
_FEW = 10  # locations


@dataclasses.dataclass(frozen=True)
class Score:
    """A fraction with its 95 % interval."""

    value: float
    low: float
    high: float


def confusion_matrix(targets: np.ndarray, predictions: np.ndarray, n_classes: int) -> np.ndarray:
    """(K, K) int64 counts: rows true, columns predicted."""
    flat = np.bincount(targets * n_classes + predictions, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def recalls(confusion: np.ndarray) -> np.ndarray:
    """(..., K, K) counts -> (..., K): the share of each class that is right; NaN without clips."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1)
    return np.divide(right, total, out=np.full(total.shape, np.nan), where=total > 0)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """(..., K, K) counts -> (...): the share of all clips that is right."""
    total = confusion.sum(axis=(-2, -1))
    return np.trace(confusion, axis1=-2, axis2=-1) / np.maximum(total, 1)


def class_wise_accuracy(confusion: np.ndarray) -> np.ndarray:
    """(..., K, K) counts -> (...): the mean of the classes' recalls. Source: DCASE 2018 Task 1."""
    return np.nanmean(recalls(confusion), axis=-1)


def scores_by_location(
    targets: np.ndarray,
    predictions: np.ndarray,
    locations: np.ndarray,
    n_classes: int,
    *,
    seed: int = 0,
) -> tuple[Score, Score, list[Score]]:
    """Accuracy, class-wise accuracy and recalls, with intervals from a bootstrap over locations.

    Clips of one location succeed and fail together; resampling clips would make the
    intervals too narrow. Locations are drawn from the whole list: within a class there may
    be only one, which would never vary.

    Args:
      targets: (n,) class indices.
      predictions: (n,) class indices.
      locations: (n,) any hashable names.
      n_classes: number of classes K.
      seed: of the resampling.

    Returns:
      accuracy, class-wise accuracy, and K recalls. A class without clips has NaN.
    """
    names, place = np.unique(locations, return_inverse=True)
    counts = np.zeros((len(names), n_classes, n_classes))
    np.add.at(counts, (place, targets, predictions), 1)  # a confusion matrix per location
    share = np.full(len(names), 1 / len(names))
    drawn = np.random.default_rng(seed).multinomial(len(names), share, _RESAMPLES)
    resampled = np.tensordot(drawn, counts, axes=1)  # (resamples, K, K)
    confusion = counts.sum(axis=0)
    per_class = [
        _score(value, draws, n)
        for value, draws, n in zip(
            recalls(confusion),
            recalls(resampled).T,
            (counts.sum(axis=2) > 0).sum(axis=0).tolist(),
            strict=True,
        )
    ]
    return (
        _score(accuracy(confusion), accuracy(resampled), len(names)),
        _score(class_wise_accuracy(confusion), class_wise_accuracy(resampled), len(names)),
        per_class,
    )


def _score(value: float, draws: np.ndarray, n_locations: int) -> Score:
    """The expanded percentile interval of the draws.

    Plain percentiles are too near each other for a few locations: n draws vary by
    sqrt((n - 1) / n) too little, and Student's t has longer tails than the normal
    distribution. With fewer than `_FEW` locations the draws cannot spread enough at all;
    there the interval is at least Wilson's for so many trials.

    Args:
      value: the observed share.
      draws: its bootstrap distribution.
      n_locations: locations that it rests on.

    Source: Hesterberg, "What teachers should know about the bootstrap", 2015, §4.3.
    """
    from scipy.special import ndtr, stdtrit

    if not np.isfinite(value):
        return Score(float("nan"), float("nan"), float("nan"))
    low = high = value
    if n_locations > 1:
        freedom = n_locations - 1
        tail = 100 * ndtr(-np.sqrt(n_locations / freedom) * stdtrit(freedom, 0.975))
        low, high = np.nanpercentile(draws, [tail, 100 - tail])
    if n_locations < _FEW or np.isclose(low, high):
        least = wilson_interval(value, n_locations)
        low, high = min(low, least[0]), max(high, least[1])
    return Score(float(value), float(min(low, value)), float(max(high, value)))


def wilson_interval(share: float, n_trials: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a binomial share."""
    z = 1.959964
    centre = (share + z**2 / (2 * n_trials)) / (1 + z**2 / n_trials)
    half = (
        z
        / (1 + z**2 / n_trials)
        * np.sqrt(share * (1 - share) / n_trials + z**2 / (4 * n_trials**2))
    )
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
