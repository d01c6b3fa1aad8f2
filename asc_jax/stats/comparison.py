"""Whether one system is better than another on the same clips. No JAX."""

import dataclasses

import numpy as np

from asc_jax.stats.jackknife import Jackknife, jackknife
from asc_jax.stats.significance import McNemar, mcnemar, sign_flip


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How much better a system is than the reference, on the same clips.

    Attributes:
      measure: "class_wise_accuracy" or "accuracy".
      difference: of the measure, averaged over seeds; positive where the system is better.
      low: end of its 95 % interval.
      high: the other end.
      p: two-sided, of no difference; below 0.05 where the interval leaves 0 out.
      about_recipes: whether interval and p say what other seeds would give, trained on the same
        clips; else they are about these trained models.
      p_flip: two-sided, of `sign_flip`: a location's gain could as well be its loss. None
        with several seeds: it would take what two seeds do alike at all locations for what
        the recipe does.
      mcnemar: None with several seeds, when a clip has no one answer.
      n_clips: clips.
      n_locations: locations.
      n_seeds: runs of the reference, and of the other.
      standard_error: of the difference.
      df: degrees of freedom of the standard error.
    """

    measure: str
    difference: float
    low: float
    high: float
    p: float
    about_recipes: bool
    p_flip: float | None
    mcnemar: McNemar | None
    n_clips: int
    n_locations: int
    n_seeds: tuple[int, int]
    standard_error: float
    df: float

    def detectable(self, power: float = 0.8, alpha: float = 0.05) -> float:
        """The smallest true difference that such a comparison would find.

        That is, with these clips, locations and seeds, and answers that differ between
        the systems as much as here: (t(1 - alpha / 2) + t(power)) standard errors.

        Args:
          power: how often it would be found.
          alpha: level of the two-sided test.

        Source: Bloom, "Minimum detectable effects", 1995.
        """
        from scipy.special import stdtrit

        found = stdtrit(self.df, 1 - alpha / 2) + stdtrit(self.df, power)
        return float(found * self.standard_error)


def compare(
    targets: np.ndarray,
    reference: np.ndarray,
    other: np.ndarray,
    locations: np.ndarray,
    n_classes: int,
    *,
    measure: str = "class_wise_accuracy",
    runs: str = "independent",
    seed: int = 0,
) -> Comparison:
    """Compares two systems on the same clips, with locations and seeds as random effects.

    The variance is that of a jackknife over locations, of the gains averaged over seeds, plus the
    variance of the seeds' scores, minus the part that both contain (seeds that do well at different
    locations). Seeds of independent systems share one variance, so one of them may have a single
    seed. With a single seed on both sides the result is only about these two models.

    Args:
      targets: (n,) class indices.
      reference: (n,) predicted class indices, or (S, n) for several seeds.
      other: (n,), or (S', n); the same clips in the same order (`alignment.align`).
      locations: (n,) any names.
      n_classes: number of classes K.
      measure: "class_wise_accuracy" or "accuracy".
      runs: what is random. "independent": all runs were trained separately. "paired": run s of
        both systems has the same trained models and differs only in how they are combined.
        "fixed": nothing, and the result is only about these trained models.
      seed: seed of the signs that the permutation test draws.

    Returns:
      The `Comparison`.
    """
    before, after = (np.atleast_2d(answers) == targets for answers in (reference, other))
    gain = after.mean(axis=0) - before.mean(axis=0)
    gains = jackknife(targets, gain, locations, n_classes)
    weights = gains.weights(measure)
    # What varies with the seed: the scores of both systems, or their difference.
    sides = {
        "independent": lambda: (before.astype(float), after.astype(float)),
        "paired": lambda: (after.astype(float) - before,),
        "fixed": lambda: (),
    }[runs]()
    sides = [jackknife(targets, side, locations, n_classes) for side in sides]
    # No clip answered differently is luck too: at least as uncertain as one clip each way.
    by_location = max(float(gains.variance(weights)), 2 / (len(targets) + 2) ** 2)
    by_seed, seed_term = _variance_of_seeds(sides, weights)
    variance = by_location + by_seed
    of_locations = max(float(gains.df(weights)), 1)
    df = variance**2 / (by_location**2 / of_locations + seed_term)
    if of_seeds := _df_of_seeds(sides):
        # What was taken from the value above can leave less than either part has.
        df = max(df, min(of_locations, of_seeds))
    low, high, p = _student(float(gains.total(weights)), variance**0.5, df)
    single = len(before) == len(after) == 1
    weight_of_clip = (weights / np.maximum(gains.n_clips, 1))[targets]
    _, place = np.unique(locations, return_inverse=True)
    parts = np.bincount(place, gain * weight_of_clip)  # of the difference, by location
    return Comparison(
        measure=measure,
        difference=float(gains.total(weights)),
        low=low,
        high=high,
        p=p,
        about_recipes=_df_of_seeds(sides) > 0,
        p_flip=sign_flip(parts, seed=seed) if single else None,
        mcnemar=mcnemar(before[0], after[0]) if single else None,
        n_clips=len(targets),
        n_locations=gains.locations,
        n_seeds=(len(before), len(after)),
        standard_error=variance**0.5,
        df=float(df),
    )


def _df_of_seeds(sides: list[Jackknife]) -> int:
    return sum(len(side.means) - 1 for side in sides)


def _variance_of_seeds(sides: list[Jackknife], weights: np.ndarray) -> tuple[float, float]:
    """What seeds add to the variance of the difference, and to the denominator of its df.

    Seeds that do well at different locations let the locations vary as well, and are in
    their variance already. They are taken from the value, not from the df. How often equal
    recipes are then told apart, with two and three seeds: `python -m benchmarks intervals`.

    Source: Owen, "The pigeonhole bootstrap", 2007, for two crossed factors; Satterthwaite,
    1946, for the df.
    """
    df = _df_of_seeds(sides)
    if not df:
        return 0.0, 0.0

    def pooled(values: list[np.ndarray]) -> float:
        """The seeds' variance in a (S,) or (S, L) array per side, summed over L."""
        return sum(np.square(v - v.mean(axis=0)).sum() for v in values) / df

    scores = pooled([side.total(weights) for side in sides])
    at_locations = pooled([side.deviations @ weights for side in sides])
    share = sum(1 / len(side.means) for side in sides)
    return max(0.0, scores - at_locations) * share, (scores * share) ** 2 / df


def _student(difference: float, error: float, df: float) -> tuple[float, float, float]:
    """The 95 % interval and the two-sided p of a difference with its standard error."""
    from scipy.special import stdtr, stdtrit

    half = float(stdtrit(df, 0.975)) * error
    p = 2 * float(stdtr(df, -abs(difference) / error))
    return difference - half, difference + half, p
