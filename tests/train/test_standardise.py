"""Log-mels as a network takes them: what they are divided by, and bands that are masked.

Which these are, and that nothing in them reaches a logit or a loss.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import numpy as np
import pytest
import small
from small_model import FRONTEND, init_state, make_model

from asc_jax.augment import Augmentation
from asc_jax.data import batches
from asc_jax.data.normalisation import KINDS
from asc_jax.data.pool import take
from asc_jax.frontend import mel_edges
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import make_mesh
from asc_jax.runs.inputs import read_data
from asc_jax.train import classifier
from asc_jax.train.setup import set_up

MASKED = mel_edges(FRONTEND)[:-2] >= 8000  # (M,)
CLIPS = np.arange(8, dtype=np.int32)[None]


class Network(nn.Module):
    """The least that a step takes: a layer on the mean of the frames."""

    n_classes: int = 3
    sync_batch_norm: bool = True

    @nn.compact
    def __call__(self, log_mel, *, train):
        return nn.Dense(self.n_classes)(log_mel.mean(axis=1))


def model_of(normalisation: str):
    augmentation = Augmentation(mixup_alpha=0.3, time_roll=0.5, mel_masks=1, mel_mask_bands=3)
    how = {"optimizer": "sgd", "augmentation": augmentation}
    return make_model(Network(), normalisation=normalisation, **how)


def logits_and_losses(model, steps, mesh, pool, splits, masked=MASKED):
    """(F, B, K) logits before training and (F, S) losses of three steps with every augmentation."""
    state = put(init_state(model, splits, pool, masked=masked), mesh, PER_FOLD)
    pool = put(pool, mesh, SHARED)
    logits = np.asarray(steps.evaluate(state, pool, CLIPS))
    losses = []
    indices = batches.epoch_indices(splits, seed=0, epoch=0, n_steps=3, batch_size=8)
    for i in range(3):
        state, metrics = steps.train(state, pool, indices[:, i : i + 1])
        losses.append(np.asarray(metrics["loss"]))
    return logits, np.concatenate(losses, axis=1)


def altered(pool, bands: np.ndarray):
    """The pool with noise of the widest range in some bands."""
    values = np.array(pool.values)
    noise = np.random.default_rng(3).integers(-32_767, 32_768, values.shape).astype(np.int16)
    values[..., bands] = noise[..., bands]
    return dataclasses.replace(pool, values=values)


@pytest.mark.parametrize("normalisation", ["band", "clip"])
def test_masked_bands_have_no_influence(small_pool, small_splits, normalisation):
    model, mesh = model_of(normalisation), make_mesh(1, 8, jax.devices()[:1])
    steps = classifier.compile_steps(mesh, model)
    run = functools.partial(logits_and_losses, model, steps, mesh, splits=small_splits[:1])
    logits, losses = run(small_pool)
    assert np.isfinite(logits).all() and np.isfinite(losses).all()
    for ours, theirs in zip((logits, losses), run(altered(small_pool, MASKED)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    other = np.flatnonzero(~MASKED)[-1:]
    assert (run(altered(small_pool, other))[0] != logits).any()
    assert (run(small_pool, masked=False)[0] != logits).any()


@pytest.mark.parametrize("masked", [MASKED & False, MASKED], ids=["whole", "masked"])
@pytest.mark.parametrize("normalisation", KINDS)
def test_the_network_gets_what_numpy_standardises(small_pool, small_splits, normalisation, masked):
    states = init_state(model_of(normalisation), small_splits, small_pool, masked=masked)
    assert states.band_std.dtype == np.float32
    state = jax.tree.map(lambda leaf: leaf[1], states)
    clips = np.asarray(take(small_pool, np.arange(40)), np.float64)
    kept = clips[..., ~masked]
    seen = kept[small_splits[1].train]
    mean, deviation = {
        "band": (seen.mean((0, 1)), seen.std((0, 1))),
        "global": (seen.mean(), seen.std()),
        "clip": (kept.mean((1, 2), keepdims=True), kept.std((1, 2), keepdims=True)),
        "none": (0, 1),
    }[normalisation]
    given = np.asarray(state.standardise(clips.astype(np.float32)))
    np.testing.assert_allclose(given[..., ~masked], (kept - mean) / deviation, atol=1e-4)
    assert (given[..., masked] == 0).all()


def test_the_config_decides(scenes):
    found = set()
    for kind in KINDS:
        config = small.config(scenes, f"data.normalisation={kind}")
        state = set_up(config, *read_data(config)).init()
        mean = np.asarray(state.band_mean)
        found.add((kind, mean.any().item(), np.ptp(mean, axis=1).any().item(), state.per_clip))
    assert found == {
        ("band", True, True, False),
        ("global", True, False, False),
        ("clip", False, False, True),
        ("none", False, False, False),
    }


def test_standardisation_knows_recorded_clips_only(small_pool, small_splits):
    """Clips of another kind behind the recorded ones change neither mean nor deviation."""
    pool = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf[:10]]), small_pool)
    pool.values[40:] = -32_767
    generated = np.arange(40, 50, dtype=np.int32)
    splits = [dataclasses.replace(split, synthetic=generated) for split in small_splits]
    model = model_of("band")
    with_synthetic = init_state(model, splits, pool)
    without = init_state(model, small_splits, small_pool)
    np.testing.assert_array_equal(with_synthetic.band_mean, without.band_mean)
    np.testing.assert_array_equal(with_synthetic.band_std, without.band_std)
