"""Crops of clips: where they lie, and what a pool gives of them."""

import jax
import numpy as np
import pytest
import soundfile

from asc_jax.data.clips import Clip, Dataset
from asc_jax.data.crops import Crops
from asc_jax.data.normalisation import band_moments
from asc_jax.data.pool import Decoding, as_rows, load_pool, log_mels, take
from asc_jax.frontend import FrontendConfig, frontend_function

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


def pool_of(recorded, kind, **how):
    decoding = Decoding(kind, FRONTEND, 2.0, fit_length=True)
    cache = recorded.root / "cache"
    return load_pool(recorded, recorded.scene_labels, decoding, cache_dir=cache, **how)


def test_crops_lie_anywhere_within_what_was_recorded():
    lengths = np.array([50, 21, 20, 5])
    keys = jax.random.split(jax.random.key(0), (4, 4000))
    starts = np.stack([Crops(20, 1).at_random(keys[:, i], lengths) for i in range(0, 4000, 10)])
    assert starts.min(axis=0).tolist() == [0, 0, 0, 0]
    assert starts.max(axis=0).tolist() == [30, 1, 0, 0]
    assert len(np.unique(starts[:, 0])) == 31
    assert abs(starts[:, 0].mean() - 15) < 4 * np.sqrt((31**2 - 1) / 12 / len(starts))


def test_windows_go_from_the_beginning_to_the_end():
    lengths = np.array([50, 20, 5])
    assert Crops(20, 4).evenly(lengths).tolist() == [[0, 10, 20, 30], [0] * 4, [0] * 4]
    assert Crops(20, 1).evenly(lengths).tolist() == [[15], [0], [0]]
    long = np.array([100_000_001])
    assert Crops(1, 3).evenly(long)[0, -1] == long[0] - 1


@pytest.mark.parametrize("kind", ["log_mel", "waveform"])
@pytest.mark.parametrize("rows", [False, True])
def test_a_pool_gives_the_same_of_a_crop_as_of_the_clip(recorded, kind, rows):
    pool = pool_of(recorded, kind).pool
    if rows:
        pool = as_rows(pool)
    clips, starts = np.array([2, 0]), np.array([7, 31])
    whole = np.asarray(take(pool, clips))
    crops = take(pool, clips, starts, 13)
    expected = np.stack([one[start : start + 13] for one, start in zip(whole, starts, strict=True)])
    np.testing.assert_array_equal(crops, expected)
    if kind == "waveform":
        n, hop = 4000, FRONTEND.hop_length
        features = log_mels(pool, clips, starts * hop, frontend=FRONTEND, n_frames=0, size=n)
        cut = [one[s * hop : s * hop + n] for one, s in zip(whole, starts, strict=True)]
        np.testing.assert_allclose(features, frontend_function(FRONTEND)(np.stack(cut)), atol=1e-4)


@pytest.mark.parametrize("kind", ["log_mel", "waveform"])
def test_what_zeros_fill_is_neither_cropped_nor_standardised_by(recorded, kind):
    loaded = pool_of(recorded, kind, lengths=True)
    np.testing.assert_allclose(loaded.seconds, SECONDS)
    longest = loaded.pool.values.shape[1]
    assert loaded.pool.lengths.tolist() == [-(-longest // 2), longest, longest]
    features = lambda pool, clips: log_mels(pool, clips, frontend=FRONTEND, n_frames=0)
    mean, variance = band_moments(loaded.pool, features)
    clips = np.asarray(features(loaded.pool, np.arange(3)))
    np.testing.assert_allclose(mean[0], clips[0, :41].mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(variance[0], clips[0, :41].var(axis=0), rtol=1e-3)
    np.testing.assert_allclose(mean[1:], clips[1:].mean(axis=1), rtol=1e-4)
    without, _ = band_moments(pool_of(recorded, kind).pool, features)
    assert (without[0] < mean[0] - 5).all()  # silence is far below
