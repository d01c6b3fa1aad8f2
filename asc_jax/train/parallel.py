"""The fold axis and the devices: the only place with `jit`, `vmap` and `shard_map` of a step.

A step is written for one fold and one shard of its batch. `map_folds` maps it over folds
(`vmap`), spreads folds and batches over a ("fold", "data") mesh (`shard_map`) and compiles
it. One device is a mesh of (1, 1): there is no other path.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

FOLD, DATA = "fold", "data"

# XLA's compiler, by platform.
COMPILER_OPTIONS = {
    # Measured, docs/performance.md: YNNPACK's convolutions run at half the speed of Eigen's;
    # LLVM's second level of optimisation doubles its time and buys nothing here.
    "cpu": {"xla_cpu_experimental_ynn_fusion_type": "", "xla_backend_optimization_level": 1},
}

# How an argument lies on the mesh.
PER_FOLD = P(FOLD)  # (F, ...): a state, a metric
PER_EXAMPLE = P(FOLD, DATA)  # (F, B, ...): a batch, its logits
SHARED = P()  # the same for all folds: the pool
SPREAD = P((FOLD, DATA))  # (n, ...): rows that lie on one device each


def make_mesh(n_folds: int, batch_size: int, devices: Sequence[jax.Device] = ()) -> Mesh:
    """The largest ("fold", "data") mesh that folds and batches divide evenly.

    Args:
      n_folds: folds of the program F.
      batch_size: clips per step and fold B.
      devices: to choose from; all of this process's program by default.

    Returns:
      A mesh of shape (f, d): f divides F and d divides B. Of the meshes that use the most
      devices it is the one with the most folds apart, which need no communication. Devices
      beyond f * d stay idle.
    """
    devices = list(devices) or jax.devices()
    fold_sizes = [f for f in range(1, len(devices) + 1) if n_folds % f == 0]
    shapes = [(f, math.gcd(batch_size, len(devices) // f)) for f in fold_sizes]
    shape = max(shapes, key=lambda shape: (shape[0] * shape[1], shape[0]))
    return Mesh(np.array(devices[: math.prod(shape)]).reshape(shape), (FOLD, DATA))


def map_folds(
    step: Callable,
    mesh: Mesh,
    *,
    in_specs: tuple[P, ...],
    out_specs: P | tuple[P, ...],
    donate: tuple[int, ...] = (),
) -> Callable:
    """Compiles a one-fold step for all folds and devices.

    Args:
      step: of one fold; on its shard of the batch it may reduce over the axis "data".
      mesh: from `make_mesh`.
      in_specs: how each argument lies on the mesh; those `PER_FOLD` or `PER_EXAMPLE` lose
        their leading fold axis in `step`.
      out_specs: the same for the results, which gain a leading fold axis.
      donate: arguments whose memory the results may take.

    Returns:
      The compiled function of all folds.
    """
    in_axes = tuple(0 if spec and spec[0] == FOLD else None for spec in in_specs)
    mapped = jax.vmap(step, in_axes)
    sharded = jax.shard_map(mapped, mesh=mesh, in_specs=in_specs, out_specs=out_specs)
    options = COMPILER_OPTIONS.get(mesh.devices.flat[0].platform)
    return jax.jit(sharded, donate_argnums=donate, compiler_options=options)


def put(tree, mesh: Mesh, spec: P):
    """Places host arrays on the mesh's devices."""
    return jax.device_put(tree, NamedSharding(mesh, spec))


def least(number: float) -> float:
    """The smallest of all processes' numbers, so that they decide alike."""
    return float(multihost_utils.process_allgather(np.float32(number)).min())


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
