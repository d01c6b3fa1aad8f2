"""The gradients of a convolution as convolutions whose axes lie as XLA's CPU kernels want them.

Both gradients are convolutions too: by the input, of the output's gradient with a kernel whose
channels change places; by the kernel, of the input with the output's gradient, where batch and
channels do. JAX says so by naming the axes, and XLA transposes arrays to fit its kernels, but on a
CPU only outside of loops: in the body of one it falls back to code that is up to 50 times slower
(docs/performance.md). With the transposes written out it takes about as long in both.
"""

import dataclasses
from collections.abc import Sequence

import jax


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Of a convolution (B, ..., C) x (..., C, D) -> (B, ..., D), each entry one spatial axis's.

    Attributes:
      extent: of the input.
      taps: of the kernel.
      strides: of the window.
      padding: before and after.
      lhs_dilation: of the input.
      rhs_dilation: of the kernel.
      precision: of the products, as `jax.lax.conv_general_dilated` takes it.
    """

    extent: Sequence[int]
    taps: Sequence[int]
    strides: Sequence[int]
    padding: Sequence[tuple[int, int]]
    lhs_dilation: Sequence[int]
    rhs_dilation: Sequence[int]
    precision: jax.lax.PrecisionLike = None

    def _spans(self) -> list[tuple[int, int, int]]:
        """Frames from the first to the last of input, kernel and output, the dilated ones."""
        spans = []
        for i, (before, after) in enumerate(self.padding):
            lhs = (self.extent[i] - 1) * self.lhs_dilation[i] + 1
            rhs = (self.taps[i] - 1) * self.rhs_dilation[i] + 1
            room = lhs + before + after - rhs  # for the window to move in
            spans.append((lhs, rhs, room - room % self.strides[i] + 1))
        return spans

    def lhs_gradient(self, out: jax.Array, rhs: jax.Array) -> jax.Array:
        """The transpose by the input: (B, ..., D), (..., C, D) -> (B, ..., C)."""
        axes = tuple(range(len(self.taps)))
        padding = [
            (rhs_span - 1 - before, lhs_span - out_span + before)
            for (before, _), (lhs_span, rhs_span, out_span) in zip(
                self.padding, self._spans(), strict=True
            )
        ]
        return _convolve(
            out,
            jax.lax.rev(rhs, axes).swapaxes(-1, -2),
            window_strides=self.lhs_dilation,
            padding=padding,
            lhs_dilation=self.strides,
            rhs_dilation=self.rhs_dilation,
            precision=self.precision,
        )

    def rhs_gradient(self, lhs: jax.Array, out: jax.Array) -> jax.Array:
        """The transpose by the kernel: (B, ..., C), (B, ..., D) -> (..., C, D)."""
        padding = [
            (before, rhs_span - 1 + out_span - lhs_span - before)
            for (before, _), (lhs_span, rhs_span, out_span) in zip(
                self.padding, self._spans(), strict=True
            )
        ]
        gradient = _convolve(
            lhs.swapaxes(0, -1),  # channels are its batch
            _batch_before_channels(out),
            window_strides=self.rhs_dilation,
            padding=padding,
            lhs_dilation=self.lhs_dilation,
            rhs_dilation=self.strides,
            precision=self.precision,
        )
        return _batch_before_channels(gradient)


def _batch_before_channels(x: jax.Array) -> jax.Array:
    """(B, ..., D) -> (..., B, D)."""
    return x.transpose(*range(1, x.ndim - 1), 0, x.ndim - 1)


def _convolve(lhs: jax.Array, rhs: jax.Array, **options) -> jax.Array:
    """(B, ..., C), (..., C, D) -> (B, ..., D)."""
    spatial = "WHT"[: lhs.ndim - 2]
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    return jax.lax.conv_general_dilated(lhs, rhs, dimension_numbers=numbers, **options)
