"""The fold axis and the devices: the only place with `jit`, `vmap` and `shard_map` of a step.

A step is written for one fold and one shard of its batch. `map_folds` maps it over folds
(`vmap`), spreads folds and batches over a ("fold", "data") mesh (`shard_map`) and compiles
it. One device is a mesh of (1, 1): there is no other path.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils, multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from asc_jax import hosts
from asc_jax.runtime.errors import InputError

FOLD, DATA = "fold", "data"

# XLA's compiler, by platform.
COMPILER_OPTIONS = {
    # Measured, docs/performance.md: YNNPACK's convolutions run at half the speed of Eigen's;
    # LLVM's second level of optimisation doubles its time and buys nothing here; the pass drops
    # what `platform.materialised` asks for, before fusion.
    "cpu": {
        "xla_cpu_experimental_ynn_fusion_type": "",
        "xla_backend_optimization_level": 1,
        "xla_disable_hlo_passes": "cse_barrier_expander",
    },
}

# How an argument lies on the mesh.
PER_FOLD = P(FOLD)  # (F, ...): a state, a metric
PER_EXAMPLE = P(FOLD, DATA)  # (F, B, ...): a batch, its logits
SHARED = P()  # the same for all folds: the pool
SPREAD = P((FOLD, DATA))  # (n, ...): rows that lie on one device each


def make_mesh(
    n_folds: int,
    batch_size: int,
    devices: Sequence[jax.Device] = (),
    *,
    shape: tuple[int, ...] = (),
) -> Mesh:
    """A ("fold", "data") mesh that folds and batches divide evenly.

    Args:
      n_folds: folds of the program F, or GANs.
      batch_size: clips per step and fold B.
      devices: to choose from; all of this process's program by default.
      shape: (f, d): f divides F and d divides B; () for the largest. Of those that use the
        most devices that is the one with the most folds apart, which need no communication.

    Returns:
      The mesh; devices beyond f * d stay idle.

    Raises:
      InputError: folds or batches do not divide so, or there are fewer devices.
    """
    devices = list(devices) or jax.devices()
    if shape:
        _refuse_shape(shape, n_folds, batch_size, len(devices))
    else:
        fold_sizes = [f for f in range(1, len(devices) + 1) if n_folds % f == 0]
        divisors = [d for d in range(1, len(devices) + 1) if batch_size % d == 0]
        shapes = [(f, max(d for d in divisors if f * d <= len(devices))) for f in fold_sizes]
        shape = max(shapes, key=lambda shape: (shape[0] * shape[1], shape[0]))
    if math.prod(shape) < len(devices):
        return Mesh(np.array(devices[: math.prod(shape)]).reshape(shape), (FOLD, DATA))
    # All of them: placed so that neighbours on the mesh are neighbours on a TPU's torus, too.
    placed = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    return Mesh(placed, (FOLD, DATA))


def one_device() -> Mesh:
    """The smallest mesh, of this process's own."""
    return Mesh(np.array(jax.local_devices()[:1]).reshape(1, 1), (FOLD, DATA))


def _refuse_shape(shape: tuple[int, ...], n_folds: int, batch_size: int, n_devices: int) -> None:
    field = f"train.mesh={shape}"
    if n_folds % shape[0]:
        raise InputError(
            f"{field}: {n_folds} folds (or GANs) cannot be shared out evenly among {shape[0]}; "
            f"let its first number divide {n_folds}, or use train.mesh=() for the largest that fits"
        )
    if batch_size % shape[1]:
        raise InputError(
            f"{field}: train.batch_size={batch_size} cannot be shared out evenly among {shape[1]}; "
            "change either, or use train.mesh=() for the largest mesh that fits"
        )
    if math.prod(shape) > n_devices:
        raise InputError(
            f"{field}: takes {math.prod(shape)} devices, and there "
            + ("is 1" if n_devices == 1 else f"are {n_devices}")
            + "; use a smaller one, or train.mesh=() for the largest that fits"
        )


def describe(mesh: Mesh) -> str:
    """The devices that there are and, of several, the mesh of them, in a line."""
    n_devices, kind = jax.device_count(), mesh.devices.flat[0].device_kind
    if kind == "cpu":
        there = f"{n_devices} CPU device{'s' if n_devices > 1 else ''}"
    else:
        there = f"{n_devices} x {kind}"
    if n_devices == 1:
        return there
    folds, shards = mesh.devices.shape
    return (
        f"{there}: a mesh of {folds} (folds or GANs) x {shards} (shards of a batch) on "
        f"{mesh.devices.size} of them"
    )


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


def compile_once(function: Callable, static: Sequence[str] = ()) -> Callable:
    """Compiles what one device computes once, such as initial values: options as of the steps.

    Args:
      function: traced once for equal shapes, by the result's `eval_shape` too.
      static: names of arguments that are no arrays.
    """
    options = COMPILER_OPTIONS.get(jax.default_backend())
    return jax.jit(function, static_argnames=tuple(static), compiler_options=options)


def put(tree, mesh: Mesh, spec: P):
    """Places host arrays on the mesh's devices; with several processes each holds all of them."""
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(lambda leaf: put_like(leaf, sharding), tree)


def shapes_per_fold(tree, n_folds: int, mesh: Mesh):
    """What a tree of one fold is for so many, placed `PER_FOLD`; nothing is placed."""
    sharding = NamedSharding(mesh, PER_FOLD)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((n_folds, *leaf.shape), leaf.dtype, sharding=sharding),
        tree,
    )


def put_like(leaf, sharding: jax.sharding.Sharding) -> jax.Array:
    """Places one host array."""
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    # `device_put` would first compare what the processes hold.
    leaf = np.asarray(leaf)
    return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])


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


def share(array: np.ndarray) -> np.ndarray:
    """The first process's array, bit for bit, on every process; shapes and types are equal."""
    if jax.process_count() == 1:
        return array
    # As bytes: it travels as a sum with zeros, which would make 0 of -0.
    octets = np.frombuffer(array.tobytes(), np.uint8)
    shared = multihost_utils.broadcast_one_to_all(octets)
    return np.asarray(shared).view(array.dtype).reshape(array.shape)


def share_text(text: str) -> str:
    """The first process's text on every process."""
    octets = np.frombuffer(text.encode(), np.uint8)
    size = int(share(np.array(octets.size)))
    if not size:
        return ""
    return share(octets if octets.size == size else np.zeros(size, np.uint8)).tobytes().decode()


def refuse_unlike(text: str) -> None:
    """Refuses processes of which one says another text than the first: what each would compute.

    Raises:
      InputError: on those that differ.
    """
    if jax.process_count() > 1 and share_text(text) != text:
        raise InputError(
            f"process {jax.process_index()}: its functions or libraries are not those of process "
            "0; give all processes the same checkout and the same environment"
        )


def any_process(flag: bool) -> bool:
    """Whether a flag is set on any process. All processes must ask."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.array(flag)).any())


def connect(mesh: Mesh) -> None:
    """Waits for all processes, and opens the connections that their steps use.

    Gloo gives the devices of a collective 30 s to meet for the first time, and processes may
    read their data, or compile a step, for longer than others. Once they have met they wait.

    Args:
      mesh: of the steps.
    """
    if jax.process_count() == 1:
        return
    hosts.wait_for_all()
    any_process(False)
    ones = put(np.ones(mesh.size, np.float32), mesh, SPREAD)
    for axes, rest in ((FOLD, P(DATA)), (DATA, P(FOLD)), ((FOLD, DATA), SHARED)):
        add = functools.partial(jax.lax.psum, axis_name=axes)
        add = jax.shard_map(add, mesh=mesh, in_specs=SPREAD, out_specs=rest)
        jax.block_until_ready(jax.jit(add)(ones))


def refuse_idle_processes(mesh: Mesh, *, named: bool = False) -> None:
    """Refuses a mesh without a device of some process, which could take no part.

    Args:
      mesh: of the steps.
      named: whether its shape was, by `train.mesh`.

    Raises:
      InputError: there is such a process.
    """
    n_processes = jax.process_count()
    busy = {device.process_index for device in mesh.devices.flat}
    if len(busy) < n_processes:
        folds, shards = mesh.devices.shape
        mend = f"a train.batch_size that {jax.device_count() // folds} divides"
        if named:
            mend = f"a larger train.mesh than ({folds}, {shards})"
        raise InputError(
            f"{n_processes} processes: the mesh of {folds} (folds) x {shards} (shards of a batch) "
            f"has no device of {n_processes - len(busy)} of them; launch {len(busy)}, or choose "
            f"{mend}"
        )


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
