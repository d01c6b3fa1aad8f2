"""The fold axis and the devices: the only place with `jit`, `vmap` and `shard_map` of a step.

A step is written for one fold and one shard of its batch. `map_folds` maps it over folds
(`vmap`), spreads folds and batches over a ("fold", "data") mesh (`shard_map`) and compiles
it. One device is a mesh of (1, 1): there is no other path.
"""

import math
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from asc_jax.errors import InputError

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
        shapes = [(f, math.gcd(batch_size, len(devices) // f)) for f in fold_sizes]
        shape = max(shapes, key=lambda shape: (shape[0] * shape[1], shape[0]))
    return Mesh(np.array(devices[: math.prod(shape)]).reshape(shape), (FOLD, DATA))


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
    """The mesh in a line, beside the devices that there are."""
    folds, shards = mesh.devices.shape
    return (
        f"mesh of {folds} (folds) x {shards} (shards of a batch) on {mesh.devices.size} of "
        f"{jax.device_count()} devices"
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


def put(tree, mesh: Mesh, spec: P):
    """Places host arrays on the mesh's devices."""
    return jax.device_put(tree, NamedSharding(mesh, spec))
