"""How often intervals cover the truth and tests alarm falsely, on simulated clips.

The rival of the intervals is the percentile bootstrap over locations, drawn within each
scene and widened by Student's t and for the few that are drawn (Hesterberg 2015, §4.3).
"""

import dataclasses

import numpy as np
from scipy.special import expit, ndtr, stdtrit

from asc_jax.stats.comparison import compare
from asc_jax.stats.scores import scores_by_location

RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Design:
    """A set to be scored; every location belongs to one scene."""

    name: str
    scenes: int
    locations: int  # per scene
    clips: tuple[int, int]  # per location, from and to
    one_varies: bool = False  # all scenes but the first are almost always right


DESIGNS = (
    Design("a few clips, 20 locations", 10, 2, (2, 4)),
    Design("12 locations", 4, 3, (6, 18)),
    Design("49 locations", 7, 7, (5, 15)),
    Design("as a DCASE 2018 test fold", 10, 8, (10, 50)),
    Design("as ESC-10", 10, 20, (1, 4)),
)
LOPSIDED = (
    Design("2 locations, one scene varies", 10, 2, (6, 6), one_varies=True),
    Design("3 locations, one scene varies", 10, 3, (6, 6), one_varies=True),
    Design("8 locations, one scene varies", 10, 8, (30, 30), one_varies=True),
)


def run(args) -> dict:
    """Simulates; see `benchmarks.__main__` for the arguments."""
    times = 20 if args.quick else 2000
    rows = []
    for design in DESIGNS + LOPSIDED:
        rows += scores(design, times)
    for design in DESIGNS + LOPSIDED:
        rows.append(comparisons(design, times, seeds=1, of_seeds=0.0))
    for seeds in (2, 3):
        for of_seeds in (0.0, 0.5):
            rows.append(comparisons(DESIGNS[-1], times, seeds=seeds, of_seeds=of_seeds))
    return {"rows": rows, "repetitions": times, "nominal": 0.95}


def place_clips(rng, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """(n,) scene and location of every clip."""
    places = design.scenes * design.locations
    clips = rng.integers(design.clips[0], design.clips[1] + 1, places)
    locations = np.repeat(np.arange(places), clips)
    return locations // design.locations, locations


def scores(design: Design, times: int) -> list[dict]:
    """Coverage for scenes of 55 to 95 %, where locations correlate by 0.25.

    Where one scene alone varies its recall is 50 %, and the others' 99 %.
    """
    rng = np.random.default_rng(0)
    recalls = np.linspace(0.55, 0.95, design.scenes)
    if design.one_varies:
        recalls = np.array([0.5] + [0.99] * (design.scenes - 1))
    covered = {"jackknife": [], "bootstrap": []}
    for _ in range(times):
        targets, locations = place_clips(rng, design)
        share = np.repeat(recalls, design.locations)
        right = rng.random(len(targets)) < rng.beta(3 * share, 3 * (1 - share))[locations]
        answers = np.where(right, targets, (targets + 1) % design.scenes)
        overall, class_wise, each = scores_by_location(targets, answers, locations, design.scenes)
        truth = recalls[targets].mean()
        resampled = bootstrap(rng, design, targets, right, locations)
        covered["jackknife"].append(
            [
                class_wise.low <= recalls.mean() <= class_wise.high,
                overall.low <= truth <= overall.high,
                np.mean([s.low <= r <= s.high for s, r in zip(each, recalls, strict=True)]),
                class_wise.high - class_wise.low,
            ]
        )
        covered["bootstrap"].append(
            [
                resampled[0] <= recalls.mean() <= resampled[1],
                np.nan,
                np.nan,
                resampled[1] - resampled[0],
            ]
        )
    names = ("class-wise covered", "accuracy covered", "recalls covered", "class-wise width")
    return [
        {"design": design.name, "way": way}
        | {
            name: float(mean)
            for name, mean in zip(names, np.mean(rows, axis=0), strict=True)
            if np.isfinite(mean)
        }
        for way, rows in covered.items()
    ]


def bootstrap(rng, design: Design, targets, values, locations) -> np.ndarray:
    """The expanded percentile interval of the mean of the scenes' means of `values`."""
    per_scene, places = design.locations, design.scenes * design.locations
    counts = np.bincount(locations, minlength=places).reshape(design.scenes, per_scene)
    sums = np.bincount(locations, values, places).reshape(design.scenes, per_scene)
    share = np.full(per_scene, 1 / per_scene)
    drawn = rng.multinomial(per_scene, share, (RESAMPLES, design.scenes))
    means = ((drawn * sums).sum(axis=2) / (drawn * counts).sum(axis=2)).mean(axis=1)
    quantile = stdtrit(places - design.scenes, 0.975)
    tail = 100 * ndtr(-np.sqrt(per_scene / (per_scene - 1)) * quantile)
    return np.percentile(means, [tail, 100 - tail])


def comparisons(design: Design, times: int, *, seeds: int, of_seeds: float) -> dict:
    """False alarms of two recipes that are equally good on average.

    Args:
      design: the clips.
      times: repetitions.
      seeds: runs of each recipe.
      of_seeds: standard deviation, in logits, by which runs of a recipe differ.
    """
    rng = np.random.default_rng(1)
    seen = []
    for _ in range(times):
        targets, locations = place_clips(rng, design)
        before, after = answers(rng, design, targets, locations, seeds, of_seeds)
        result = compare(targets, before, after, locations, design.scenes)
        gain = (after == targets).mean(axis=0) - (before == targets).mean(axis=0)
        resampled = bootstrap(rng, design, targets, gain, locations)
        tests = (result.p_flip, result.mcnemar.p) if seeds == 1 else (np.nan, np.nan)
        seen.append(
            [
                result.p < 0.05,
                not resampled[0] <= 0 <= resampled[1],
                *(np.nan if np.isnan(p) else p < 0.05 for p in tests),
                result.difference,
                result.standard_error**2,
                result.detectable(),
            ]
        )
    alarms, of_bootstrap, flip, mcnemar, _, variance, detectable = np.mean(seen, axis=0)
    row = {
        "design": design.name,
        "seeds": seeds,
        "seeds differ by": of_seeds,
        "alarms": alarms,
        "bootstrap alarms": of_bootstrap,
        "sign-flip alarms": flip,
        "McNemar alarms": mcnemar,
        "standard error": variance**0.5,
        "standard deviation": np.std([row[4] for row in seen]),
        "detectable": detectable,
    }
    return {k: v for k, v in row.items() if not (isinstance(v, float) and np.isnan(v))}


def answers(rng, design: Design, targets, locations, seeds: int, of_seeds: float):
    """Two (S, n) arrays of classes; locations differ in what is easy, and for which recipe."""
    places = design.scenes * design.locations
    of_scenes = np.linspace(0, 3, design.scenes)
    if design.one_varies:
        of_scenes = np.array([0.0] + [8.0] * (design.scenes - 1))
    ease = of_scenes[targets] + rng.normal(0, 1.5, places)[locations]
    for _ in range(2):
        suits = rng.normal(0, 0.7, places)[locations] + rng.normal(0, of_seeds, (seeds, 1))
        right = rng.random((seeds, len(targets))) < expit(ease + suits)
        yield np.where(right, targets, (targets + 1) % design.scenes)
