"""Normalisation of the input, against numpy on the log-mels themselves."""

import dataclasses

import jax
import numpy as np
import pytest
from refusals import refused

from asc_jax.data.normalisation import (
    KINDS,
    band_moments,
    by_own_moments,
    refuse_not_finite,
    standardisation,
)
from asc_jax.data.pool import Pool, take

N_CLIPS, N_FRAMES, N_MELS = 40, 20, 12
TRAIN = np.array([1, 5, 8, 30, 37])
MASKED = np.arange(N_MELS) >= 9


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Clips and bands of different levels and spreads."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(300, 3000, (N_CLIPS, 1, N_MELS))
    values = rng.normal(rng.normal(0, 5000, spread.shape), spread, (N_CLIPS, N_FRAMES, N_MELS))
    return Pool(
        np.rint(values).astype(np.int16),
        rng.uniform(1e-4, 1e-3, N_CLIPS).astype(np.float32),
        rng.normal(-5, 2, N_CLIPS).astype(np.float32),
        np.zeros(N_CLIPS, np.int32),
    )


@pytest.fixture(scope="module")
def frames(pool) -> np.ndarray:
    """(clips, N, M) of the whole pool."""
    return np.asarray(take(pool, np.arange(N_CLIPS)), np.float64)


def standardise(pool, **how) -> tuple[np.ndarray, np.ndarray]:
    return standardisation(band_moments(pool, take), TRAIN, **how)


@pytest.mark.parametrize("n_clips", [1, 16, 40])
def test_moments_are_those_of_each_clips_frames(pool, frames, n_clips):
    part = jax.tree.map(lambda leaf: leaf[:n_clips], pool)
    mean, variance = band_moments(part, take)
    assert mean.dtype == variance.dtype == np.float64
    np.testing.assert_allclose(mean, frames[:n_clips].mean(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, frames[:n_clips].var(axis=1), rtol=1e-4)


@pytest.mark.parametrize("masked", [MASKED & False, MASKED], ids=["whole", "masked"])
@pytest.mark.parametrize("kind", ["band", "global"])
def test_standardisation_is_over_the_folds_training_frames(pool, frames, kind, masked):
    mean, deviation = standardise(pool, kind=kind, masked=masked)
    assert mean.dtype == deviation.dtype == np.float32
    seen = frames[TRAIN][..., ~masked]
    over = (0, 1) if kind == "band" else None
    n_kept = np.count_nonzero(~masked)
    np.testing.assert_allclose(mean[~masked], np.broadcast_to(seen.mean(over), n_kept), rtol=1e-5)
    np.testing.assert_allclose(
        deviation[~masked], np.broadcast_to(seen.std(over), n_kept), rtol=1e-5
    )
    assert np.isfinite(mean).all() and np.isinf(deviation[masked]).all()


@pytest.mark.parametrize("kind", ["clip", "none"])
def test_without_training_frames_nothing_but_the_mask_is_left(pool, kind):
    mean, deviation = standardise(pool, kind=kind, masked=MASKED)
    np.testing.assert_array_equal(mean, np.zeros(N_MELS))
    np.testing.assert_array_equal(deviation, np.where(MASKED, np.inf, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_clips_do_not_touch_the_standardisation(pool, kind):
    values = np.array(pool.values)
    values[np.setdiff1d(np.arange(N_CLIPS), TRAIN)] = 32_767
    altered = dataclasses.replace(pool, values=values)
    np.testing.assert_array_equal(standardise(pool, kind=kind), standardise(altered, kind=kind))


@pytest.mark.parametrize("kind", ["band", "global"])
def test_what_never_changes_is_not_divided_by_zero(kind):
    moments = np.full((4, 2), -36.0), np.zeros((4, 2))
    mean, deviation = standardisation(moments, np.arange(4), kind=kind)
    np.testing.assert_array_equal(mean, [-36, -36])
    assert (deviation > 0).all()


def test_a_clips_own_moments_are_over_its_frames_and_the_bands_that_count(frames):
    log_mel = frames.astype(np.float32)
    ours = jax.jit(by_own_moments)(log_mel, MASKED)
    for clip, found in zip(frames, ours, strict=True):
        kept = clip[:, ~MASKED]
        np.testing.assert_allclose(found, (clip - kept.mean()) / kept.std(), atol=1e-4)
    # Neither what is masked, nor a gain (a constant in the logarithm), nor another clip counts.
    changed = np.where(MASKED, 1e6, log_mel) + 7.5
    np.testing.assert_allclose(
        by_own_moments(changed[3], MASKED)[:, ~MASKED], ours[3][:, ~MASKED], atol=1e-4
    )


def test_a_silent_clip_has_no_moments_to_divide_by():
    silent = np.full((2, N_FRAMES, N_MELS), np.log(2.2e-16), np.float32)
    assert np.abs(by_own_moments(silent, MASKED)).max() < 0.1


def test_moments_that_are_not_finite_are_refused_with_the_clips_name():
    mean, variance = np.zeros((3, 4)), np.ones((3, 4))
    refuse_not_finite((mean, variance), ["a.wav", "b.wav", "c.wav"])
    for moment in (mean, variance):
        moment[1, 2] = np.inf
        with refused(path="b.wav"):
            refuse_not_finite((mean, variance), ["a.wav", "b.wav", "c.wav"])
        moment[1, 2] = 1
