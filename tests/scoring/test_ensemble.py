"""From fold logits to decisions, by hand."""

import jax.numpy as jnp
import numpy as np
from scipy.special import softmax

from asc_jax.scoring import ensemble

LOGITS = np.random.default_rng(0).normal(0, 3, (4, 20, 5)).astype(np.float32)


def test_mean_logits():
    np.testing.assert_allclose(ensemble.mean_logits(LOGITS), LOGITS.mean(0), atol=1e-6)


def test_mean_probabilities():
    out = ensemble.mean_probabilities(LOGITS)
    np.testing.assert_allclose(np.exp(out), softmax(LOGITS, -1).mean(0), atol=1e-6)


def test_mean_probabilities_of_large_logits_are_finite():
    logits = np.array([[[1e4, -1e4]], [[-1e4, 1e4]]], np.float32)
    np.testing.assert_allclose(np.exp(ensemble.mean_probabilities(logits)), [[0.5, 0.5]], atol=1e-6)


def test_the_rules_can_differ():
    # One fold is very sure of class 1, two lean to class 0.
    logits = np.array([[[0.0, 9.0]], [[3.0, 0.0]], [[3.0, 0.0]]], np.float32)
    assert ensemble.decide(ensemble.mean_logits(logits)).tolist() == [1]
    assert ensemble.decide(ensemble.mean_probabilities(logits)).tolist() == [0]


def test_decisions():
    probabilities = np.array([[0.1, 0.6, 0.3], [0.2, 0.45, 0.35], [0.8, 0.1, 0.1], [0.2, 0.3, 0.5]])
    logits = jnp.log(probabilities).astype(jnp.float32) + 7  # an offset means nothing
    np.testing.assert_array_equal(ensemble.decide(logits), [1, 1, 0, 2])
    # The baseline's: 0.5 must be passed, else class 0.
    np.testing.assert_array_equal(ensemble.decide(logits[:3], "threshold"), [1, 0, 0])
    np.testing.assert_array_equal(
        ensemble.decide(jnp.array([[0.0, 0.0], [0.0, 0.1]]), "threshold"), [0, 1]
    )
