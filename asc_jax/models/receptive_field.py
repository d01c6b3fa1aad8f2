"""The receptive field of the residual networks, and the kernels that keep it within a limit."""

from collections.abc import Sequence

from asc_jax.ops import max_pool

# Kernel and stride of the first convolution and of the pooling after it; report, Table 1.
STEM, POOL = (5, 2), (max_pool.WINDOW, max_pool.STRIDE)


def _block_shape(block: str, stride: int) -> tuple[tuple[int, int], ...]:
    """Kernel and stride of a residual block's convolutions."""
    return ((3, stride), (3, 1)) if block == "basic" else ((1, 1), (3, stride), (1, 1))


def kernels_within(
    limit: int, stage_sizes: Sequence[int], stage_strides: Sequence[int], block: str
) -> tuple[list[tuple[int, ...]], int]:
    """The kernel sizes of every residual block, and the receptive field that they give.

    From the first convolution that would take the receptive field beyond the limit on,
    kernels are 1x1, so that depth and channels stay and the field does not grow.

    Args:
      limit: frames; 0 for no limit.
      stage_sizes: blocks per stage.
      stage_strides: stride of each stage's first block.
      block: "basic" or "bottleneck".

    Returns:
      One tuple of kernel sizes per block, in order, and how many input frames one position of
      the last map depends on.

    Source: Koutini et al., arXiv:1907.01803, §3.
    """
    field, jump = 1, 1  # frames seen, and frames from one position to the next
    for kernel, stride in (STEM, POOL):
        field, jump = field + (kernel - 1) * jump, jump * stride
    blocks = []
    for n_blocks, first_stride in zip(stage_sizes, stage_strides, strict=True):
        for number in range(n_blocks):
            kernels = []
            for kernel, stride in _block_shape(block, first_stride if number == 0 else 1):
                if limit and field + (kernel - 1) * jump > limit:
                    kernel = 1
                field, jump = field + (kernel - 1) * jump, jump * stride
                kernels.append(kernel)
            blocks.append(tuple(kernels))
    return blocks, field
