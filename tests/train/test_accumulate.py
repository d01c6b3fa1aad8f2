"""The gradient of a batch, taken part by part."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest
from small_model import init_state, make_model

from asc_jax.data import batches
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import make_mesh
from asc_jax.train import classifier


class Net(nn.Module):
    """Knows no other example, and counts the batches that it sees."""

    @nn.compact
    def __call__(self, x, *, train):
        seen = self.variable("seen", "batches", lambda: np.float32(0))
        if train:
            seen.value += 1
        x = nn.LayerNorm()(nn.Dense(8)(x))
        return nn.Dense(3)(nn.relu(x).mean(1))


@pytest.mark.parametrize("devices", [1, 4])
def test_parts_have_the_gradient_of_the_whole(small_pool, small_splits, devices):
    mesh = make_mesh(len(small_splits), 8 // 4, jax.devices()[:devices])
    whole = make_model(Net(), optimizer="sgd")
    clips = batches.epoch_indices(small_splits, seed=7, epoch=0, n_steps=2, batch_size=8)
    found = []
    for model in (whole, dataclasses.replace(whole, accumulate=4)):
        state = put(init_state(model, small_splits, small_pool), mesh, PER_FOLD)
        steps = classifier.compile_steps(mesh, model)
        state, metrics = steps.train(state, put(small_pool, mesh, SHARED), clips)
        found.append(jax.device_get((state.params, metrics, state.collections)))
    (params, metrics, seen), (of_parts, metrics_of_parts, seen_of_parts) = found
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        *((params, metrics), (of_parts, metrics_of_parts)),
    )
    np.testing.assert_array_equal(seen_of_parts["seen"]["batches"], 8)
    np.testing.assert_array_equal(seen["seen"]["batches"], 2)
