"""Tests and corrections against the examples of textbooks."""

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, permutation_test

from asc_jax.stats.significance import (
    CORRECTIONS,
    benjamini_hochberg,
    holm,
    levels,
    mcnemar,
    sign_flip,
)


def near(share: float, expected: float, times: int) -> bool:
    return abs(share - expected) < 3 * (expected * (1 - expected) / times) ** 0.5


def test_mcnemar():
    def answers(lost: int, gained: int, same: int) -> tuple[np.ndarray, np.ndarray]:
        reference = [True] * lost + [False] * gained + [True] * same
        other = [False] * lost + [True] * gained + [True] * same
        return np.array(reference), np.array(other)

    # Agresti, Categorical Data Analysis, table 10.1: of 1,600 asked twice, 150 and 86 changed
    # their minds; the published statistic, (150 - 86)^2 / 236 = 17.36, is the large-sample one.
    result = mcnemar(*answers(150, 86, 1364))
    assert (result.lost, result.gained) == (150, 86)
    assert result.p == pytest.approx(binomtest(86, 236).pvalue)
    assert result.p == pytest.approx(chi2.sf(17.36, 1), rel=0.3)
    assert mcnemar(*answers(1, 6, 20)).p == pytest.approx(2 * (1 + 7) / 2**7)
    assert mcnemar(*answers(0, 5, 1)).p == pytest.approx(2 / 2**5)
    assert mcnemar(*answers(4, 4, 1)).p == mcnemar(*answers(0, 0, 3)).p == 1


def test_sign_flip_of_darwins_maize():
    """Fisher's own example: 863 of 32,768 patterns reach the sum, 835 exceed it."""
    heights = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48.0])
    assert sign_flip(heights) == pytest.approx(2 * 863 / 32768)
    assert sign_flip(np.append(heights, [0, 0])) == sign_flip(heights)
    assert sign_flip(np.zeros(4)) == 1


def test_random_signs_are_nearly_all_signs():
    parts = np.random.default_rng(0).normal(0.4, 1, 16)
    exact = permutation_test(
        (parts, np.zeros(16)),
        lambda a, b, axis: (a - b).sum(axis),
        permutation_type="samples",
        n_resamples=np.inf,
    ).pvalue
    assert 0.02 < exact < 0.9
    for seed in range(3):
        assert near(sign_flip(parts, seed=seed), exact, 9999)
    assert sign_flip(parts) == sign_flip(parts) != sign_flip(parts, seed=1)
    assert sign_flip(np.full(40, 1.0)) == 1 / 10_000  # never 0


def test_holm():
    # Holm's procedure on four tests, worked by hand.
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.4, 0.6]), [0.8, 0.8])
    np.testing.assert_allclose(holm([0.2]), [0.2])


def test_benjamini_hochberg():
    # Table 1 of the paper of 1995: four of fifteen hypotheses are rejected at 0.05.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    assert (benjamini_hochberg(p) <= 0.05).sum() == 4
    assert (holm(p) <= 0.05).sum() == 3
    np.testing.assert_allclose(benjamini_hochberg(p)[3], 0.0095 * 15 / 4)
    np.testing.assert_array_equal(benjamini_hochberg([0, 1]), [0, 1])  # whole numbers


def test_holm_keeps_false_alarms_of_many_comparisons_rare():
    rng, times = np.random.default_rng(8), 2000
    alarms = np.mean([holm(rng.random(10)).min() < 0.05 for _ in range(times)])
    assert near(alarms, 1 - (1 - 0.05 / 10) ** 10, times)


def test_levels_by_hand():
    p = [0.001, 0.02, 0.04, 0.9]
    np.testing.assert_allclose(levels(p, 0.05, "holm"), 0.05 / 4)
    # The last would be the fourth of four below 0.05; the third the third below 0.0375.
    by_hand = 0.05 * np.array([2, 2, 3, 4]) / 4
    np.testing.assert_allclose(levels(p, 0.05, "benjamini_hochberg"), by_hand)
    for correction in CORRECTIONS:
        assert levels([0.3], 0.05, correction) == [0.05]


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_a_p_below_its_level_is_significant(correction):
    rng = np.random.default_rng(0)
    for n in (2, 5, 9):
        for _ in range(50):
            p = rng.random(n) ** 4
            for i, level in enumerate(levels(p, 0.05, correction)):
                p[i], kept = level * (1 - 1e-9), p[i]
                assert CORRECTIONS[correction](p)[i] <= 0.05
                p[i] = level * (1 + 1e-9)
                if correction == "benjamini_hochberg":  # and no larger one is
                    assert CORRECTIONS[correction](p)[i] > 0.05
                p[i] = kept
