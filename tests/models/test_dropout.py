"""Dropout and phase shuffle: what is drawn for an example, on any number of shards."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from networks import some_variables

from asc_jax.models.dropout import DROPOUT_STREAM, Dropout
from asc_jax.models.phase_shuffle import phase_shuffle
from asc_jax.models.resnet import ResNet

RATE = 0.3
ONES = np.ones((8, 40, 25), np.float32)


def on_shards(call, x: np.ndarray, n_shards: int) -> np.ndarray:
    """The result for a batch of which every device has a share."""
    mesh = Mesh(np.array(jax.devices()[:n_shards]), ("data",))
    sharded = jax.shard_map(call, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    return np.asarray(jax.jit(sharded)(x))


def dropped(x, *, axis_name="data", train=True):
    rngs = {DROPOUT_STREAM: jax.random.key(3)}
    return Dropout(RATE, axis_name).apply({}, x, train=train, rngs=rngs)


def shuffled(x):
    key = jax.random.key(3)
    return phase_shuffle(x, key, radius=3, sharing="per_example", axis_name="data")


@pytest.mark.parametrize("n_shards", [2, 8])
def test_masks_and_shifts_do_not_depend_on_the_shards(n_shards):
    x = np.random.default_rng(0).standard_normal(ONES.shape).astype(np.float32)
    for call in (dropped, shuffled):
        one = on_shards(call, x, 1)
        assert (one != x).any()
        np.testing.assert_array_equal(on_shards(call, x, n_shards), one)


def test_a_mask_per_example_that_keeps_the_mean():
    y = np.asarray(jax.jit(functools.partial(dropped, axis_name=None))(ONES))
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - RATE)], rtol=1e-6)
    deviation = np.sqrt(RATE * (1 - RATE) / y[0].size)
    assert (np.abs((y == 0).mean(axis=(1, 2)) - RATE) < 4 * deviation).all()
    assert len({example.tobytes() for example in y}) == len(y)


def test_evaluation_drops_nothing():
    np.testing.assert_array_equal(dropped(ONES, axis_name=None, train=False), ONES)


def test_a_resnet_drops_of_the_pooled_map_in_training_alone():
    network = ResNet(8, stage_sizes=(1, 1), stage_strides=(1, 2), width=4)
    dropping = network.clone(dropout_rate=RATE)
    x = np.random.default_rng(0).standard_normal((16, 24, 16)).astype(np.float32)
    variables = some_variables(network, x.shape)
    jax.tree.map(
        np.testing.assert_array_equal,
        variables,
        some_variables(dropping, x.shape),
    )
    # A last layer that shows what it is given: eight classes, eight channels.
    variables["params"]["classifier"] = {"kernel": np.eye(8, dtype=np.float32), "bias": np.zeros(8)}

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def logits(network, train, **rngs):
        return network.apply(variables, x, train=train, mutable=["batch_stats"], rngs=rngs)

    pooled, statistics = logits(network, True)  # no dropout, and no key for it
    dropped, same_statistics = logits(dropping, True, **{DROPOUT_STREAM: jax.random.key(3)})
    jax.tree.map(np.testing.assert_array_equal, statistics, same_statistics)
    assert 0.15 < (dropped == 0).mean() < 0.45
    np.testing.assert_allclose(dropped, np.where(dropped == 0, 0, pooled / (1 - RATE)), rtol=1e-6)
    np.testing.assert_array_equal(logits(dropping, False)[0], logits(network, False)[0])
