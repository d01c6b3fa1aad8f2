"""A convolution and its gradients as matrix products of the windows that the kernel sees.

On an accelerator this is for small maps and for few channels. There the windows, as many times the
map as the kernel has taps, cost little to write, and one product serves all folds. XLA does not
know the gradient by the kernel of a map that is narrower than the kernel for what it is; and the
fast kernels of cuDNN take channels by eights.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Windows:
    """Of a convolution (B, ..., C) x (..., C, D) -> (B, ..., D), each entry one spatial axis's.

    Attributes:
      extent: of the input.
      taps: of the kernel.
      strides: of the window.
      padding: before and after.
      precision: of the products, as `jax.lax.dot` takes it.
    """

    extent: Sequence[int]
    taps: Sequence[int]
    strides: Sequence[int]
    padding: Sequence[tuple[int, int]]
    precision: jax.lax.PrecisionLike = None

    def forward(self, lhs: jax.Array, rhs: jax.Array) -> jax.Array:
        """The convolution."""
        kernel = rhs.reshape(-1, rhs.shape[-1])
        return jnp.matmul(self._windows(lhs), kernel, precision=self.precision)

    def rhs_gradient(self, lhs: jax.Array, out: jax.Array) -> jax.Array:
        """The transpose by the kernel: (B, ..., C), (B, ..., D) -> (..., C, D)."""
        rows = [x.reshape(-1, x.shape[-1]) for x in (self._windows(lhs), out)]
        product = jnp.matmul(rows[0].T, rows[1], precision=self.precision)
        return product.reshape(*self.taps, lhs.shape[-1], out.shape[-1])

    def lhs_gradient(self, out: jax.Array, rhs: jax.Array) -> jax.Array:
        """The transpose by the input: (B, ..., D), (..., C, D) -> (B, ..., C)."""
        axes = zip(out.shape[1:-1], self.extent, self.taps, self.strides, self.padding, strict=True)
        padding = []
        for n_out, extent, taps, stride, (before, _) in axes:
            low = taps - 1 - before
            padding.append((low, extent + before - stride * (n_out - 1) - 1, stride - 1))
        windows = _windows(out, self.taps, (1,) * len(self.taps), padding)
        kernel = jnp.flip(rhs, range(len(self.taps))).swapaxes(-1, -2)
        return jnp.matmul(windows, kernel.reshape(-1, kernel.shape[-1]), precision=self.precision)

    def lhs_gradient_by_sums(self, out: jax.Array, rhs: jax.Array) -> jax.Array:
        """The same in float32, as what each place gives to its window, summed where these overlap.

        It takes taps * C values of each place, and the other way taps * D of each of the input's.
        """
        kernel = rhs.reshape(-1, rhs.shape[-1]).T
        given = jnp.matmul(
            out, kernel, precision=self.precision, preferred_element_type=jnp.float32
        )
        axes = list(zip(out.shape[1:-1], self.extent, self.strides, self.padding, strict=True))
        total = 0.0
        for tap, part in zip(
            itertools.product(*map(range, self.taps)),
            jnp.split(given, math.prod(self.taps), axis=-1),
            strict=True,
        ):
            padding = []
            for t, (n_out, extent, stride, (before, _)) in zip(tap, axes, strict=True):
                low = t - before
                padding.append((low, extent - low - stride * (n_out - 1) - 1, stride - 1))
            total += jax.lax.pad(part, 0.0, [(0, 0, 0), *padding, (0, 0, 0)])
        return total

    def _windows(self, lhs: jax.Array) -> jax.Array:
        padding = [(before, after, 0) for before, after in self.padding]
        return _windows(lhs, self.taps, self.strides, padding)


def _windows(
    x: jax.Array,
    taps: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int, int]],
) -> jax.Array:
    """(B, ..., C) -> (B, ..., taps * C): what the kernel sees at each of its places."""
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *padding, (0, 0, 0)])
    axes = list(zip(x.shape[1:-1], taps, strides, strict=True))
    spans = [(extent - n_taps) // stride * stride + 1 for extent, n_taps, stride in axes]
    parts = []
    for tap in itertools.product(*map(range, taps)):
        chosen = (slice(t, t + span, s) for t, span, s in zip(tap, spans, strides, strict=True))
        parts.append(x[:, *chosen])
    return jnp.concatenate(parts, axis=-1)
