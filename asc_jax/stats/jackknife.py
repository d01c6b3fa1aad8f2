"""How much the mean of each class varies with the locations that it was recorded at. No JAX.

Clips of one location succeed and fail together, so a location, not a clip, is the unit that
is left out. Scenes are strata: a data set fixes how many locations each has.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Jackknife:
    """The classes' means, and how they move when a location is left out.

    Attributes:
      means: (..., K) of the values; NaN for a class without clips.
      deviations: (..., L, K) such that the sum over L of their squares is the variance of a
        mean, and of their products a covariance; 0 for a class with one location.
      spread: (..., K) variance of the values of single clips, 0 without clips.
      n_clips: (K,) per class.
      n_locations: (K,) per class.
      locations: number of locations L; one may hold clips of several classes.
    """

    means: np.ndarray
    deviations: np.ndarray
    spread: np.ndarray
    n_clips: np.ndarray
    n_locations: np.ndarray
    locations: int

    @property
    def design_effect(self) -> np.ndarray:
        """(...): how many clips weigh as much as one independent clip, over all classes.

        One class's few locations say little of it, so the classes share one. Where nothing
        varies, or no class has two locations, clips of a location count as one clip.
        """
        seen = self.n_locations > 1
        within = np.square(self.deviations).sum(axis=-2)
        varied = (self.n_clips * within)[..., seen].sum(axis=-1)
        alone = self.spread[..., seen].sum(axis=-1)
        dependent = np.full(alone.shape, self.n_clips.sum() / self.locations)
        return np.divide(varied, alone, out=dependent, where=(alone > 0) & (varied > 0))

    def variance(self, weights: np.ndarray) -> np.ndarray:
        """(...): variance of the weighted sum of the means.

        A class with one location borrows the design effect of the others.

        Args:
          weights: (K,) 0 for a class without clips.
        """
        between = np.square(self.deviations @ weights).sum(axis=-1)
        lone = self.n_locations == 1
        alone = self.spread[..., lone] / self.n_clips[lone]
        return between + self.design_effect * (alone @ np.square(weights[lone]))

    def df(self, weights: np.ndarray) -> np.ndarray:
        """(...): degrees of freedom of `variance(weights)`; 0 where no class has two locations.

        Classes that hold most of the variance count most. Satterthwaite's ratio of squares
        with d + 2 for d: the square of a variance with d degrees of freedom is on average
        1 + 2 / d times what it estimates, and with few locations the ratio would be far too
        small.

        Args:
          weights: (K,) as of `variance`.

        Source: Satterthwaite, "An approximate distribution of estimates of variance
        components", 1946.
        """
        own = np.maximum(self.n_locations - 1, 0)
        most = min(own.sum(), self.locations - 1)
        parts = np.square(self.deviations).sum(axis=-2) * np.square(weights)  # (..., K)
        squares = (np.square(parts) / (own + 2)).sum(axis=-1)
        total = np.square(parts.sum(axis=-1))
        ratio = np.divide(total, squares, out=np.full(total.shape, most + 2.0), where=squares > 0)
        return np.clip(ratio - 2, 1, most)

    def weights(self, measure: str) -> np.ndarray:
        """(K,): what each class's mean counts in a measure.

        Args:
          measure: "class_wise_accuracy", every class alike, or "accuracy", by its clips.
        """
        if measure == "accuracy":
            return self.n_clips / self.n_clips.sum()
        if measure == "class_wise_accuracy":
            return (self.n_clips > 0) / np.count_nonzero(self.n_clips)
        raise ValueError(f"no measure {measure!r}: accuracy or class_wise_accuracy")

    def total(self, weights: np.ndarray) -> np.ndarray:
        """(...): the weighted sum of the means."""
        return np.nan_to_num(self.means) @ weights


def jackknife(
    targets: np.ndarray, values: np.ndarray, locations: np.ndarray, n_classes: int
) -> Jackknife:
    """Computes jackknife means and variances by leaving out one location at a time.

    Args:
      targets: (n,) class indices.
      values: (..., n) one number per clip, such as 1 for right and 0 for wrong.
      locations: (n,) names of any type.
      n_classes: number of classes K.

    Returns:
      The `Jackknife` of the means of the classes.

    Source: Rust and Rao, "Variance estimation for complex surveys using replication
    techniques", 1996: the stratified jackknife.
    """
    names, place = np.unique(locations, return_inverse=True)

    def sums_of(numbers: np.ndarray) -> np.ndarray:
        """(..., n) -> (..., L, K)."""
        table = np.zeros((len(names), n_classes, *numbers.shape[:-1]))
        np.add.at(table, (place, targets), np.moveaxis(numbers, -1, 0))
        return np.moveaxis(table, (0, 1), (-2, -1))

    counts, sums = sums_of(np.ones(len(targets))), sums_of(values)
    squares = sums_of(np.square(values)).sum(axis=-2)
    n_clips, n_locations = counts.sum(axis=0), (counts > 0).sum(axis=0)
    means = _ratio(sums.sum(axis=-2), n_clips)
    without = _ratio(sums.sum(axis=-2, keepdims=True) - sums, n_clips - counts)
    moved = np.nan_to_num(without - means[..., None, :])
    shrink = np.sqrt(np.maximum(n_locations - 1, 0) / np.maximum(n_locations, 1))
    spread = np.nan_to_num(_ratio(squares, n_clips) - np.square(means))
    return Jackknife(means, shrink * moved, np.maximum(spread, 0), n_clips, n_locations, len(names))


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """NaN for nothing of nothing."""
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
