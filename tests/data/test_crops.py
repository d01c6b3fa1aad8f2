"""Crops of clips: where they lie, and what a pool gives of them."""

import jax
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asc_jax.data.clips import Clip, Dataset
from asc_jax.data.crops import Crops
from asc_jax.data.decoding import Decoding
from asc_jax.data.normalisation import band_moments
from asc_jax.data.pool import as_rows, load_pool, log_mels, take
from asc_jax.frontend import FrontendConfig, frontend_function
from asc_jax.inference.windows import in_windows

SR = 8_000
FRONTEND = FrontendConfig(
    sr=SR, n_fft=512, win_length=400, hop_length=200, n_mels=8, window="hann"
)  # 0.025 s from frame to frame
SECONDS = (1.0, 2.0, 3.0)  # of the recordings; clips have 2 s


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    root = tmp_path_factory.mktemp("recorded")
    rng = np.random.default_rng(0)
    for number, seconds in enumerate(SECONDS):
        soundfile.write(root / f"{number}.wav", 0.1 * rng.standard_normal(int(seconds * SR)), SR)
    clips = tuple(Clip(f"{number}.wav", "ab"[number % 2], str(number)) for number in range(3))
    return Dataset(root, clips, ("a", "b"), {})


def pool_of(recorded, **how):
    decoding = Decoding("waveform", FRONTEND, 2.0, fit_length=True)
    cache = recorded.root / "cache"
    return load_pool(recorded, recorded.scene_labels, decoding, cache_dir=cache, **how)


def features(pool, clips, *starts):
    return log_mels(pool, clips, *starts, frontend=FRONTEND, n_frames=0, size=4000)


def test_crops_lie_anywhere_within_what_was_recorded():
    lengths = np.array([50, 21, 20, 5])
    keys = jax.random.split(jax.random.key(0), (4, 4000))
    crops = Crops(20, 20, 0)
    starts = np.asarray(jax.vmap(crops.at_random, (1, None))(keys, lengths))
    assert starts.min(axis=0).tolist() == [0, 0, 0, 0]
    assert starts.max(axis=0).tolist() == [30, 1, 0, 0]
    assert len(np.unique(starts[:, 0])) == 31
    assert abs(starts[:, 0].mean() - 15) < 4 * np.sqrt((31**2 - 1) / 12 / len(starts))


@given(st.integers(1, 400), st.integers(1, 100), st.integers(1, 120))
def test_windows_in_a_row_are_those_in_which_a_recording_is_answered(length, size, hop):
    sr = 100  # of which 5 samples are a codec's padding
    waveform = np.arange(length, dtype=np.float32)[:, None]
    asked = [window.start for window in in_windows([(waveform, sr)], sr, size, hop)]
    assert Crops(size, hop, 5).in_a_row(length).tolist() == asked


@pytest.mark.parametrize("rows", [False, True])
def test_a_pool_gives_the_same_of_a_crop_as_of_the_clip(recorded, rows):
    pool = pool_of(recorded).pool
    if rows:
        pool = as_rows(pool)
    clips, starts = np.array([2, 0]), np.array([1400, 6200])
    whole = np.asarray(take(pool, clips))
    cut = np.stack([one[s : s + 4000] for one, s in zip(whole, starts, strict=True)])
    np.testing.assert_array_equal(take(pool, clips, starts, 4000), cut)
    expected = frontend_function(FRONTEND)(cut)  # which hears the crop alone
    np.testing.assert_allclose(features(pool, clips, starts), expected, atol=1e-4)


def test_what_zeros_fill_is_neither_cropped_nor_standardised_by(recorded):
    loaded = pool_of(recorded, lengths=True)
    np.testing.assert_allclose(loaded.seconds, SECONDS)
    assert loaded.pool.lengths.tolist() == [SR, 2 * SR, 2 * SR]
    mean, variance = band_moments(loaded.pool, features)
    clips = np.asarray(features(loaded.pool, np.arange(3)))
    np.testing.assert_allclose(mean[0], clips[0, :41].mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(variance[0], clips[0, :41].var(axis=0), rtol=1e-3)
    np.testing.assert_allclose(mean[1:], clips[1:].mean(axis=1), rtol=1e-4)
    without, _ = band_moments(pool_of(recorded).pool, features)
    assert (without[0] < mean[0] - 5).all()  # silence is far below
