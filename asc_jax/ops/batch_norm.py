"""Batch normalisation in two passes over the data: one for its sums, one for its values."""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from asc_jax.runtime.backend import on_cpu


class BatchNorm(nn.BatchNorm):
    """`flax.linen.BatchNorm` over the last axis, with a gradient written by hand.

    The gradient needs the input and no more, where differentiating flax's keeps several maps
    and sums more often. Parameters, statistics and sums are float32.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., C) -> (..., C)."""
        channels = x.shape[-1:]
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        scale = self.param("scale", self.scale_init, channels, jnp.float32)
        bias = self.param("bias", self.bias_init, channels, jnp.float32)
        if self.use_running_average:
            factor = scale * jax.lax.rsqrt(var.value + self.epsilon)
            y = (x - mean.value) * factor + bias
        else:
            axis_name = None if self.is_initializing() else self.axis_name
            y, batch_mean, batch_var = normalise(x, scale, bias, self.epsilon, axis_name)
            if not self.is_initializing():
                keep = self.momentum
                mean.value = keep * mean.value + (1 - keep) * batch_mean
                var.value = keep * var.value + (1 - keep) * batch_var
        return y.astype(self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalise(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises every channel by its own mean and variance.

    Args:
      x: (..., C).
      scale: (C,).
      bias: (C,).
      epsilon: added to the variance.
      axis_name: mesh axis that the batch is sharded over, or None.

    Returns:
      (..., C) float32, and the (C,) mean and biased variance, which no gradient passes.

    Source: Ioffe and Szegedy, arXiv:1502.03167.
    """
    return _normalise(x, scale, bias, epsilon, axis_name)[0]


def _normalise(x, scale, bias, epsilon, axis_name):
    n = _count(x, axis_name)
    total, square = _over_shards(channel_sums(_moments, x), axis_name)
    mean = total / n
    var = jnp.maximum(0.0, square / n - jnp.square(mean))
    inverse = jax.lax.rsqrt(var + epsilon)
    y = (x - mean) * (inverse * scale) + bias
    return (y, mean, var), (x, scale, mean, inverse)


def _backward(epsilon, axis_name, saved, gradients):
    x, scale, mean, inverse = saved
    dy = gradients[0]
    dbias, dy_x = channel_sums(_gradient_moments, x, dy, mean)
    dscale = inverse * dy_x
    # Parameters are per shard, and summed where the step says so; the mean is of all shards.
    n = _count(x, axis_name)
    total, total_x = _over_shards((dbias, dscale), axis_name)
    dx = (inverse * scale) * (dy - total / n - (x - mean) * (inverse * total_x / n))
    return dx.astype(x.dtype), dscale, dbias


normalise.defvjp(_normalise, _backward)


@functools.partial(jax.jit, static_argnums=0)
def channel_sums(terms: Callable, x: jax.Array, *others: jax.Array) -> tuple[jax.Array, ...]:
    """The sums over all axes but the last of elementwise functions of a map.

    XLA on a CPU writes the terms to memory before it sums them. Adding slices to one another
    first fuses into one pass, which also is the shorter sum to round.

    Args:
      terms: (n, C), ... -> (n, C), ...; the functions.
      x: (..., C).
      *others: their further arguments; (..., C) or (C,).

    Returns:
      (C,) each.
    """
    channels = x.shape[-1]
    rows = [y.reshape(-1, channels) for y in (x, *others)]
    n_slices = math.gcd(len(rows[0]), 8) if on_cpu() else 1
    parts = [jnp.split(y, n_slices) if len(y) > 1 else [y] * n_slices for y in rows]
    each = [terms(*part) for part in zip(*parts, strict=True)]
    return tuple(sum(term).sum(0) for term in zip(*each, strict=True))


def _moments(x):
    x = x.astype(jnp.float32)
    return x, jnp.square(x)


def _gradient_moments(x, dy, mean):
    return dy, (x - mean) * dy


def _over_shards(totals, axis_name: str | None):
    return jax.lax.psum(totals, axis_name) if axis_name else totals


def _count(x: jax.Array, axis_name: str | None) -> int:
    """How many values a channel has over all shards."""
    return (x.size // x.shape[-1]) * (jax.lax.axis_size(axis_name) if axis_name else 1)
