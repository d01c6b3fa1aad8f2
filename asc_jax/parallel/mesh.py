"""The mesh of devices: folds along one axis, the batch along the other."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh

from asc_jax.runtime.errors import InputError

FOLD, DATA = "fold", "data"


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
    where = {"field": "train.mesh", "value": shape}
    if n_folds % shape[0]:
        raise InputError(
            f"{n_folds} folds (or GANs) cannot be divided evenly among {shape[0]} devices; "
            f"let its first number divide {n_folds}, or use train.mesh=() for the largest "
            "that fits",
            **where,
        )
    if batch_size % shape[1]:
        raise InputError(
            f"train.batch_size={batch_size} cannot be divided evenly among {shape[1]} "
            "devices; change either, or use train.mesh=() for the largest mesh that fits",
            **where,
        )
    if math.prod(shape) > n_devices:
        raise InputError(
            f"needs {math.prod(shape)} devices, but there "
            + ("is 1" if n_devices == 1 else f"are {n_devices}")
            + "; use a smaller one, or train.mesh=() for the largest that fits",
            **where,
        )


def describe_mesh(mesh: Mesh) -> str:
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
            f"{n_processes} processes: the mesh of {folds} (folds) x {shards} (shards of a "
            f"batch) has no device of {n_processes - len(busy)} of them; launch {len(busy)}, or "
            f"choose {mend}"
        )
