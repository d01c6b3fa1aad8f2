"""One fold's training against other ways of computing it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from small_model import PLAIN, RECIPE, init_state, make_model

from asc_jax import models
from asc_jax.augment import Augmentation
from asc_jax.data import batches
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import make_mesh
from asc_jax.train import classifier
from asc_jax.train.best_epoch import BestEpoch

EVERYTHING = Augmentation(
    mixup_alpha=0.3,
    time_roll=0.5,
    time_masks=1,
    time_mask_frames=4,
    mel_masks=1,
    mel_mask_bands=3,
)

# Adam divides a gradient by its own size: where the gradient is 0 but for rounding it would walk
# on the rounding. Two ways of computing one trajectory are compared with a linear optimizer.
LINEAR = "sgd"


NETWORK = {"name": "resnet", "stage_sizes": (1,), "stage_strides": (2,), "width": 4, "se_ratio": 2}


@functools.cache
def compiled(augmentation=EVERYTHING):
    """The mesh of one device, the model and its compiled steps."""
    mesh = make_mesh(1, 8, jax.devices()[:1])
    model = make_model(NETWORK, optimizer=LINEAR, augmentation=augmentation)
    return mesh, model, classifier.compile_steps(mesh, model)


def trained(pool, splits, augmentation=EVERYTHING, *, n_steps, per_call=1, recipe=RECIPE):
    """The state after some steps, on the host, and the losses (F, steps)."""
    mesh, model, steps = compiled(augmentation)
    state = put(init_state(model, splits, pool, recipe=recipe), mesh, PER_FOLD)
    pool = put(pool, mesh, SHARED)
    indices = batches.epoch_indices(splits, seed=7, epoch=0, n_steps=n_steps, batch_size=8)
    losses = []
    for first in range(0, n_steps, per_call):
        state, metrics = steps.train(state, pool, indices[:, first : first + per_call])
        losses.append(metrics["loss"])
    return jax.device_get(state), np.concatenate(losses, axis=1)


def assert_close(tree, other, **tolerance):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), tree, other)


def test_a_fold_in_the_program_equals_that_fold_alone(small_pool, small_splits):
    train = functools.partial(trained, small_pool, n_steps=4)
    together, losses = train(small_splits)
    alone, alone_losses = train(small_splits[2:3])
    np.testing.assert_allclose(losses[2:3], alone_losses, rtol=1e-5)
    third = jax.tree.map(lambda leaf: leaf[2:3], together)
    assert_close(third.params, alone.params, rtol=1e-4, atol=1e-6)
    assert_close(third.batch_stats, alone.batch_stats, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(third.key_data, alone.key_data)


def test_several_steps_per_call_equal_single_steps(small_pool, small_splits):
    train = functools.partial(trained, small_pool, small_splits[:1], PLAIN, n_steps=4)
    single, single_losses = train()
    scanned, scanned_losses = train(per_call=4)
    np.testing.assert_allclose(single_losses, scanned_losses, rtol=1e-5)
    assert_close(single.params, scanned.params, rtol=1e-4, atol=1e-6)


def test_a_step_equals_plain_flax_and_optax(small_pool, small_splits):
    """The first step of fold 1, written out with none of the project's training code."""
    split = small_splits[:1]
    state, losses = trained(small_pool, split, PLAIN, n_steps=1)
    network = models.build(NETWORK, 3)
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

    @jax.jit
    def step(params):
        value, grads = jax.value_and_grad(loss)(params)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return value, optax.apply_updates(params, updates)

    value, params = step(variables["params"])
    np.testing.assert_allclose(losses[0, 0], value, rtol=1e-5)
    assert_close(jax.tree.map(lambda leaf: leaf[0], state.params), params, rtol=1e-4, atol=1e-6)


def test_golden_first_loss(small_pool, small_splits):
    state, losses = trained(small_pool, small_splits, n_steps=1)
    golden = [1.471419, 1.032164, 1.013296, 0.858046]
    np.testing.assert_allclose(losses[:, 0], golden, rtol=1e-4)
    stem = state.params["stem"]["kernel"]
    assert not np.allclose(stem[0], stem[1])  # folds start from values of their own


def test_training_learns_and_evaluates(small_pool, small_splits):
    mesh, _, steps = compiled(PLAIN)
    splits = small_splits[:1]
    recipe = RECIPE.replace(lr=3e-2)
    state, losses = trained(small_pool, splits, PLAIN, n_steps=40, recipe=recipe)
    assert (losses[:, -5:].mean(axis=1) < 0.6 * losses[:, 0]).all()
    clips = batches.padded_indices([split.held_out for split in splits], 16)[:, 0]  # (F, B)
    logits = steps.evaluate(put(state, mesh, PER_FOLD), put(small_pool, mesh, SHARED), clips)
    right = np.asarray(logits).argmax(-1) == small_pool.targets[clips]
    assert right[clips >= 0].mean() > 0.8


def test_keep_best_keeps_the_first_of_equals(small_pool, small_splits):
    mesh, model, steps = compiled()
    state = init_state(model, small_splits, small_pool)
    zeros = functools.partial(jax.tree.map, np.zeros_like)
    best = BestEpoch(
        zeros(state.params),
        zeros(state.batch_stats),
        np.array([0.2, 0.9, 0.5, -1], np.float32),
        np.full(4, 3, np.int32),
    )
    best = put(best, mesh, PER_FOLD)
    scores, epochs = np.full(4, 0.5, np.float32), np.full(4, 4, np.int32)
    best = steps.keep_best(best, put(state, mesh, PER_FOLD), scores, epochs)
    np.testing.assert_array_equal(best.epoch, [4, 3, 3, 4])
    np.testing.assert_allclose(best.score, [0.5, 0.9, 0.5, 0.5])
    stem = np.asarray(best.params["stem"]["kernel"])
    np.testing.assert_array_equal(stem[0], state.params["stem"]["kernel"][0])
    assert not stem[1].any()
