"""Several processes that must decide alike: what one of them knows, on all."""

import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from asc_jax.parallel import hosts
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import SHARED, SPREAD
from asc_jax.parallel.mesh import DATA, FOLD
from asc_jax.runtime.errors import InputError

# Steps after which several processes do what they can only do together: ask one another whether a
# signal has come, and gather metrics. Their devices stand still meanwhile.
TOGETHER = 8


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


def read_by_first(read: Callable[[], Any]) -> Any:
    """What the first process reads, on every process; files of a run may be its alone.

    Args:
      read: returns what JSON can say.

    Raises:
      InputError: on all processes, whatever the first one finds wrong.
    """
    text = ""
    if hosts.is_first():
        try:
            text = json.dumps({"read": read()})
        except InputError as error:
            text = json.dumps({"refusal": error.__dict__})
    hosts.wait_for_all()  # one may have started long before the others
    said = json.loads(share_text(text))
    if refusal := said.get("refusal"):
        raise InputError(refusal.pop("message")).at(**refusal)
    return said["read"]


def refuse_unlike(text: str) -> None:
    """Refuses processes of which one says another text than the first: what each would compute.

    Raises:
      InputError: on those that differ.
    """
    if jax.process_count() > 1 and share_text(text) != text:
        raise InputError(
            f"process {jax.process_index()}: its functions or libraries are not those of "
            "process 0; give all processes the same checkout and the same environment"
        )


def any_process(flag: bool) -> bool:
    """Whether a flag is set on any process. All processes must ask."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.array(flag)).any())


def least(number: float) -> float:
    """The smallest of all processes' numbers, so that they decide alike."""
    return float(multihost_utils.process_allgather(np.float32(number)).min())


def connect(mesh: Mesh) -> None:
    """Waits for all processes, and opens the connections that their steps use.

    Gloo gives the devices of a collective 30 s to meet for the first time, and processes may
    read their data, or compile a step, for longer than others. Once they have met they wait.
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
