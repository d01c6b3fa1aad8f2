"""Screening: each rule against its definition, and how masks compose."""

import math
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asc_jax.gan import screen

# (5, 3): sure, hardly sure, wrong, a tie that class 0 wins, broken.
LOGITS = np.array(
    [[9, 0, 0], [0, 0.2, 0], [3, 1, 0], [1, 1, 0], [math.nan, 0, 0]], dtype=np.float32
)
LABELS = np.array([0, 1, 1, 1, 0])


def synthesis(rules, threshold=0.4) -> types.SimpleNamespace:
    """What is read of a config's group."""
    return types.SimpleNamespace(rules=rules, threshold=threshold, margin_low=0.5, margin_high=6)


@st.composite
def screened(draw):
    """Logits (n, K), labels (n,), as a classifier may give them."""
    n, n_classes = draw(st.integers(1, 30)), draw(st.integers(2, 5))
    values = st.floats(-20, 20, width=32)
    logits = draw(hnp.arrays(np.float32, (n, n_classes), elements=values))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(0, n_classes - 1)))
    return logits, labels


def test_argmax_is_the_classifiers_answer():
    np.testing.assert_array_equal(screen.argmax(LOGITS, LABELS), [True, True, False, False, False])


def test_probability_and_margin_of_known_logits():
    scores = screen.scores(LOGITS, LABELS)
    expected = [
        math.exp(9) / (math.exp(9) + 2),
        math.exp(0.2) / (math.exp(0.2) + 2),
        math.e / (math.exp(3) + math.e + 1),
        math.e / (2 * math.e + 1),
        math.nan,
    ]
    np.testing.assert_allclose(scores["probability"], expected, rtol=1e-6)
    np.testing.assert_allclose(scores["margin"], [9, 0.2, -2, 0, math.nan], rtol=1e-6)


def test_bounds_belong_to_what_is_kept():
    np.testing.assert_array_equal(
        screen.margin_band(LOGITS, LABELS, -2, 9), [True, True, True, True, False]
    )
    np.testing.assert_array_equal(
        screen.margin_band(LOGITS, LABELS, 0.1, 5), [False, True, False, False, False]
    )
    even = np.zeros((1, 2), np.float32)
    assert screen.confidence(even, np.array([1]), 0.5).all()
    assert not screen.confidence(even, np.array([1]), 0.501).any()
    assert screen.confidence(LOGITS, LABELS, 0).tolist() == [True] * 4 + [False]


@pytest.mark.parametrize("rules", [(), ("argmax",), ("argmax", "confidence")])
def test_logits_that_are_not_finite_keep_no_clip(rules):
    spoiled = np.array([[0, -np.inf, 0], [np.inf, 0, 0], [np.nan, 0, 0], [9, 0, 0]], np.float32)
    keep = screen.passes(spoiled, np.zeros(4, int), synthesis(rules))
    assert keep.tolist() == [False, False, False, True]


@given(screened(), st.lists(st.sampled_from(list(screen.RULES)), unique=True))
@settings(max_examples=40, deadline=None)
def test_a_config_is_its_rules_together(case, rules):
    keep = screen.passes(*case, synthesis(rules))
    alone = [screen.passes(*case, synthesis([rule])) for rule in rules]
    np.testing.assert_array_equal(keep, np.logical_and.reduce(alone) if rules else True)


@given(screened())
@settings(max_examples=40, deadline=None)
def test_rules_agree_where_they_must(case):
    """A probability above one half, or a margin above 0, is the argmax's."""
    right = screen.argmax(*case)
    assert right[screen.confidence(*case, 0.5001)].all()
    assert right[screen.margin_band(*case, 1e-6, math.inf)].all()
    assert (screen.margin(*case)[right] >= 0).all()


def test_all_refused_and_no_clip_at_all():
    assert not screen.passes(LOGITS, LABELS, synthesis(["confidence"], 1.0))[1:].any()
    none = np.empty((0, 3), np.float32), np.empty(0, int)
    assert screen.passes(*none, synthesis(screen.RULES)).shape == (0,)


@given(st.integers(0, 100_000), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_apportioned_shares_sum_and_differ_by_at_most_one(target, n_classes):
    shares = screen.apportion(target, n_classes)
    assert (len(shares), sum(shares)) == (n_classes, target)
    assert max(shares) - min(shares) <= 1


def test_the_reports_1728_clips():
    assert screen.apportion(1728, 10) == (173,) * 8 + (172,) * 2
