"""Segments to a clip: the exact length, the level at the joins, and what cannot be merged."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from asc_jax.gan import segments


def test_the_reports_ten_seconds():
    assert segments.n_segments(160_000, 32_768) == 5
    assert segments.n_segments(160_000, 32_768, min_overlap=160) == 5
    assert segments.overlaps(160_000, 32_768, 5) == (960,) * 4
    waves = np.random.default_rng(0).standard_normal((5, 32_768)).astype(np.float32)
    merged = segments.merge(waves, 160_000)
    np.testing.assert_array_equal(merged, waves.reshape(-1)[:160_000])
    faded = np.asarray(segments.merge(waves, 160_000, "crossfade"))
    assert faded.shape == (160_000,)
    assert faded.dtype == np.float32
    # Outside the joins every sample is its segment's.
    start = 32_768 - 960
    for i in range(5):
        whole = slice(960 * (i > 0), 32_768 - 960 * (i < 4))
        place = slice(i * start + whole.start, i * start + whole.stop)
        np.testing.assert_array_equal(faded[place], waves[i, whole])


@given(st.integers(1, 20_000), st.integers(1, 5_000), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_segments_are_enough_and_no_more(n_samples, length, share):
    overlap = int(share * (length // 2))
    count = segments.n_segments(n_samples, length, overlap)
    assert count * length - (count - 1) * overlap >= n_samples
    if count > 1:
        assert (count - 1) * length - (count - 2) * overlap < n_samples
    shared = segments.overlaps(n_samples, length, count)
    assert len(shared) == count - 1
    assert count * length - sum(shared) >= n_samples  # `merge` cuts what may still be left
    if count > 1:
        assert overlap <= min(shared) <= max(shared) <= min(min(shared) + 1, length)
    if count > 2:
        assert max(shared) <= length // 2


@pytest.mark.parametrize("how", segments.MERGES)
@pytest.mark.parametrize(
    ("n_samples", "length", "count"),
    [(1, 1, 1), (7, 7, 1), (8, 7, 2), (13, 7, 2), (14, 7, 2), (14, 7, 3), (20, 7, 3), (9, 7, 4)],
)
def test_the_length_is_exact(n_samples, length, count, how):
    merge = jax.jit(segments.merge, static_argnums=(1, 2))
    merged = np.asarray(merge(np.ones((count, length), np.float32), n_samples, how))
    assert merged.shape == (n_samples,)
    # Two fades of ones sum to at most sqrt(2); no sample is lost, none sounds three times.
    assert merged.min() >= 1 - 1e-6
    assert merged.max() < 1.415


@pytest.mark.parametrize("n_samples", [160_000, 100_000])
def test_noise_keeps_its_level_through_a_crossfade(n_samples):
    count = segments.n_segments(n_samples, 32_768, 160)
    shared = segments.overlaps(n_samples, 32_768, count)
    waves = np.random.default_rng(1).standard_normal((20, count, 32_768)).astype(np.float32)
    merge = lambda w: segments.merge(w, n_samples, "crossfade")
    merged = np.asarray(jax.jit(jax.vmap(merge))(waves))
    end = 0
    for overlap in shared:
        end += 32_768 - overlap
        join = merged[:, end : end + overlap]
        assert abs(10 * np.log10(np.mean(join**2))) < 0.1
        # In its middle too, where a linear fade has -3 dB.
        middle = merged[:, end + overlap // 2 - overlap // 10 : end + overlap // 2 + overlap // 10]
        assert abs(10 * np.log10(np.mean(middle**2))) < 0.3


def test_a_fade_is_its_own_mirror_image():
    zero, one = np.zeros(8, np.float32), np.ones(8, np.float32)
    rise = np.asarray(segments.merge(np.stack([zero, one]), 10, "crossfade"))
    fall = np.asarray(segments.merge(np.stack([one, zero]), 10, "crossfade"))
    np.testing.assert_allclose(rise, fall[::-1], atol=1e-7)
    np.testing.assert_allclose(rise**2 + fall**2, 1, atol=1e-6)
    assert (np.diff(rise[2:8]) > 0).all()


@pytest.mark.parametrize("how", segments.MERGES)
def test_a_short_clip_is_one_segment_cut(how):
    wave = np.arange(6, dtype=np.float32)[None]
    assert segments.n_segments(4, 6, 3) == 1
    np.testing.assert_array_equal(segments.merge(wave, 4, how), [0, 1, 2, 3])
    np.testing.assert_array_equal(segments.merge(wave, 6, how), wave[0])


def test_it_compiles_and_gradients_reach_each_segment():
    waves = np.random.default_rng(2).standard_normal((3, 50)).astype(np.float32)
    merge = jax.jit(segments.merge, static_argnums=(1, 2))
    np.testing.assert_allclose(
        merge(waves, 130, "crossfade"), segments.merge(waves, 130, "crossfade"), atol=1e-6
    )
    gradient = jax.grad(lambda w: segments.merge(w, 130, "crossfade").sum())(waves)
    assert (np.asarray(gradient) > 0).all()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: segments.merge(np.ones((2, 4)), 8, "glue"), "merge"),
        (lambda: segments.merge(np.ones((2, 4)), 9), "n_samples"),
        (lambda: segments.merge(np.ones((2, 4)), 0), "n_samples"),
        (lambda: segments.merge(np.ones(8), 8), "segments"),
        (lambda: segments.n_segments(0, 4), "n_samples"),
        (lambda: segments.n_segments(9, 0), "segment"),
        (lambda: segments.n_segments(9, 4, 3), "min_overlap"),
        (lambda: segments.n_segments(9, 4, -1), "min_overlap"),
    ],
)
def test_what_cannot_be_merged_is_refused(call, field):
    with refused(field=field):
        call()
