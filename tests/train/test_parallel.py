"""The mesh, and what the compiled program of all folds may contain."""

import functools

import jax
import numpy as np
import pytest

from asc_jax.train import parallel


@pytest.mark.parametrize(
    ("n_folds", "batch_size", "n_devices", "shape"),
    [
        (4, 32, 1, (1, 1)),
        (4, 32, 4, (4, 1)),
        (4, 32, 8, (4, 2)),
        (1, 32, 8, (1, 8)),
        (5, 16, 8, (1, 8)),
        (5, 16, 5, (5, 1)),
        (3, 7, 2, (1, 1)),
        (4, 6, 3, (1, 3)),
        (4, 1, 8, (4, 1)),
    ],
)
def test_mesh_divides_folds_and_batches(n_folds, batch_size, n_devices, shape):
    mesh = parallel.make_mesh(n_folds, batch_size, jax.devices()[:n_devices])
    assert tuple(mesh.shape.values()) == shape
    assert n_folds % shape[0] == 0 and batch_size % shape[1] == 0


def test_mesh_takes_all_devices_by_default():
    assert parallel.make_mesh(4, 8).devices.size == len(jax.devices()) == 8


def test_map_folds_maps_shares_and_reduces():
    mesh = parallel.make_mesh(4, 8)

    def step(state, pool, batch):
        total = jax.lax.psum(batch.sum(), parallel.DATA)
        return state + total, pool[batch]

    mapped = parallel.map_folds(
        step,
        mesh,
        in_specs=(parallel.PER_FOLD, parallel.SHARED, parallel.PER_EXAMPLE),
        out_specs=(parallel.PER_FOLD, parallel.PER_EXAMPLE),
    )
    state, pool = np.arange(4.0), np.arange(100.0) ** 2
    batch = np.arange(32).reshape(4, 8)
    sums, rows = mapped(state, pool, batch)
    np.testing.assert_allclose(sums, state + batch.sum(1))
    np.testing.assert_allclose(rows, pool[batch])


def test_the_training_program_gathers_nothing(small_pool, small_splits, small_model):
    """Folds and batches stay where they are; only sums cross the devices."""
    from asc_jax import models
    from asc_jax.augment import Augmentation
    from asc_jax.data import batches
    from asc_jax.data.pool import log_mels
    from asc_jax.frontend import FrontendConfig
    from asc_jax.train import classifier
    from asc_jax.train.optimizer import make_optimizer

    mesh = parallel.make_mesh(4, 8)
    frontend = FrontendConfig(n_mels=16)
    network = models.build(small_model, 3, axis_name=parallel.DATA)
    optimizer = make_optimizer(
        name="adam", lr=1e-3, schedule="constant", n_steps=1, weight_decay=0, clip_norm=0
    )
    state = classifier.init_state(
        network, optimizer, small_splits, small_pool, seed=0, frontend=frontend, n_frames=0
    )
    steps = classifier.compile_steps(
        mesh,
        network,
        optimizer,
        features=functools.partial(log_mels, frontend=frontend, n_frames=0),
        augmentation=Augmentation(),
        label_smoothing=0,
    )
    indices = batches.epoch_indices(small_splits, seed=0, epoch=0, n_steps=1, batch_size=8)
    text = steps.train.lower(state, small_pool, indices).compile().as_text()
    assert "all-reduce" in text
    assert "all-gather" not in text and "all-to-all" not in text
