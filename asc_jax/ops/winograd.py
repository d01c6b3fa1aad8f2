"""3x3 convolutions over maps of few rows as matrix products, by Winograd's method along time.

XLA's convolutions on a CPU are fast forwards, but their gradient by the kernel transposes
whole maps, and folds can only take turns. Matrix products have neither fault: a fold axis is
a batch axis of theirs. Winograd's F(4, 3) gives four neighbouring frames of the output for
six products instead of twelve. The few rows of the map become part of the products' inner
axis, with a banded matrix for a kernel; that multiplies some zeros, and pays as long as the
rows are few.

With `V` the input and `U` the kernel in Winograd's domain (six points each), the output is
`OUTPUT @ (V * U)`; all three transforms are linear, so that the gradient by the kernel takes
the same steps in reverse.

Source: Lavin and Gray, arXiv:1509.09308, §4.3; Winograd, "Arithmetic Complexity of
Computations", 1980.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

# One row per point 0, 1, -1, 2, -2 and infinity.
INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
OUTPUT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)
TILE = 4  # output frames per tile

# Maps of more rows are cut into blocks: their banded kernels would hold too many zeros.
MOST_ROWS = 6
ROWS_PER_BLOCK = 5


@jax.jit  # traced once per shape
def forward(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    """(B, W, H, C), (3, 3, C, D) -> (B, W, H, D): stride 1, zero padding of 1 on all sides."""
    _, n_frames, n_rows, _ = lhs.shape
    lhs, rows_per_block = _input_blocks(lhs)
    kernels = [_band(u, lhs.shape[2], rows_per_block) for u in _combine(KERNEL, list(rhs))]
    products = [v @ u for v, u in zip(_input_points(lhs), kernels, strict=True)]
    tiles = jnp.stack(_combine(OUTPUT, products), axis=1)  # (B * tiles, TILE, H * D)
    out = tiles.reshape(lhs.shape[0], -1, rows_per_block, rhs.shape[-1])[:, :n_frames]
    n_blocks = -(-n_rows // rows_per_block)
    return jnp.concatenate(jnp.split(out, n_blocks), axis=2)[:, :, :n_rows]


@jax.jit  # traced once per shape
def lhs_gradient(out: jax.Array, rhs: jax.Array) -> jax.Array:
    """The transpose of `forward` by its input: (B, W, H, D), (3, 3, C, D) -> (B, W, H, C)."""
    batch, n_frames, n_rows, _ = out.shape
    if n_rows > MOST_ROWS:
        return forward(out, rhs[::-1, ::-1].swapaxes(2, 3))
    kernels = [_band(u, n_rows, n_rows) for u in _combine(KERNEL, list(rhs))]
    products = [m @ u.T for m, u in zip(_output_points(out), kernels, strict=True)]
    columns = [
        column.reshape(batch, -1, n_rows * rhs.shape[2]) for column in _combine(INPUT.T, products)
    ]
    # A tile's last two frames are the next tile's first two.
    here = [jnp.pad(column, ((0, 0), (0, 1), (0, 0))) for column in columns[:TILE]]
    next_ = [jnp.pad(column, ((0, 0), (1, 0), (0, 0))) for column in columns[TILE:]]
    frames = jnp.stack([here[0] + next_[0], here[1] + next_[1], *here[2:]], axis=2)
    return frames.reshape(batch, -1, n_rows, rhs.shape[2])[:, 1 : 1 + n_frames]


@jax.jit  # traced once per shape
def rhs_gradient(lhs: jax.Array, out: jax.Array) -> jax.Array:
    """The transpose of `forward` by its kernel: (B, W, H, C), (B, W, H, D) -> (3, 3, C, D)."""
    lhs, rows_per_block = _input_blocks(lhs)
    out = _blocks(out, rows_per_block, 0)
    shape = (lhs.shape[2], lhs.shape[3], rows_per_block, out.shape[3])
    kernels = [
        _unband((v.T @ m).reshape(shape))
        for v, m in zip(_input_points(lhs), _output_points(out), strict=True)
    ]
    return jnp.stack(_combine(KERNEL.T, kernels))


def _input_blocks(lhs: jax.Array) -> tuple[jax.Array, int]:
    """Maps of many rows as a larger batch of maps of few.

    Returns:
      (blocks * B, W, rows, C), and how many rows of the output a block gives. Its own rows
      are as many, or with a neighbour on both sides where there are several blocks.
    """
    n_rows = lhs.shape[2]
    if n_rows <= MOST_ROWS:
        return lhs, n_rows
    return _blocks(lhs, ROWS_PER_BLOCK, 1), ROWS_PER_BLOCK


def _blocks(x: jax.Array, rows_per_block: int, halo: int) -> jax.Array:
    """(B, W, H, C) -> (blocks * B, W, rows_per_block + 2 * halo, C), zeros beyond both ends."""
    n_rows = x.shape[2]
    n_blocks = -(-n_rows // rows_per_block)
    after = n_blocks * rows_per_block - n_rows
    x = jnp.pad(x, ((0, 0), (0, 0), (halo, halo + after), (0, 0)))
    starts = [block * rows_per_block for block in range(n_blocks)]
    return jnp.concatenate([x[:, :, row : row + rows_per_block + 2 * halo] for row in starts])


def _combine(matrix: np.ndarray, terms: Sequence[jax.Array]) -> list[jax.Array]:
    """The product of a small constant matrix and a vector of arrays, zeros left out."""
    return [
        sum(float(factor) * term for factor, term in zip(row, terms, strict=True) if factor)
        for row in matrix
    ]


def _n_tiles(x: jax.Array) -> int:
    return -(-x.shape[1] // TILE)


def _frames(x: jax.Array, before: int, n_tiles: int) -> jax.Array:
    """(B, W, H, C) -> (B, n_tiles, TILE, H * C), zeros before and after."""
    batch, n_frames, n_rows, channels = x.shape
    after = n_tiles * TILE - before - n_frames
    x = jnp.pad(x.reshape(batch, n_frames, -1), ((0, 0), (before, after), (0, 0)))
    return x.reshape(batch, n_tiles, TILE, n_rows * channels)


def _input_points(lhs: jax.Array) -> list[jax.Array]:
    """The input in Winograd's domain: six times (B * tiles, H * C)."""
    frames = _frames(lhs, 1, _n_tiles(lhs) + 1)  # tiles overlap by two frames
    here, next_ = frames[:, :-1], frames[:, 1:]
    columns = [here[:, :, j] for j in range(TILE)] + [next_[:, :, j] for j in range(2)]
    return _combine(INPUT, [column.reshape(-1, frames.shape[-1]) for column in columns])


def _output_points(out: jax.Array) -> list[jax.Array]:
    """An output's gradient in Winograd's domain: six times (B * tiles, H * D)."""
    tiles = _frames(out, 0, _n_tiles(out)).reshape(-1, TILE, out.shape[2] * out.shape[3])
    return _combine(OUTPUT.T, [tiles[:, i] for i in range(TILE)])


def _band(kernel: jax.Array, n_in: int, n_out: int) -> jax.Array:
    """(3, C, D) -> (n_in * C, n_out * D): row to row what a column of the kernel does."""
    _, channels, width = kernel.shape
    first = (n_in - n_out) // 2 - 1  # row of the input under the first tap of output row 0
    padded = jnp.pad(kernel, ((n_in, n_in), (0, 0), (0, 0)))
    columns = [padded[n_in - row - first :][:n_in] for row in range(n_out)]
    return jnp.stack(columns, axis=2).reshape(n_in * channels, n_out * width)


def _unband(band: jax.Array) -> jax.Array:
    """The transpose of `_band`: (n_in, C, n_out, D) -> (3, C, D)."""
    n_in, _, n_out, _ = band.shape
    first = (n_in - n_out) // 2 - 1
    return jnp.stack(
        [
            sum(
                (
                    band[row + tap + first, :, row]
                    for row in range(n_out)
                    if 0 <= row + tap + first < n_in
                ),
                start=jnp.zeros_like(band[0, :, 0]),
            )
            for tap in range(3)
        ]
    )
