"""Weights that are known, and clips that must not be seen."""

import numpy as np
import pytest
from refusals import refused
from scipy.special import log_softmax, softmax

from asc_jax.config.choices import ENSEMBLES
from asc_jax.scoring import ensemble
from asc_jax.scoring.blending import FITS, blend, cross_fit, fit_weights, select_greedily
from asc_jax.stats.calibration import log_loss
from asc_jax.stats.scores import class_wise_accuracy, confusion_matrix

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (3, 40, 5)).astype(np.float32)
TARGETS = RNG.integers(0, 5, 40)


def merit(logits, targets) -> float:
    return class_wise_accuracy(confusion_matrix(targets, logits.argmax(-1), logits.shape[-1]))


@pytest.mark.parametrize("rule", ENSEMBLES)
def test_equal_weights_are_the_ensemble_of_folds(rule):
    """The rules on the host are those of the device."""
    expected = ensemble.RULES[rule](LOGITS)
    np.testing.assert_allclose(blend(LOGITS, rule=rule), expected, atol=1e-5)
    np.testing.assert_allclose(blend(LOGITS, [1 / 3] * 3, rule), expected, atol=1e-5)
    alone = blend(LOGITS, [0, 1, 0], rule)
    np.testing.assert_allclose(softmax(alone, -1), softmax(LOGITS[1], -1), atol=1e-6)


def test_weighted_means_by_hand():
    np.testing.assert_allclose(
        blend(LOGITS, [0.2, 0.3, 0.5]), 0.2 * LOGITS[0] + 0.3 * LOGITS[1] + 0.5 * LOGITS[2], 1e-5
    )
    mixed = np.tensordot([0.2, 0.3, 0.5], softmax(LOGITS, axis=-1), axes=1)
    np.testing.assert_allclose(
        np.exp(blend(LOGITS, [0.2, 0.3, 0.5], "mean_probabilities")), mixed, 1e-5
    )
    with pytest.raises(ValueError, match="'vote'"):
        blend(LOGITS, rule="vote")


@pytest.mark.parametrize("rule", ENSEMBLES)
def test_no_other_weights_have_less_loss(rule):
    rng = np.random.default_rng(2)
    fitted = fit_weights(LOGITS, TARGETS, rule)
    assert fitted.min() >= 0 and fitted.sum() == pytest.approx(1)
    least = log_loss(blend(LOGITS, fitted, rule), TARGETS)
    for weights in np.concatenate([rng.dirichlet([1, 1, 1], 200), np.eye(3)]):
        assert least <= log_loss(blend(LOGITS, weights, rule), TARGETS) + 1e-6


def test_useless_runs_get_no_weight():
    good = 4 * np.eye(5)[TARGETS] + RNG.normal(0, 1, (40, 5))
    logits = np.stack([LOGITS[0], good, -good])
    for fit in (fit_weights, select_greedily):
        np.testing.assert_allclose(fit(logits, TARGETS)[2], 0, atol=1e-6)
        assert fit(logits, TARGETS).argmax() == 1


@pytest.mark.parametrize("rule", ENSEMBLES)
def test_greedy_selection_is_as_good_as_the_best_run(rule):
    rng = np.random.default_rng(3)
    logits = 1.5 * np.eye(5)[TARGETS] + rng.normal(0, 1.5, (6, 40, 5))
    weights = select_greedily(logits, TARGETS, rule)
    assert weights.sum() == pytest.approx(1)
    singles = [merit(one, TARGETS) for one in logits]
    assert merit(blend(logits, weights, rule), TARGETS) > max(singles)


def test_greedy_selection_takes_complements_and_the_fewest():
    """Two runs that are right together and wrong alone; then nothing is left to gain."""
    targets = np.array([0, 1, 0, 1])
    first = np.array([[3, 0], [1, 0], [3, 0], [1, 0]], float)  # right on class 0
    second = first[::-1][:, ::-1] * [1, 1]  # right on class 1
    useless = np.zeros((4, 2))
    weights = select_greedily(np.stack([useless, first, second]), targets)
    np.testing.assert_allclose(weights, [0, 0.5, 0.5])


@pytest.mark.parametrize("name", FITS)
def test_cross_fitting_never_sees_the_clips_it_scores(name):
    """Other labels at a location leave the blend of its own clips as it is."""
    locations = np.arange(40) // 4
    before = cross_fit(LOGITS, TARGETS, locations, FITS[name])
    for place in range(10):
        here = locations == place
        changed = np.where(here, (TARGETS + 1) % 5, TARGETS)
        after = cross_fit(LOGITS, changed, locations, FITS[name])
        np.testing.assert_array_equal(after[here], before[here])


def test_equal_weights_need_no_fitting():
    crossed = cross_fit(LOGITS, TARGETS, np.arange(40), FITS["equal"], "mean_probabilities")
    expected = blend(log_softmax(LOGITS, axis=-1), None, "mean_probabilities")
    np.testing.assert_allclose(crossed, expected, atol=1e-6)


def test_one_location_cannot_be_fitted_and_scored():
    with refused():
        cross_fit(LOGITS, TARGETS, np.zeros(40), fit_weights)


@pytest.mark.parametrize("rule", ENSEMBLES)
@pytest.mark.parametrize("name", FITS)
def test_sure_and_wrong_logits_give_finite_weights(name, rule):
    logits = np.array([[[2e3, -2e3]], [[-2e3, 2e3]]], np.float32)
    weights = FITS[name](logits, np.array([1]), rule)
    assert np.isfinite(blend(logits, weights, rule)).all()
    assert weights.sum() == pytest.approx(1)
    assert weights[1] >= 0.5


@pytest.mark.parametrize("rule", ENSEMBLES)
@pytest.mark.parametrize("spoiled", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_not_combined(rule, spoiled):
    logits = np.zeros((2, 6, 3))
    logits[1, 4, 0] = spoiled
    targets, locations = np.array([0, 1, 2] * 2), np.arange(6)
    for combine in (
        lambda: blend(logits, rule=rule),
        lambda: fit_weights(logits, targets, rule),
        lambda: select_greedily(logits, targets, rule),
        lambda: cross_fit(logits, targets, locations, FITS["equal"], rule),
    ):
        with refused():
            combine()
