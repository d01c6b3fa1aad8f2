"""The pool: what a batch is gathered from, against the frontend on the decoded clips."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

from asc_jax.data import read_dataset
from asc_jax.data.audio import mono, read_clip
from asc_jax.data.decoding import Decoding
from asc_jax.data.pool import (
    Pool,
    as_rows,
    join,
    load_pool,
    log_mels,
    read_clips,
    take,
)
from asc_jax.frontend import FrontendConfig, log_mel
from asc_jax.runtime.errors import InputError

FRONTEND = FrontendConfig(sr=48_000, n_fft=2048, win_length=1920, hop_length=1920, n_mels=12)
N_FRAMES = 20  # of 26
INDICES = np.array([3, 79, 0, 3], np.int32)


def load(dataset, kind, folder, **settings) -> Pool:
    settings = {"frontend": FRONTEND, "clip_seconds": 1.0, "n_frames": N_FRAMES, **settings}
    decoding = Decoding(kind, channels=2, **settings)
    return load_pool(dataset, dataset.scene_labels, decoding, cache_dir=folder)[0]


@pytest.fixture(scope="module")
def dataset(scenes):
    return read_dataset(scenes)


@pytest.fixture(scope="module")
def pools(dataset, tmp_path_factory) -> dict[str, Pool]:
    folder = tmp_path_factory.mktemp("cache")
    return {kind: load(dataset, kind, folder) for kind in ("log_mel", "waveform")}


@pytest.fixture(scope="module")
def waveforms(dataset) -> np.ndarray:
    """(clips, T), decoded one by one."""
    return np.stack(
        [
            mono(read_clip(dataset.audio_path(clip), sr=48_000, channels=2, n_samples=48_000)[0])
            for clip in dataset.clips
        ]
    )


@pytest.fixture(scope="module")
def direct(waveforms) -> np.ndarray:
    """(clips, N, M), without a pool."""
    return np.asarray(log_mel(waveforms, FRONTEND))[:, :N_FRAMES]


def quantisation(values: np.ndarray) -> np.ndarray:
    """The largest error that int16 allows each clip, and float32's own."""
    axes = tuple(range(1, values.ndim))
    span = values.max(axis=axes, keepdims=True) - values.min(axis=axes, keepdims=True)
    return span / 131_068 * 1.01 + 2e-6


def test_a_pool_of_log_mels_holds_the_frontends(pools, direct):
    pool = pools["log_mel"]
    assert pool.values.shape == (80, N_FRAMES, 12)
    taken = take(pool, INDICES)
    assert taken.dtype == jnp.float32
    expected = direct[INDICES]
    # XLA orders the sums of a batch of 16 otherwise than those of 80.
    assert (np.abs(taken - expected) <= quantisation(expected) + 1e-4).all()


def test_a_pool_of_waveforms_holds_the_decoded_clips(pools, waveforms):
    pool = pools["waveform"]
    assert pool.values.shape == (80, 48_000)
    taken, expected = take(pool, INDICES), waveforms[INDICES]
    assert taken.shape == (4, 48_000)
    assert (np.abs(taken - expected) <= quantisation(expected)).all()


@pytest.mark.parametrize(("kind", "bound"), [("log_mel", 1e-3), ("waveform", 2e-2)])
def test_either_kind_gives_the_frontends_log_mels(pools, direct, kind, bound):
    """Quantising the waveform adds noise, which only the quietest bands show."""
    features = log_mels(pools[kind], INDICES, frontend=FRONTEND, n_frames=N_FRAMES)
    assert (features.shape, features.dtype) == ((4, N_FRAMES, 12), jnp.float32)
    expected = direct[INDICES]
    loud = expected > expected.max(axis=(1, 2), keepdims=True) - np.log(1000)  # 60 dB
    assert np.abs(features - expected)[loud].max() < bound


@pytest.mark.parametrize("kind", ["log_mel", "waveform"])
def test_a_batch_is_gathered_inside_a_compiled_function(pools, kind):
    def features(pool, indices):
        return log_mels(pool, indices, frontend=FRONTEND, n_frames=N_FRAMES)

    stacked = INDICES.reshape(2, 2)  # (F, B)
    mapped = jax.jit(jax.vmap(features, in_axes=(None, 0)))(pools[kind], stacked)
    expected = features(pools[kind], INDICES)
    np.testing.assert_allclose(mapped.reshape(4, N_FRAMES, 12), expected, atol=1e-3)
    np.testing.assert_array_equal(features(as_rows(pools[kind]), INDICES), expected)


def test_targets_follow_the_order_of_the_classes(dataset, pools):
    named = [dataset.scene_labels[target] for target in pools["log_mel"].targets]
    assert named == [clip.scene_label for clip in dataset.clips]
    assert pools["log_mel"].targets.dtype == np.int32


def test_clips_without_labels_have_no_target(dataset, tmp_path):
    clips = tuple(dataclasses.replace(clip, scene_label="") for clip in dataset.clips[:3])
    unlabelled = dataclasses.replace(dataset, clips=clips, scene_labels=())
    pool, *_ = load_pool(
        unlabelled,
        dataset.scene_labels,
        Decoding("waveform", FRONTEND, clip_seconds=1.0, channels=2),
        cache_dir=tmp_path,
    )
    assert pool.targets.tolist() == [-1, -1, -1]


def test_a_label_that_no_class_has_is_refused_before_decoding(dataset, tmp_path):
    clips = (dataclasses.replace(dataset.clips[0], scene_label="beach"), *dataset.clips[1:])
    with refused(path=dataset.root) as caught:
        load(dataclasses.replace(dataset, clips=clips), "waveform", tmp_path / "cache")
    assert "beach" in caught.value.message and dataset.scene_labels[0] in caught.value.message
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("clips", [[3], [0, 79, 80, 159], [80, 81], [], list(range(160))])
def test_clips_are_read_from_several_pools_as_from_one(pools, clips):
    both = [pools["log_mel"], pools["log_mel"]]
    some = read_clips(both, np.array(clips, int), 170)
    for ours, theirs in zip(jax.tree.leaves(some), jax.tree.leaves(join(both)), strict=True):
        np.testing.assert_array_equal(ours[: len(clips)], theirs[clips])
        assert ours.dtype == theirs.dtype and len(ours) == 170
        assert not ours[len(clips) :].any()


def test_log_mels_that_are_not_finite_are_refused_with_the_files_name(dataset, tmp_path):
    loud = dataclasses.replace(FRONTEND, power=60.0)  # beyond float32, where it is not silent
    with pytest.raises(InputError) as caught:
        load(dataset, "log_mel", tmp_path / "cache", frontend=loud)
    (line,) = str(caught.value).splitlines()  # of all that are so
    assert line.startswith(f"{dataset.audio_path(dataset.clips[0])}: ")
    assert not any((tmp_path / "cache").iterdir())
