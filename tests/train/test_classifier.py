"""One fold's training against other ways of computing it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_model import init_state, make_model

from asc_jax import models
from asc_jax.augment import Augmentation
from asc_jax.data import batches
from asc_jax.data.pool import log_mels
from asc_jax.frontend import FrontendConfig
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import make_mesh
from asc_jax.train import classifier
from asc_jax.train.hyperparameters import Hyperparameters

EVERYTHING = Augmentation(
    mixup_alpha=0.3,
    time_roll=0.5,
    time_masks=1,
    time_mask_frames=4,
    mel_masks=1,
    mel_mask_bands=3,
)
RECIPE = Hyperparameters(lr=1e-2, weight_decay=0.01, label_smoothing=0.1)
FEATURES = functools.partial(log_mels, frontend=FrontendConfig(n_mels=16), n_frames=0)


# Adam divides a gradient by its own size: where the gradient is 0 but for rounding it would walk
# on the rounding. Two ways of computing one trajectory are compared with a linear optimizer.
LINEAR = "sgd"


def trained(
    pool,
    splits,
    model,
    *,
    n_steps,
    devices,
    augmentation=EVERYTHING,
    per_call=1,
    recipe=RECIPE,
    name="adam",
):
    """The state after some steps, the losses (F, steps) and the compiled steps."""
    n_devices = jax.devices()[:devices]
    mesh = make_mesh(len(splits), 8, n_devices)
    model = make_model(model, optimizer=name, augmentation=augmentation)
    steps = classifier.compile_steps(mesh, model)
    state = put(init_state(model, splits, pool, recipe=recipe), mesh, PER_FOLD)
    pool = put(pool, mesh, SHARED)
    indices = batches.epoch_indices(splits, seed=7, epoch=0, n_steps=n_steps, batch_size=8)
    losses = []
    for first in range(0, n_steps, per_call):
        state, metrics = steps.train(state, pool, indices[:, first : first + per_call])
        losses.append(metrics["loss"])
    return jax.device_get(state), np.concatenate(losses, axis=1), (steps, pool, mesh)


def assert_close(tree, other, **tolerance):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), tree, other)


@pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING], ids=["plain", "augmented"])
def test_a_fold_in_the_program_equals_that_fold_alone(
    small_pool, small_splits, small_model, augmentation
):
    train = functools.partial(
        trained,
        small_pool,
        model=small_model,
        n_steps=4,
        devices=1,
        augmentation=augmentation,
        name=LINEAR,
    )
    together, losses, _ = train(splits=small_splits)
    alone, alone_losses, _ = train(splits=small_splits[2:3])
    np.testing.assert_allclose(losses[2:3], alone_losses, rtol=1e-5)
    third = jax.tree.map(lambda leaf: leaf[2:3], together)
    assert_close(third.params, alone.params, rtol=1e-4, atol=1e-6)
    assert_close(third.batch_stats, alone.batch_stats, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(third.key_data, alone.key_data)


def test_several_steps_per_call_equal_single_steps(small_pool, small_splits, small_model):
    train = functools.partial(
        trained, small_pool, small_splits, small_model, n_steps=4, devices=1, name=LINEAR
    )
    single, single_losses, _ = train()
    scanned, scanned_losses, _ = train(per_call=4)
    np.testing.assert_allclose(single_losses, scanned_losses, rtol=1e-5)
    assert_close(single.params, scanned.params, rtol=1e-4, atol=1e-6)


def test_a_step_equals_plain_flax_and_optax(small_pool, small_splits, small_model):
    """The first step of fold 1, written out with none of the project's training code."""
    split = small_splits[:1]
    state, losses, _ = trained(
        small_pool,
        split,
        small_model,
        n_steps=1,
        devices=1,
        augmentation=Augmentation(),
        name=LINEAR,
    )
    network = models.build(small_model, 3)
    kernels = lambda tree: jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key == "kernel", tree
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.trace(decay=0.9, nesterov=True),
        optax.add_decayed_weights(0.01, kernels),
        optax.scale_by_learning_rate(optax.cosine_decay_schedule(1e-2, 100)),
    )
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), 1), 2**32 - 1)
    variables = jax.jit(lambda key: network.init(key, jnp.zeros((1, 24, 16)), train=False))(key)
    frames = np.float64(small_pool.values[split[0].train]) * 1e-3 - 5
    mean, std = frames.mean((0, 1)), frames.std((0, 1))
    clips = batches.epoch_indices(split, seed=7, epoch=0, n_steps=1, batch_size=8)[0, 0, :, 0]
    inputs = ((np.float64(small_pool.values[clips]) * 1e-3 - 5 - mean) / std).astype(np.float32)
    targets = 0.9 * np.eye(3)[small_pool.targets[clips]] + 0.1 / 3

    def loss(params):
        logits, _ = network.apply(
            {"params": params, "batch_stats": variables["batch_stats"]},
            inputs,
            train=True,
            mutable=["batch_stats"],
        )
        return -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1))

    value, grads = jax.jit(jax.value_and_grad(loss))(variables["params"])
    updates, _ = optimizer.update(grads, optimizer.init(variables["params"]), variables["params"])
    params = optax.apply_updates(variables["params"], updates)
    np.testing.assert_allclose(losses[0, 0], value, rtol=1e-5)
    assert_close(jax.tree.map(lambda leaf: leaf[0], state.params), params, rtol=1e-4, atol=1e-6)


def test_golden_first_loss(small_pool, small_splits, small_model):
    state, losses, _ = trained(small_pool, small_splits, small_model, n_steps=1, devices=1)
    golden = [1.301298, 1.055418, 1.173028, 1.298681]
    np.testing.assert_allclose(losses[:, 0], golden, rtol=1e-4)
    stem = state.params["stem"]["kernel"]
    assert not np.allclose(stem[0], stem[1])  # folds start from values of their own


def test_training_learns_and_evaluates(small_pool, small_splits, small_model):
    state, losses, (steps, pool, _) = trained(
        small_pool,
        small_splits,
        small_model,
        n_steps=40,
        devices=1,
        augmentation=Augmentation(),
        recipe=RECIPE.replace(lr=3e-2),
    )
    assert (losses[:, -5:].mean(axis=1) < 0.6 * losses[:, 0]).all()
    held_out = batches.padded_indices([split.held_out for split in small_splits], 8)
    right = []
    for batch in np.moveaxis(held_out, 1, 0):
        answers = np.asarray(steps.evaluate(state, pool, batch)).argmax(-1)
        right += (answers == small_pool.targets[batch])[batch >= 0].tolist()
    assert np.mean(right) > 0.8


def test_keep_best_keeps_the_first_of_equals(small_pool, small_splits, small_model):
    state, _, (steps, _, mesh) = trained(
        small_pool, small_splits, small_model, n_steps=1, devices=1
    )
    zeros = functools.partial(jax.tree.map, np.zeros_like)
    best = classifier.BestEpoch(
        zeros(state.params),
        zeros(state.batch_stats),
        np.array([0.2, 0.9, 0.5, -1], np.float32),
        np.full(4, 3, np.int32),
    )
    best = put(best, mesh, PER_FOLD)
    scores, epochs = np.full(4, 0.5, np.float32), np.full(4, 4, np.int32)
    best = steps.keep_best(best, state, scores, epochs)
    np.testing.assert_array_equal(best.epoch, [4, 3, 3, 4])
    np.testing.assert_allclose(best.score, [0.5, 0.9, 0.5, 0.5])
    stem = np.asarray(best.params["stem"]["kernel"])
    np.testing.assert_array_equal(stem[0], state.params["stem"]["kernel"][0])
    assert not stem[1].any()


def test_waveforms_in_the_pool_train_alike(small_splits, small_model):
    """The frontend inside the step gives what log-mels computed beforehand give."""
    from asc_jax.data.pool import Pool, take
    from asc_jax.frontend import log_mel

    cfg = FrontendConfig(sr=8000, n_fft=256, win_length=200, hop_length=100, n_mels=16)
    rng = np.random.default_rng(1)
    waves = Pool(
        values=rng.integers(-9000, 9000, (40, 2000)).astype(np.int16),
        scale=np.full(40, 1e-4, np.float32),
        offset=np.zeros(40, np.float32),
        targets=(np.arange(40) % 3).astype(np.int32),
    )
    features = functools.partial(log_mels, frontend=cfg, n_frames=20)
    clips = np.array([3, 1, 2])
    expected = log_mel(take(waves, clips), cfg)[:, :20]
    np.testing.assert_allclose(features(waves, clips), expected, rtol=1e-6)
    model = make_model(small_model, frontend=cfg, n_frames=20, shape=(20, 16))
    state = init_state(model, small_splits, waves)
    mean = np.asarray(log_mel(take(waves, small_splits[0].train), cfg)[:, :20]).mean((0, 1))
    np.testing.assert_allclose(state.band_mean[0], mean, rtol=1e-5)
