"""Arrays between host and devices: placed on a mesh, fetched from it, exchanged over it."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from asc_jax.parallel.mapping import COMPILER_OPTIONS, PER_FOLD, SHARED, SPREAD
from asc_jax.parallel.mesh import DATA, FOLD


def put(tree, mesh: Mesh, spec: P):
    """Places host arrays on the mesh's devices; with several processes each holds all of them."""
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(lambda leaf: put_like(leaf, sharding), tree)


def put_like(leaf, sharding: jax.sharding.Sharding) -> jax.Array:
    """Places one host array."""
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    # `device_put` would first compare what the processes hold.
    leaf = np.asarray(leaf)
    return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])


def shapes_per_fold(tree, n_folds: int, mesh: Mesh):
    """What a tree of one fold is for so many, placed `PER_FOLD`; nothing is placed."""
    sharding = NamedSharding(mesh, PER_FOLD)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((n_folds, *leaf.shape), leaf.dtype, sharding=sharding),
        tree,
    )


def fetch(tree):
    """A tree as host arrays, whole on every process. All processes must ask for it."""
    leaves, structure = jax.tree.flatten(tree)
    apart = [
        i
        for i, leaf in enumerate(leaves)
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    ]
    if apart:
        everywhere = NamedSharding(leaves[apart[0]].sharding.mesh, SHARED)
        gathered = jax.jit(_same, out_shardings=everywhere)([leaves[i] for i in apart])
        for i, leaf in zip(apart, gathered, strict=True):
            leaves[i] = leaf
    return jax.tree.unflatten(structure, jax.device_get(leaves))


def _same(leaves: list[jax.Array]) -> list[jax.Array]:
    return leaves


def put_spread(read: Callable[[np.ndarray, int], object], n_rows: int, mesh: Mesh):
    """Places rows on the mesh's devices, every row on one of them.

    Args:
      read: (m,) ascending rows and a size -> these rows as a tree of host arrays, filled up to
        that size; called for one device after the other.
      n_rows: of all.
      mesh: from `make_mesh`.

    Returns:
      The tree, every leaf `SPREAD`.
    """
    size = -(-n_rows // mesh.size)  # of a device's share
    shares = []
    for place, device in enumerate(mesh.devices.flat):
        if device.process_index == jax.process_index():
            rows = np.arange(min(place * size, n_rows), min((place + 1) * size, n_rows))
            shares.append(jax.device_put(read(rows, size), device))
    sharding = NamedSharding(mesh, SPREAD)

    def joined(*leaves):
        shape = (size * mesh.size, *leaves[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, leaves)

    return jax.tree.map(joined, *shares)


def exchange_rows(mesh: Mesh) -> Callable:
    """Compiles the exchange of some rows among the devices that hold them.

    Args:
      mesh: of the rows.

    Returns:
      (tree of `put_spread`, (n,) int32 rows) -> a tree of (n, ...) that is the same on every
      device, bit for bit that of the rows; zeros for a row of -1.
    """

    def exchange(tree, rows):
        device = jax.lax.axis_index((FOLD, DATA))

        def leaf(share):
            own = rows - device * len(share)
            mine = (rows >= 0) & (own >= 0) & (own < len(share))
            words = _words(share[jnp.where(mine, own, 0)])
            # A row is nonzero on one device at most: integers then add up without a change.
            words = jax.lax.psum(jnp.where(mine[:, None], words, 0), (FOLD, DATA))
            return _values(words, share)

        return jax.tree.map(leaf, tree)

    options = COMPILER_OPTIONS.get(mesh.devices.flat[0].platform)
    exchange = jax.shard_map(exchange, mesh=mesh, in_specs=(SPREAD, SHARED), out_specs=SHARED)
    return jax.jit(exchange, compiler_options=options)


def _words(rows: jax.Array) -> jax.Array:
    """(n, ...) values of 2 or 4 bytes -> (n, words) int32: NCCL adds no integers of 2 bytes."""
    rows = rows.reshape(len(rows), -1)
    if rows.dtype.itemsize == 2:
        rows = jnp.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(len(rows), -1, 2)
    return jax.lax.bitcast_convert_type(rows, jnp.int32)


def _values(words: jax.Array, like: jax.Array) -> jax.Array:
    """The inverse of `_words`; `like` has the rows' dtype and shape but for their number."""
    values = jax.lax.bitcast_convert_type(words, like.dtype).reshape(len(words), -1)
    return values[:, : math.prod(like.shape[1:])].reshape(-1, *like.shape[1:])
