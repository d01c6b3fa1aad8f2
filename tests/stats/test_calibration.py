"""Calibration by hand and against scikit-learn."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from asc_jax.stats.calibration import brier_score, log_loss, reliability

# Confidences 0.55, 0.6, 0.6, 0.9, 1.0; right, wrong, right, right, wrong.
PROBABILITIES = np.array([[0.55, 0.45], [0.6, 0.4], [0.4, 0.6], [0.1, 0.9], [1.0, 0.0]])
TARGETS = np.array([0, 1, 1, 1, 1])


def test_bins_by_hand():
    result = reliability(PROBABILITIES, TARGETS, n_bins=4)
    np.testing.assert_array_equal(result.edges, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(result.counts, [0, 0, 3, 2])
    np.testing.assert_allclose(result.confidence, [np.nan, np.nan, 1.75 / 3, 0.95])
    np.testing.assert_allclose(result.accuracy, [np.nan, np.nan, 2 / 3, 1 / 2])
    expected = 3 / 5 * (2 / 3 - 1.75 / 3) + 2 / 5 * (0.95 - 0.5)
    assert result.expected_calibration_error == pytest.approx(expected)


def test_reliability_equals_scikit_learns():
    rng = np.random.default_rng(1)
    probabilities = softmax(rng.normal(0, 2, (999, 4)), axis=-1)
    targets = rng.integers(0, 4, 999)
    ours = reliability(probabilities, targets, n_bins=9)
    right = probabilities.argmax(axis=1) == targets
    shares, confidences = calibration_curve(right, probabilities.max(axis=1), n_bins=9)
    full = ours.counts > 0
    np.testing.assert_allclose(ours.accuracy[full], shares, atol=1e-12)
    np.testing.assert_allclose(ours.confidence[full], confidences, atol=1e-12)


def test_a_calibrated_model_is_found_calibrated_and_a_sure_one_is_not():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 1.5, (20_000, 5))
    probabilities = softmax(logits, axis=-1)
    targets = (rng.random((20_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    sure = softmax(3 * logits, axis=-1)
    assert reliability(probabilities, targets).expected_calibration_error < 0.015
    assert reliability(sure, targets).expected_calibration_error > 0.15
    assert log_loss(3 * logits, targets) > log_loss(logits, targets)
    assert brier_score(sure, targets) > brier_score(probabilities, targets)


def test_losses():
    assert brier_score(PROBABILITIES, TARGETS) == pytest.approx(
        2 * (0.45**2 + 0.6**2 + 0.4**2 + 0.1**2 + 1) / 5
    )
    assert brier_score(PROBABILITIES, TARGETS) == pytest.approx(
        2 * brier_score_loss(TARGETS, PROBABILITIES[:, 1])
    )
    rng = np.random.default_rng(3)
    logits, targets = rng.normal(0, 3, (50, 6)).astype(np.float32), rng.integers(0, 6, 50)
    expected = sklearn_log_loss(targets, softmax(logits.astype(float), axis=-1), labels=range(6))
    assert log_loss(logits, targets) == pytest.approx(expected)
    assert log_loss(logits + 100, targets) == pytest.approx(expected, rel=1e-5)
    assert log_loss(np.array([[0.0, 1e4]]), np.array([0])) == pytest.approx(1e4)
