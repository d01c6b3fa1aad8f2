"""Max pooling against flax's, with its gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asc_jax.ops.max_pool import max_pool


def reference(x):
    return nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))


@pytest.mark.parametrize("extent", [(8, 6), (7, 5), (2, 1)])
def test_equals_flax_with_its_gradient(extent):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *extent, 3)).astype(np.float32)
    expected, transpose = jax.vjp(reference, x)
    ours, our_transpose = jax.vjp(max_pool, x)
    np.testing.assert_array_equal(ours, expected)
    dy = rng.standard_normal(ours.shape).astype(np.float32)
    np.testing.assert_allclose(our_transpose(dy)[0], transpose(dy)[0], atol=1e-6)


def test_ties_pass_a_gradient_once():
    x = jnp.zeros((1, 6, 6, 1))
    dy = jax.vjp(max_pool, x)[1](jnp.ones((1, 3, 3, 1)))[0]
    assert float(dy.sum()) == 9
