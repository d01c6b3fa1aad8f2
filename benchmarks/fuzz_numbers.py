"""Answers to score and compare, p values to correct, logits to blend, rates to resample."""

import math
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

_MEASURES = ("class_wise_accuracy", "accuracy")
_ROUNDING = 1e-9  # of rounding, in figures from 0 to 1


class Answers(NamedTuple):
    """Clips and what two systems say of them."""

    n_classes: int
    n_clips: int
    n_locations: int
    seeds: tuple[int, int]  # runs of each system
    right: tuple[float, float]  # share of right answers of each
    by_scene: bool  # whether a location belongs to one scene
    alike: bool  # whether both systems give the same answers
    runs: str
    seed: int


ANSWERS = st.builds(
    Answers,
    st.integers(1, 6),
    st.one_of(st.integers(1, 4), st.integers(1, 80)),
    st.integers(1, 20),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])] * 2),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["independent", "paired", "fixed"]),
    st.integers(0, 2**32 - 1),
)


def check_scores(given: Answers) -> str:
    """Scores and comparisons are what counting gives, within their bounds, whatever the order."""
    from asc_jax.stats.comparison import compare
    from asc_jax.stats.scores import scores_by_location

    rng = np.random.default_rng(given.seed)
    n, k = given.n_clips, given.n_classes
    locations = rng.integers(given.n_locations, size=n)
    targets = locations % k if given.by_scene else rng.integers(k, size=n)
    before, after = (
        np.where(rng.random((s, n)) < share, targets, rng.integers(k, size=(s, n)))
        for s, share in zip(given.seeds, given.right, strict=True)
    )
    runs = given.runs if given.seeds[0] == given.seeds[1] else "independent"
    after = before if given.alike else after
    order = rng.permutation(n)

    overall, class_wise, recalls = scores_by_location(targets, after, locations, k)
    shares = [(after == targets)[:, targets == one].mean() for one in np.unique(targets)]
    _close(overall.value, (after == targets).mean())
    _close(class_wise.value, np.mean(shares))
    for score in (overall, class_wise, *recalls):
        if not math.isnan(score.value):
            assert 0 <= score.low <= score.value <= score.high <= 1, score
    assert [math.isnan(s.value) for s in recalls] == [one not in targets for one in range(k)]
    again = scores_by_location(targets[order], after[:, order], locations[order], k)
    for score, same in zip((overall, class_wise, *recalls), (*again[:2], *again[2]), strict=True):
        _close([score.value, score.low, score.high], [same.value, same.low, same.high])

    for measure in _MEASURES:
        options = {"measure": measure, "runs": runs}
        one = compare(targets, before, after, locations, k, **options)
        assert one.low <= one.difference <= one.high and 0 <= one.p <= 1, one
        assert one.standard_error > 0 and one.df > 0 and one.detectable() > 0, one
        assert (one.p < 0.05) == (not one.low <= 0 <= one.high) or math.isclose(one.p, 0.05), one
        assert one.p_flip is None or 0 < one.p_flip <= 1, one
        assert not given.alike or (one.difference == 0 and one.p == 1), one
        swapped = compare(targets, after, before, locations, k, **options)
        _close(
            [swapped.difference, swapped.low, swapped.high],
            [-one.difference, -one.high, -one.low],
        )
        _close([swapped.p, swapped.standard_error], [one.p, one.standard_error])
        if one.mcnemar:
            assert (swapped.mcnemar.lost, swapped.mcnemar.p) == (one.mcnemar.gained, one.mcnemar.p)
            assert 0 < one.mcnemar.p <= 1
        moved = compare(
            targets[order], before[:, order], after[:, order], locations[order], k, **options
        )
        _close([moved.difference, moved.low, moved.high, moved.p],
               [one.difference, one.low, one.high, one.p])  # fmt: skip
    return "read"


def _close(found, expected) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=_ROUNDING)


class Many(NamedTuple):
    """p values of several comparisons, and logits of several runs."""

    p: tuple[float, ...]
    n_runs: int
    n_clips: int
    n_classes: int
    scale: float
    rule: str
    spoilt: bool  # whether a logit is NaN
    seed: int


MANY = st.builds(
    Many,
    st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0, 0.05, 1])), min_size=1, max_size=12)
    .map(tuple),
    st.integers(1, 4),
    st.integers(1, 30),
    st.integers(1, 5),
    st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4]),
    st.sampled_from(["mean_logits", "mean_probabilities"]),
    st.integers(0, 9).map(lambda n: n == 0),
    st.integers(0, 2**32 - 1),
)  # fmt: skip


def check_many(given: Many) -> str:
    """Corrected p values are in order and no smaller; weights are shares; NaN is refused."""
    from asc_jax.scoring import blending
    from asc_jax.stats.significance import CORRECTIONS, levels
    from benchmarks.fuzz import refusal

    p = np.array(given.p)
    for name, correct in CORRECTIONS.items():
        corrected = correct(p)
        assert ((p <= corrected + 1e-12) & (corrected <= 1)).all(), (name, corrected)
        order = np.argsort(p)
        assert (np.diff(corrected[order]) >= -1e-12).all()
        _close(correct(p[::-1])[::-1], corrected)
        level = levels(p, 0.05, name)
        assert ((0.05 / len(p) - 1e-12 <= level) & (level <= 0.05 + 1e-12)).all()
    for i, one in enumerate(p):  # Holm's by its definition
        steps = [min(1, (p >= other).sum() * other) for other in p[p <= one]]
        _close(CORRECTIONS["holm"](p)[i], max(steps))

    rng = np.random.default_rng(given.seed)
    logits = given.scale * rng.normal(size=(given.n_runs, given.n_clips, given.n_classes))
    logits = logits.astype(np.float32)
    targets = rng.integers(given.n_classes, size=given.n_clips)
    if given.spoilt:
        logits[0, -1, 0] = np.nan
    for fit in blending.FITS.values():
        weights, said = refusal(fit, logits, targets, given.rule)
        if given.spoilt and fit is not blending.equal:
            assert said
            continue
        assert not said and weights.shape == (given.n_runs,), said
        assert (weights >= 0).all() and math.isclose(weights.sum(), 1, rel_tol=1e-9), weights
        blended, said = refusal(blending.blend, logits, weights, given.rule)
        assert bool(said) == given.spoilt
        if not said:
            assert np.isfinite(blended).all() and blended.shape == logits.shape[1:]
    return "refused" if given.spoilt else "read"


class Rates(NamedTuple):
    """A waveform and the rates that it is taken from and to, Hz."""

    orig_sr: int
    target_sr: int
    n_samples: int
    share: float  # of the lower of the two Nyquist frequencies: the tone's


_HZ = st.one_of(
    st.integers(1, 200_000),
    st.sampled_from([8000, 11_025, 16_000, 16_001, 22_050, 44_100, 48_000, 96_000, 192_000]),
)
RATES = st.builds(Rates, _HZ, _HZ, st.integers(1, 20_000), st.floats(0.01, 0.8))

_MOST_SAMPLES = 1 << 20  # of an output, so that an input takes seconds


def check_resampling(given: Rates) -> str:
    """The length is right, a constant stays, and a tone is the tone at the other rate."""
    from hypothesis import assume

    from asc_jax.ops.resample import resample

    n_out = -(-given.n_samples * given.target_sr // given.orig_sr)
    assume(n_out <= _MOST_SAMPLES)
    times = np.arange(given.n_samples) / given.orig_sr
    hz = given.share * min(given.orig_sr, given.target_sr) / 2
    waves = np.stack([np.ones(given.n_samples), np.sin(2 * np.pi * hz * times)])
    out = np.asarray(resample(waves.astype(np.float32), given.orig_sr, given.target_sr))
    assert out.shape == (2, n_out) and out.dtype == np.float32, out.shape
    assert np.isfinite(out).all() and np.abs(out).max(initial=0) < 2
    # The filter sees zeros beyond the ends.
    edge = math.ceil(300 * max(1, given.target_sr / given.orig_sr))
    at = np.arange(n_out) / given.target_sr
    exact = np.stack([np.ones(n_out), np.sin(2 * np.pi * hz * at)])
    error = np.abs(out - exact)[:, edge : n_out - edge].max(initial=0)
    assert error < 1e-5, f"{20 * np.log10(error):.0f} dB"  # -100 dB
    return "read"
