"""How the clips of a data set come to the steps: from memory on the devices, or from the host.

The steps of a call find their clips in a pool by index. That pool is the whole data set where
a device can hold it. Otherwise it is the clips of that call alone, each once, of a size that
depends on the call's shape only, so that the steps are compiled once; the indices are those of
the same clips in it. The steps cannot tell the difference, and their results are the same.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from asc_jax.data.pool import Pool, as_rows, join, read_clips
from asc_jax.data.prefetch import prefetch
from asc_jax.parallel import hosts
from asc_jax.parallel.agreement import least
from asc_jax.parallel.arrays import exchange_rows, put, put_spread
from asc_jax.parallel.mapping import SHARED

# Of the memory that is free before the first step; the rest is for the network's maps.
_LARGEST_SHARE = 0.5


# What the steps of each call are given, for the indices of one call after the other: the pool
# that holds its clips, on all devices, and the indices into it. An index below 0 is no clip. To
# be closed if it is left before its end.
Calls = Callable[[Iterable[np.ndarray]], Iterator[tuple[Pool, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Feed:
    """The clips of a data set, for the steps on a mesh.

    Attributes:
      placement: where the clips are: "device" (all of them on every device), "sharded" (each on
        one device) or "host" (in the cache's files).
      targets: (clips,) int32 class indices, on the host.
      lengths: (clips,) int32, see `Pool.lengths`, on the host; or None.
      calls: brings the clips to the steps; see `Calls`. From the host it raises `InputError`
        if a cache file is gone, or no longer whole.
    """

    placement: str
    targets: np.ndarray
    lengths: np.ndarray | None
    calls: Calls


def make_feed(pools: Sequence[Pool], mesh: Mesh, placement: str) -> Feed:
    """Puts the clips of host pools where they are to be.

    Args:
      pools: one after the other, from `load_pool`.
      mesh: of the steps.
      placement: one of `choices.PLACEMENTS`; "auto" takes the first of the others that fits.
    """
    if placement == "auto":
        placement = _choose(pools, mesh)
    targets = np.concatenate([pool.targets for pool in pools])
    cropped = pools[0].lengths is not None
    lengths = np.concatenate([pool.lengths for pool in pools]) if cropped else None
    return Feed(placement, targets, lengths, PLACEMENTS[placement](pools, mesh, len(targets)))


def _all_on_device(pools: Sequence[Pool], mesh: Mesh, n_clips: int) -> Calls:
    pool = put(as_rows(join(pools)), mesh, SHARED)

    def calls(indices):
        for clips in indices:
            yield pool, clips

    return calls


def _sharded(pools: Sequence[Pool], mesh: Mesh, n_clips: int) -> Calls:
    spread = put_spread(lambda *which: as_rows(read_clips(pools, *which)), n_clips, mesh)
    exchange = exchange_rows(mesh)

    def calls(indices):
        for one in indices:
            clips, places, size = needed_clips(one, n_clips)
            rows = np.full(size, -1, np.int32)
            rows[: len(clips)] = clips
            yield exchange(spread, put(rows, mesh, SHARED)), places

    return calls


def _from_host(pools: Sequence[Pool], mesh: Mesh, n_clips: int) -> Calls:
    def read(indices):
        clips, places, size = needed_clips(indices, n_clips)
        return as_rows(read_clips(pools, clips, size)), places

    def calls(indices):
        with contextlib.closing(prefetch(read, indices)) as given:
            for pool, places in given:
                # Not in the thread: processes must deal with their devices in the same order.
                yield put(pool, mesh, SHARED), places

    return calls


PLACEMENTS = {"device": _all_on_device, "sharded": _sharded, "host": _from_host}


def needed_clips(indices: np.ndarray, n_clips: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The clips of a call, each once.

    Args:
      indices: of the call's clips, any shape; below 0 for none, which becomes any clip.
      n_clips: of the data set.

    Returns:
      (n,) ascending clips; int32 places of the indices among them, of the indices' shape; and
      how many clips a call of this shape could need.
    """
    clips, places = np.unique(np.maximum(indices, 0), return_inverse=True)
    places = places.reshape(indices.shape).astype(np.int32)
    return clips, places, min(indices.size, n_clips)


def _choose(pools: Sequence[Pool], mesh: Mesh) -> str:
    """The placement that "auto" stands for; said on stderr where the clips do not just fit."""
    n_bytes = sum(leaf.nbytes for pool in pools for leaf in jax.tree.leaves(pool))
    room = _LARGEST_SHARE * least(free_bytes(mesh))
    if n_bytes <= room:
        return "device"
    if n_bytes / mesh.size <= room:
        placement, words = "sharded", f"sharded over {mesh.size} devices"
    else:
        placement, words = "host", "read from the cache during each epoch"
    why = f"up to {room / 2**30:.2f} GiB of the free memory of a device may be used"
    if not room:
        why = "the devices do not report their free memory; set data.placement if it fits"
    if hosts.is_first():
        print(
            f"data.placement: {placement}: {n_bytes / 2**30:.2f} GiB of clips {words}; {why}",
            file=sys.stderr,
        )
    return placement


def free_bytes(mesh: Mesh) -> int:
    """Memory that is free on the fullest of this process's devices of a mesh; 0 if none says."""
    devices = mesh.local_devices
    if devices[0].platform == "cpu":  # they share the memory of the host
        return _free_host_bytes() // len(devices)
    stats = [device.memory_stats() or {} for device in devices]
    # Some tell nothing: with XLA_PYTHON_CLIENT_ALLOCATOR=platform, say.
    return min(one.get("bytes_limit", 0) - one.get("bytes_in_use", 0) for one in stats)


def _free_host_bytes() -> int:
    """Memory of the host that a process may still take."""
    table = pathlib.Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
