"""The stratified jackknife against leaving locations out by hand."""

import numpy as np
import pytest

from asc_jax.stats.jackknife import jackknife

TARGETS = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
LOCATIONS = np.array(["a", "a", "b", "c", "c", "d", "d", "e", "e"])
RIGHT = np.array([1, 0, 1, 0, 0, 1, 1, 1, 0.0])


def test_by_hand():
    left_out = jackknife(TARGETS, RIGHT, LOCATIONS, 2)
    np.testing.assert_allclose(left_out.means, [2 / 5, 3 / 4])
    # Scene 0 without a, b, c: 1/3, 1/4, 2/3; scene 1 without d, e: 1/2, 1.
    first = 2 / 3 * sum((x - 2 / 5) ** 2 for x in (1 / 3, 1 / 4, 2 / 3))
    second = 1 / 2 * sum((x - 3 / 4) ** 2 for x in (1 / 2, 1))
    assert left_out.variance(np.array([1, 0])) == pytest.approx(first)
    assert left_out.variance(np.array([0, 1])) == pytest.approx(second)
    assert left_out.variance(np.array([0.5, 0.5])) == pytest.approx((first + second) / 4)
    np.testing.assert_allclose(left_out.spread, [0.4 * 0.6, 0.75 * 0.25])
    expected = (5 * first + 4 * second) / (0.4 * 0.6 + 0.75 * 0.25)
    assert left_out.design_effect == pytest.approx(expected)


def test_equal_locations_have_the_variance_of_their_means():
    """The textbook's: the sample variance of the locations' means, over their number."""
    values = np.random.default_rng(0).normal(size=(12, 5))
    left_out = jackknife(np.zeros(60, int), values.ravel(), np.arange(60) // 5, 1)
    expected = values.mean(axis=1).var(ddof=1) / 12
    # The jackknife of a mean of n equal parts is its variance exactly.
    assert left_out.variance(np.ones(1)) == pytest.approx(expected)


def test_a_location_with_two_scenes_moves_both():
    targets, right = np.tile([0, 1], 20), np.repeat(np.random.default_rng(1).random(20), 2)
    together = jackknife(targets, right, np.repeat(np.arange(20), 2), 2)
    apart = jackknife(targets, right, np.arange(40), 2)
    half = np.array([0.5, 0.5])
    assert together.variance(half) == pytest.approx(2 * apart.variance(half))
    assert (together.df(half), apart.df(half)) == (19, pytest.approx(38, abs=4))


def test_degrees_of_freedom():
    """Of the class that varies; of all where they vary alike; on average that of their sum."""
    rng = np.random.default_rng(3)
    targets, locations = np.repeat(np.arange(10), 12), np.arange(120) // 2
    alike = np.tile([0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 1.0], 10)
    only = np.where(targets == 4, alike, 1.0)
    every = np.full(10, 0.1)
    assert jackknife(targets, only, locations, 10).df(every) == pytest.approx(5)
    assert jackknife(targets, alike, locations, 10).df(every) == pytest.approx(50, abs=20)
    one_each = [jackknife(targets, rng.normal(size=120), targets, 10).df(every) for _ in range(3)]
    assert one_each == [0, 0, 0]
    drawn = [jackknife(targets, rng.normal(size=120), locations, 10).df(every) for _ in range(400)]
    assert np.mean(drawn) == pytest.approx(47, abs=4)
    nothing = jackknife(targets, np.ones(120), locations, 10)
    assert nothing.df(every) == 50


def test_leading_axes():
    seeds = np.random.default_rng(2).integers(0, 2, (3, 9)).astype(float)
    stacked = jackknife(TARGETS, seeds, LOCATIONS, 2)
    half = np.array([0.5, 0.5])
    for seed in range(3):
        alone = jackknife(TARGETS, seeds[seed], LOCATIONS, 2)
        np.testing.assert_allclose(stacked.means[seed], alone.means)
        np.testing.assert_allclose(stacked.deviations[seed], alone.deviations)
        assert stacked.variance(half)[seed] == pytest.approx(float(alone.variance(half)))


def test_a_scene_with_one_location_borrows_the_others_design_effect():
    targets = np.concatenate([TARGETS, [2, 2]])
    left_out = jackknife(targets, np.append(RIGHT, [1, 0]), np.append(LOCATIONS, ["f", "f"]), 4)
    borrowed = left_out.design_effect * 0.25 / 2
    assert left_out.variance(np.array([0, 0, 1, 0])) == pytest.approx(borrowed)
    np.testing.assert_allclose(left_out.weights("class_wise_accuracy"), [1 / 3] * 3 + [0])
    np.testing.assert_allclose(left_out.weights("accuracy"), np.array([5, 4, 2, 0]) / 11)
    assert np.isnan(left_out.means[3])
    assert left_out.total(left_out.weights("accuracy")) == pytest.approx(6 / 11)
    with pytest.raises(ValueError):
        left_out.weights("f1")
