"""Several processes as one program: where they find one another, and how one leaves.

The launchers in `launch/` set the variables that `read_place` reads; without them a process is
alone. Every process runs the same command, and the devices of all make one mesh. The first one
(number 0) is the coordinator, and the only one that touches the run folder, and that of a GAN's
classifier.
"""

import concurrent.futures
import dataclasses
import functools
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping

from asc_jax.runtime.errors import InputError

# Host of the coordinator's address -> where it listens, if on this machine alone.
LOOPBACK = {"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "[::1]": "[::1]"}
COORDINATOR, PROCESSES, PROCESS = "ASC_JAX_COORDINATOR", "ASC_JAX_PROCESSES", "ASC_JAX_PROCESS"

# Seconds. Each process has this long to start Python and find the coordinator, ...
_CONNECT = 300
# ... is lost when it has sent no sign of life for so long (JAX's threads send them, in the
# middle of a compilation too), ...
_SILENCE = 20
# ... and, when it is done, waits so long for others that are still writing.
_LAST_WRITES = 300

# ... Its data it may have read for so long after the others: from files, say, that they found in
# a cache. One that is lost meanwhile is noticed by its silence.
_READING = 3600

# ... Whether all are there it learns within so long: less than launch/local.py waits for the rest.
_ROLL_CALL = 3

# Status codes of XLA's errors that a lost peer may cause. Gloo's and NCCL's collectives fail with
# the first two whatever the reason, the coordinator answers with the others.
_OF_OTHERS = {"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED"}

# A host that is an IPv6 address stands in brackets: its last part could be a port.
_ADDRESS = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_MOST_PROCESSES = 9999


@dataclasses.dataclass(frozen=True)
class Place:
    """One of several processes.

    Attributes:
      coordinator: "host:port" at which the first one listens; "auto" where JAX finds it and
        the numbers itself (SLURM, TPU).
      processes: how many there are.
      process: which one this is, from 0.
    """

    coordinator: str
    processes: int | None = None
    process: int | None = None


def read_place(environ: Mapping[str, str]) -> Place | None:
    """This process's place among others by its environment, or None where it is alone.

    Raises:
      InputError: a variable is missing or makes no sense.
    """
    coordinator = environ.get(COORDINATOR)
    if not coordinator:
        for name in (PROCESSES, PROCESS):
            if environ.get(name):
                raise InputError(
                    f"needs {COORDINATOR}=HOST:PORT as well; launch/local.py sets all three",
                    field=name,
                    value=environ[name],
                )
        return None
    if coordinator == "auto":
        return Place(coordinator)
    address = _ADDRESS.fullmatch(coordinator)
    if not address:
        raise InputError(
            "must be HOST:PORT, [IPV6]:PORT or auto", field=COORDINATOR, value=coordinator
        )
    if not 1 <= int(address[2]) <= 65535:
        raise InputError("a port is a number from 1 to 65535", field=COORDINATOR, value=coordinator)
    processes = _whole(environ, PROCESSES, 1)
    process = _whole(environ, PROCESS, 0)
    if process >= processes:
        raise InputError(f"must be below {PROCESSES}={processes}", field=PROCESS, value=process)
    return Place(coordinator, processes, process) if processes > 1 else None


def _whole(environ: Mapping[str, str], name: str, least: int) -> int:
    text = environ.get(name, "")
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= _MOST_PROCESSES:
        raise InputError(
            f"must be a whole number from {least} to {_MOST_PROCESSES}", field=name, value=text
        )
    return int(text)


def join(place: Place | None) -> None:
    """Makes this process one of several. Nothing may have asked JAX for its devices yet.

    Args:
      place: of this process; None where it is alone.

    Raises:
      InputError: the others are not to be found.
    """
    if place is None:
        return
    import jax

    # Signals are ours: see `asc_jax.train.stop`.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    addresses = {}
    if place.coordinator != "auto":
        host, _, port = place.coordinator.rpartition(":")
        addresses = {
            "coordinator_address": place.coordinator,
            "num_processes": place.processes,
            "process_id": place.process,
            "cluster_detection_method": "deactivate",
            "coordinator_bind_address": f"{LOOPBACK.get(host, '[::]')}:{port}",
        }
    initialize = functools.partial(
        jax.distributed.initialize,
        **addresses,
        initialization_timeout=_CONNECT,
        heartbeat_timeout_seconds=_SILENCE,
        shutdown_timeout_seconds=_LAST_WRITES,
    )
    try:
        _hearing_signals(initialize)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the processes could not connect to one another ({reason}); check the address, "
            "and that all of them were started",
            field=COORDINATOR,
            value=place.coordinator,
        ) from None


def joined() -> bool:
    """Whether this is one of several processes."""
    # Not through an import: most commands are done before JAX is imported.
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def is_first() -> bool:
    """Whether this process writes files and speaks to the user."""
    if not joined():
        return True
    import jax

    return jax.process_index() == 0


def wait_for_all() -> None:
    """Waits until every process has come here, each as often as the others."""
    if joined():
        _hearing_signals(lambda: _meet("asc_jax", _READING))


def _meet(name: str, seconds: float) -> None:
    """Waits for all processes; raises JAX's error if one has not come in time."""
    # orbax's and not JAX's `sync_global_devices`: that is a collective, for which Gloo waits 30 s.
    from orbax.checkpoint import multihost

    multihost.get_barrier_sync_fn()(key=name, timeout_ms=round(1000 * seconds))


def _hearing_signals(wait: Callable[[], None]) -> None:
    """Waits in a thread: while the main one is not in Python, no handler of a signal is run."""
    waited = concurrent.futures.Future()

    def run() -> None:
        try:
            waited.set_result(wait())
        except BaseException as error:
            waited.set_exception(error)

    # None of an executor's: Python's end would wait for it.
    threading.Thread(target=run, daemon=True).start()
    waited.result()


def says_the_same(place: Place | None) -> bool:
    """Whether the first process finds the same wrong, and can say it alone.

    So it is on one machine before the processes have joined: what they have read by then, the
    command line and its files, is the same for all.
    """
    if place is None or joined() or not place.process:
        return False
    return place.coordinator.rpartition(":")[0] in LOOPBACK


def lost_peer(error: BaseException) -> str:
    """A line for the user if an error comes from the loss of another process, else "".

    An error of the same kind may have another cause, for which all processes fail. So those that
    have failed call the roll: who is lost does not answer.
    """
    if not joined() or not may_be_of_others(error):
        return ""
    import jax

    try:
        _meet("asc_jax_lost", _ROLL_CALL)
    except jax.errors.JaxRuntimeError:
        reason = str(error).strip().splitlines()[0]
        return (
            f"another process of this run is lost ({reason}); earlier saves are intact; run "
            "the same command to resume"
        )
    return ""


def may_be_of_others(error: BaseException) -> bool:
    """Whether an error has a status code of XLA's with which a lost peer makes itself felt."""
    import jax

    # A ValueError where an array that never came is turned into NumPy's.
    if not isinstance(error, jax.errors.JaxRuntimeError | ValueError):
        return False
    return str(error).partition(":")[0] in _OF_OTHERS


def leave(status: int) -> None:
    """Ends one of several processes at once; a single process continues.

    An ordinary end waits for the others, and they may be waiting for this one's part of a sum.
    """
    if joined():
        for stream in (sys.stdout, sys.stderr):
            if stream:
                stream.flush()
        os._exit(status)
