"""Max pooling with a gradient out of slices and comparisons.

XLA's own gradient scatters: on a CPU it is slower than a convolution of the same map, and on
a GPU it cannot be made deterministic.
"""

import functools

import jax
import jax.numpy as jnp

from asc_jax.runtime import backend

WINDOW, STRIDE = 3, 2


def max_pool(x: jax.Array) -> jax.Array:
    """(B, W, H, C) -> (B, ceil(W / 2), ceil(H / 2), C): 3x3, stride 2, padding 1.

    Source: paper Table 1.
    """
    if backend.platform() == "tpu":
        window, strides = (1, WINDOW, WINDOW, 1), (1, STRIDE, STRIDE, 1)
        padding = [(0, 0), (1, 1), (1, 1), (0, 0)]
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)
    return _pool_axis(_pool_axis(x, 1), 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _pool_axis(x: jax.Array, axis: int) -> jax.Array:
    return _forward(x, axis)[0]


def _forward(x, axis):
    left, middle, right = _windows(x, axis)
    y = jnp.maximum(jnp.maximum(left, middle), right)
    return y, (x, y)


def _backward(axis, saved, dy):
    x, y = saved
    left, middle, _ = _windows(x, axis)
    at_left = left == y  # of equal values the first is the maximum
    at_middle = (middle == y) & ~at_left
    to_left = jnp.where(at_left, dy, 0)
    to_middle = jnp.where(at_middle, dy, 0)
    to_right = jnp.where(at_left | at_middle, 0, dy)
    # Window i has its middle at 2 i; place 2 i + 1 is its right and window i + 1's left.
    following = jax.lax.slice_in_dim(to_left, 1, None, axis=axis)
    ends = [(0, 0)] * x.ndim
    ends[axis] = (0, 1)
    dx = jnp.stack([to_middle, to_right + jnp.pad(following, ends)], axis + 1)
    shape = (*x.shape[:axis], -1, *x.shape[axis + 1 :])
    return (jax.lax.slice_in_dim(dx.reshape(shape), 0, x.shape[axis], axis=axis),)


_pool_axis.defvjp(_forward, _backward)


def _windows(x: jax.Array, axis: int) -> list[jax.Array]:
    """The values at the left, in the middle and at the right of every window."""
    n_windows = -(-x.shape[axis] // STRIDE)
    ends = [(0, 0)] * x.ndim
    ends[axis] = (1, STRIDE * n_windows - x.shape[axis])
    padded = jnp.pad(x, ends, constant_values=-jnp.inf)
    return [
        jax.lax.slice_in_dim(padded, i, i + STRIDE * (n_windows - 1) + 1, STRIDE, axis)
        for i in range(WINDOW)
    ]
