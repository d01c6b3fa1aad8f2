"""Batch normalisation against flax's: values, statistics and gradients, whole and sharded."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from asc_jax.ops import batch_norm
from asc_jax.ops.batch_norm import BatchNorm, channel_sums


def example(*shape: int):
    rng = np.random.default_rng(0)
    x = np.float32(3 + 2 * rng.standard_normal(shape))
    channels = shape[-1]
    variables = {
        "params": {
            "scale": np.float32(rng.uniform(0.5, 1.5, channels)),
            "bias": np.float32(rng.standard_normal(channels)),
        },
        "batch_stats": {
            "mean": np.float32(rng.standard_normal(channels)),
            "var": np.float32(rng.uniform(0.5, 1.5, channels)),
        },
    }
    return variables, x


@functools.partial(jax.jit, static_argnums=0)
def everything(module, variables, x):
    """Output, statistics, and the gradients of a loss that is not linear."""

    def loss(params, x):
        y, updated = module.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        weights = jnp.arange(y.size, dtype=jnp.float32).reshape(y.shape) / y.size
        return jnp.mean(jnp.sin(y.astype(jnp.float32)) * weights), (y, updated)

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(variables["params"], x)


def assert_close(ours, expected, tolerance) -> None:
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(
            np.asarray(one, np.float32), np.asarray(other, np.float32), rtol=tolerance,
            atol=tolerance * max(1e-3, float(jnp.abs(other).max())),
        )  # fmt: skip


@pytest.mark.parametrize("shape", [(4, 6, 5, 3), (3, 7, 1, 2), (1, 8)])
@pytest.mark.parametrize("training", [True, False])
def test_equals_flax(shape, training):
    variables, x = example(*shape)
    options = {"use_running_average": not training, "momentum": 0.9}
    ours, theirs = (everything(one(**options), variables, x) for one in (BatchNorm, nn.BatchNorm))
    assert_close(ours, theirs, 2e-4 if training else 1e-5)


def test_bfloat16_keeps_its_sums_and_statistics_in_float32():
    variables, x = example(4, 6, 5, 3)
    x = x.astype(jnp.bfloat16)
    (_, (y, updated)), (grads, dx) = everything(
        BatchNorm(use_running_average=False, dtype=jnp.bfloat16), variables, x
    )
    assert y.dtype == dx.dtype == jnp.bfloat16
    assert grads["scale"].dtype == updated["batch_stats"]["mean"].dtype == jnp.float32
    mean = np.float32(x).reshape(-1, 3).mean(0)
    expected = 0.99 * variables["batch_stats"]["mean"] + 0.01 * mean
    np.testing.assert_allclose(updated["batch_stats"]["mean"], expected, rtol=1e-5)


def test_a_sharded_batch_has_the_statistics_and_gradients_of_the_whole():
    variables, x = example(8, 6, 5, 3)
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))

    def loss(params, x, axis_name):
        module = BatchNorm(use_running_average=False, axis_name=axis_name)
        y, updated = module.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        return jnp.mean(jnp.sin(y) * x), updated

    def sharded_loss(params, x):
        params = jax.lax.pcast(params, "data", to="varying")
        value, updated = loss(params, x, "data")
        return jax.lax.pmean(value, "data"), updated

    gradients = jax.value_and_grad(sharded_loss, argnums=(0, 1), has_aux=True)
    sharded = jax.shard_map(
        gradients, mesh=mesh, in_specs=(P(), P("data")), out_specs=((P(), P()), (P(), P("data")))
    )
    whole = jax.value_and_grad(functools.partial(loss, axis_name=None), (0, 1), has_aux=True)
    params = variables["params"]
    assert_close(jax.jit(sharded)(params, x), jax.jit(whole)(params, x), 1e-4)


@pytest.mark.parametrize("cpu", [True, False])
def test_channel_sums_are_sums(cpu, monkeypatch):
    monkeypatch.setattr(batch_norm, "on_cpu", lambda: cpu)  # an accelerator's code runs here too
    x = np.random.default_rng(0).standard_normal((6, 4, 2, 3)).astype(np.float32)
    mean = np.float32([1, 2, 3])
    total, product = channel_sums(lambda x, mean: (x, x * mean), x, mean)
    np.testing.assert_allclose(total, x.sum((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(product, x.sum((0, 1, 2)) * mean, rtol=1e-5)
