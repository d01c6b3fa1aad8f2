"""Drop-path: how often branches are left out, where, and that nothing else changes."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from networks import some_variables

from asc_jax.models.drop_path import branch_factors
from asc_jax.models.dropout import DROPOUT_STREAM
from asc_jax.models.resnet import ResNet

# A loop of five equal blocks behind two that stand alone.
NETWORK = ResNet(3, stage_sizes=(1, 6), stage_strides=(1, 2), width=4, axis_name="data")
X = np.random.default_rng(0).standard_normal((8, 24, 16)).astype(np.float32)


def logits(network, variables, *, train=True, n_shards=1):
    """(B, K) of a batch that is spread over devices."""

    def call(x):
        rngs = {DROPOUT_STREAM: jax.random.key(3)}
        return network.apply(variables, x, train=train, rngs=rngs, mutable=["batch_stats"])[0]

    mesh = Mesh(np.array(jax.devices()[:n_shards]), ("data",))
    sharded = jax.shard_map(call, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    return np.asarray(jax.jit(sharded)(X))


@pytest.fixture(scope="module")
def variables():
    return some_variables(NETWORK, X.shape)


def test_branches_are_left_out_more_often_the_deeper_they_are():
    rate, n_blocks, n = 0.6, 4, 5000
    factors = jax.jit(branch_factors, static_argnums=(1, 2, 3, 4))(
        jax.random.key(0), rate, n_blocks, n, None
    )
    kept = 1 - rate * np.array([1, 2, 3, 4]) / 4
    for row, share in zip(np.asarray(factors), kept, strict=True):
        np.testing.assert_allclose(np.unique(row), [0, 1 / share], rtol=1e-6)
        assert abs((row > 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / n)
    assert abs(np.corrcoef(np.asarray(factors) > 0) - np.eye(n_blocks)).max() < 0.07


def test_a_block_of_which_the_branch_is_left_out_is_its_shortcut(monkeypatch):
    """In loops and out of them: with every branch left out, kernels of branches do not count."""
    network = NETWORK.clone(drop_path_rate=0.5)
    zeros = lambda key, rate, n_blocks, n_examples, axis_name: np.zeros((n_blocks, n_examples))
    monkeypatch.setattr("asc_jax.models.resnet.branch_factors", zeros)
    one, other = (some_variables(network, X.shape, seed) for seed in (0, 1))
    alike = {"stem", "classifier"}
    for name, block in one["params"].items():
        if name in alike:
            other["params"][name] = block
        elif "projection" in block:
            other["params"][name]["projection"] = block["projection"]
    np.testing.assert_array_equal(logits(network, one), logits(network, other))
    assert not np.allclose(logits(NETWORK, one), logits(NETWORK, other))


def test_loops_shards_and_recomputation_change_no_draw(variables):
    network = NETWORK.clone(drop_path_rate=0.5)
    expected = logits(network, variables)
    assert not np.allclose(expected, logits(NETWORK, variables))
    close = functools.partial(np.testing.assert_allclose, desired=expected, rtol=2e-3, atol=2e-4)
    close(logits(network, variables, n_shards=4))
    close(logits(network.clone(remat=True), variables))
    close(logits(network.clone(scan=False), some_variables(network.clone(scan=False), X.shape)))


def test_evaluation_leaves_nothing_out(variables):
    given = [
        logits(network, variables, train=False)
        for network in (NETWORK, NETWORK.clone(drop_path_rate=0.5))
    ]
    np.testing.assert_array_equal(*given)


def test_blocks_are_compiled_as_often_as_without(variables):
    def n_convolutions(network, rate):
        network = network.clone(drop_path_rate=rate, axis_name=None)
        rngs = {DROPOUT_STREAM: jax.random.key(3)}
        step = lambda x: network.apply(variables, x, train=True, rngs=rngs, mutable=["batch_stats"])
        return jax.jit(step).lower(X).as_text().count("stablehlo.convolution")

    assert n_convolutions(NETWORK, 0.5) == n_convolutions(NETWORK, 0.0) > 0
