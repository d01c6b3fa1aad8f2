"""How often differences are found that are there, and that are not."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from asc_jax.stats.comparison import compare


def systems(rng, n_scenes=7, n_locations=6, clips=8, seeds=1, better=0.0, of_seeds=0.0):
    """Two recipes' answers; locations differ in difficulty and in which recipe they suit."""
    places = n_scenes * n_locations
    locations = np.repeat(np.arange(places), rng.integers(clips // 2, clips * 3 // 2 + 1, places))
    targets = locations // n_locations
    ease = np.linspace(0, 3, n_scenes)[targets] + rng.normal(0, 1.5, places)[locations]

    def answer(shift: float) -> np.ndarray:
        suits = rng.normal(0, 0.7, places)[locations] + rng.normal(0, of_seeds, (seeds, 1))
        right = rng.random((seeds, len(targets))) < 1 / (1 + np.exp(-ease - shift - suits))
        return np.where(right, targets, (targets + 1) % n_scenes)

    return targets, answer(0.0), answer(better), locations, n_scenes


def near(share: float, expected: float, times: int) -> bool:
    return abs(share - expected) < 3 * (expected * (1 - expected) / times) ** 0.5


def test_equal_locations_give_students_paired_test():
    """One scene, as many clips everywhere: the t-test of the locations' gains."""
    rng = np.random.default_rng(0)
    targets, locations = np.zeros(100, int), np.arange(100) // 5
    reference, other = rng.integers(0, 2, (2, 100))
    result = compare(targets, reference, other, locations, 2)
    gains = ((other == 0).astype(float) - (reference == 0)).reshape(20, 5).mean(axis=1)
    textbook = ttest_1samp(gains, 0)
    assert result.difference == pytest.approx(gains.mean())
    assert result.p == pytest.approx(textbook.pvalue)
    interval = textbook.confidence_interval()
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    assert result.df == pytest.approx(19)


def test_seeds_alone_give_students_test_of_two_samples():
    """Where seeds do alike at all of very many locations, only they are random."""
    seeds = {"before": [0.5, 0.6, 0.55], "after": [0.7, 0.6, 0.75]}
    n = 2000  # clips of one location each
    answers = [
        np.stack([(np.arange(n) % 20 >= 20 * share).astype(int) for share in shares])
        for shares in seeds.values()
    ]
    locations = np.arange(n)
    result = compare(np.zeros(n, int), *answers, locations, 2)
    textbook = ttest_ind(seeds["after"], seeds["before"])
    assert result.difference == pytest.approx(0.4 / 3)
    assert result.p == pytest.approx(textbook.pvalue, rel=0.15)
    assert result.n_seeds == (3, 3)
    assert result.mcnemar is None
    assert result.p_flip is None


def test_interval_and_p_agree_and_sides_mirror():
    rng = np.random.default_rng(3)
    for _ in range(20):
        targets, reference, other, locations, k = systems(rng, 4, 5, better=0.6)
        result = compare(targets, reference, other, locations, k, measure="accuracy")
        mirrored = compare(targets, other, reference, locations, k, measure="accuracy")
        assert (result.p < 0.05) == (not result.low <= 0 <= result.high)
        assert mirrored.p == pytest.approx(result.p)
        assert mirrored.difference == pytest.approx(-result.difference)
        assert (mirrored.low, mirrored.high) == pytest.approx((-result.high, -result.low))
        expected = (other[0] == targets).mean() - (reference[0] == targets).mean()
        assert result.difference == pytest.approx(expected)


def test_same_answers_differ_by_nothing_but_not_for_certain():
    targets, reference, _, locations, k = systems(np.random.default_rng(4))
    result = compare(targets, reference, reference, locations, k)
    assert (result.difference, result.p, result.p_flip, result.mcnemar.p) == (0, 1, 1, 1)
    assert -0.02 < result.low < 0 < result.high < 0.02


def test_one_location_per_scene():
    """Nothing tells how locations of a scene differ: no great certainty either."""
    targets = np.repeat([0, 1], 6)
    result = compare(targets, 1 - targets, targets, targets, 2)
    assert result.difference == 1
    assert np.isfinite([result.low, result.high, result.p]).all()
    assert result.p_flip == 0.5  # two locations, four patterns


@pytest.mark.parametrize(
    ("seeds", "of_seeds", "shape"), [(1, 0.0, (4, 3, 12)), (1, 0.0, (7, 6, 8)), (3, 0.5, (5, 8, 6))]
)
def test_false_alarms_and_coverage(seeds, of_seeds, shape):
    rng, times = np.random.default_rng(5), 400
    results = [compare(*systems(rng, *shape, seeds, 0.0, of_seeds)) for _ in range(times)]
    assert near(np.mean([result.p < 0.05 for result in results]), 0.05, times)
    if seeds == 1:
        assert near(np.mean([result.p_flip < 0.05 for result in results]), 0.05, times)
        # Clips of a location are not independent, and this is what comes of it.
        assert np.mean([result.mcnemar.p < 0.05 for result in results]) > 0.08
    # The standard error is the spread that repetition shows.
    spread = np.std([result.difference for result in results])
    error = np.mean([result.standard_error**2 for result in results]) ** 0.5
    assert error == pytest.approx(spread, rel=0.15)


def test_few_false_alarms_where_one_scene_alone_varies():
    """The other nine scenes are almost always right, and say nothing of how this one varies."""
    rng, times, alarms, n_locations, clips = np.random.default_rng(8), 300, 0, 2, 6
    locations = np.repeat(np.arange(10 * n_locations), clips)
    targets = locations // n_locations
    ease = np.where(targets == 0, 0.0, 6.0)
    for _ in range(times):
        answers = []
        for _ in range(2):
            suits = rng.normal(0, 1.0, 10 * n_locations)[locations]
            right = rng.random(len(targets)) < 1 / (1 + np.exp(-ease - suits))
            answers.append(np.where(right, targets, (targets + 1) % 10))
        alarms += compare(targets, *answers, locations, 10).p < 0.05
    assert alarms / times < 0.05 + 3 * (0.05 * 0.95 / times) ** 0.5


def rules(rng, gain: int, shared: float = 0.5):
    """Three seeds' models, and the same answering in another way that mends `gain` clips."""
    locations = np.repeat(np.arange(84), 30)
    targets = locations % 10
    ease = rng.normal(1, 1.5, 84)[locations]
    before, after = [], []
    for _ in range(3):
        chance = 1 / (1 + np.exp(-ease - rng.normal(0, shared)))
        right = rng.random(len(targets)) < chance
        mended = right.copy()
        mended[rng.choice(np.flatnonzero(~right), gain, replace=False)] = True
        before.append(right)
        after.append(mended)
    wrong = (targets + 1) % 10
    return (
        targets,
        *(np.where(np.stack(side), targets, wrong) for side in (before, after)),
        locations,
    )


def test_two_ways_to_answer_of_the_same_models_are_paired_by_seed():
    targets, before, after, locations = rules(np.random.default_rng(9), gain=30)
    paired = compare(targets, before, after, locations, 10, runs="paired")
    apart = compare(targets, before, after, locations, 10)
    assert paired.difference == apart.difference == pytest.approx(30 / 2520, rel=0.05)
    assert paired.p < 1e-3 and apart.p > 0.1  # what the seeds share cancels
    assert paired.about_recipes and apart.about_recipes
    textbook = ttest_1samp([0.1, 0.3, 0.2], 0)
    n = 2000  # clips of one location each: the seeds alone are random
    gains = np.stack([(np.arange(n) % 20 < 20 * share) for share in (0.1, 0.3, 0.2)])
    result = compare(
        np.zeros(n, int),
        np.ones((3, n), int),
        np.where(gains, 0, 1),
        np.arange(n),
        2,
        runs="paired",
    )
    assert result.p == pytest.approx(textbook.pvalue, rel=0.15)


def test_fixed_models_have_locations_alone_as_chance():
    targets, before, after, locations = rules(np.random.default_rng(10), gain=30)
    fixed = compare(targets, before, after[:1], locations, 10, runs="fixed")
    apart = compare(targets, before, after[:1], locations, 10)
    assert fixed.difference == apart.difference
    assert fixed.standard_error < apart.standard_error
    assert not fixed.about_recipes
    alone = compare(targets, before[0], after[0], locations, 10)
    assert alone == compare(targets, before[0], after[0], locations, 10, runs="fixed")


def test_detectable_by_hand():
    """Bloom's multiplier for many degrees of freedom is 2.80 standard errors; for ten, 3.11."""
    result = compare(*systems(np.random.default_rng(7), 2, 1000, 2))
    for df, multiplier in ((result.df, 2.80), (10.0, 3.107)):
        one = dataclasses.replace(result, df=df)
        assert one.detectable() == pytest.approx(multiplier * one.standard_error, rel=2e-3)
    assert result.detectable(power=0.5) < result.detectable() < result.detectable(0.9)
    assert result.detectable(alpha=0.01) > result.detectable()


def test_df_is_no_less_than_that_of_the_least_certain_part():
    """Seeds that differ by location only, and much more than the systems do."""
    locations = np.repeat(np.arange(40), 10)
    targets = locations % 4
    right = np.ones((3, 400), bool)
    for seed in range(3):
        right[seed, locations % 3 == seed] = False
    right[0, :100] = True
    reference = np.where(right, targets, (targets + 1) % 4)
    steady = np.where(np.arange(400) % 10 < 7, targets, (targets + 1) % 4)
    result = compare(targets, reference, steady, locations, 4)
    assert result.n_seeds == (3, 1)
    assert result.df >= 2
    assert result.high - result.low < 1
