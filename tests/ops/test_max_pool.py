"""Max pooling against flax's, with its gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asc_jax.ops.max_pool import max_pool
from asc_jax.runtime import backend


def reference(x):
    return nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))


def gradient(pool, x, dy):
    return jax.jit(lambda x, dy: jax.vjp(pool, x)[1](dy)[0])(x, dy)


@pytest.fixture(params=["cpu", "gpu", "tpu"], autouse=True)
def platform(request, monkeypatch):
    """Whose code runs here."""
    monkeypatch.setattr(backend, "platform", lambda: request.param)


@pytest.mark.parametrize("extent", [(8, 6), (7, 5), (2, 1)])
def test_equals_flax_with_its_gradient(extent):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *extent, 3)).astype(np.float32)
    expected, ours = reference(x), max_pool(x)
    np.testing.assert_array_equal(ours, expected)
    dy = rng.standard_normal(ours.shape).astype(np.float32)
    np.testing.assert_allclose(gradient(max_pool, x, dy), gradient(reference, x, dy), atol=1e-6)


def test_ties_pass_a_gradient_once():
    x = jnp.zeros((1, 6, 6, 1))
    dy = gradient(max_pool, x, jnp.ones((1, 3, 3, 1)))
    assert float(dy.sum()) == 9
