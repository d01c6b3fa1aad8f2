"""A transposed convolution in time as one matrix product and sums of what overlaps.

It is the gradient of a strided convolution by its input. XLA states it as a convolution of an
input with zeros between its frames, and on a CPU takes up to 30 times as long for it where the
kernel is longer than the map: docs/performance.md.
"""

import jax
import jax.numpy as jnp


def lhs_gradient(
    out: jax.Array, rhs: jax.Array, *, stride: int, before: int, n_frames: int
) -> jax.Array:
    """The transpose, by its input, of a convolution with a stride in time.

    Args:
      out: (B, T', D), the output's gradient.
      rhs: (taps, C, D), the kernel.
      stride: of the convolution, in frames of its input.
      before: frames of zeros that the convolution puts before its input; fewer than 0 for
        frames that it leaves out.
      n_frames: T, of the convolution's input.

    Returns:
      (B, T, C).
    """
    batch, length, width = out.shape
    taps, channels, _ = rhs.shape
    n_steps = -(-taps // stride)  # strides that a kernel reaches over
    columns = (out.reshape(-1, width) @ rhs.reshape(-1, width).T).reshape(batch, length, -1)
    columns = jnp.pad(columns, ((0, 0), (0, 0), (0, (n_steps * stride - taps) * channels)))
    summed = sum(
        jnp.pad(part, ((0, 0), (step, n_steps - 1 - step), (0, 0)))
        for step, part in enumerate(jnp.split(columns, n_steps, axis=2))
    ).reshape(batch, -1, channels)
    after = n_frames + before - summed.shape[1]  # frames that no output has seen, or that are cut
    return jax.lax.pad(
        summed, jnp.zeros((), summed.dtype), ((0, 0, 0), (-before, after, 0), (0, 0, 0))
    )
