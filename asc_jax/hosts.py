"""Several processes as one program: where they find one another, and how one leaves.

The launchers in `launch/` set the variables that `read_place` reads; without them a process is
alone. Every process runs the same command, and the devices of all make one mesh. The first one
(number 0) is the coordinator, and the only one that touches the run folder, and that of a GAN's
classifier.
"""

import dataclasses
import os
import re
import sys
from collections.abc import Mapping

from asc_jax.errors import InputError

LOOPBACK = ("localhost", "127.0.0.1")
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

# What JAX's error says where a collective, or the coordinator, has lost a peer.
_LOST = re.compile(
    r"connection (closed|reset) by peer|socket closed|broken pipe|remote process exited"
    r"|gloo context initialization failed|timed out|heartbeat|unhealthy"
    r"|unavailable: .*(rpc|connect)",
    re.IGNORECASE | re.DOTALL,
)


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
    """This process's place among others, or None where it is alone.

    Args:
      environ: of the process.

    Raises:
      InputError: a variable is missing or makes no sense.
    """
    coordinator = environ.get(COORDINATOR)
    if not coordinator:
        for name in (PROCESSES, PROCESS):
            if environ.get(name):
                raise InputError(
                    f"{name}={environ[name]}: needs {COORDINATOR}=HOST:PORT as well; "
                    "launch/local.py sets all three"
                )
        return None
    if coordinator == "auto":
        return Place(coordinator)
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise InputError(f"{COORDINATOR}={coordinator}: must be HOST:PORT, or auto")
    processes = _whole(environ, PROCESSES, 1)
    process = _whole(environ, PROCESS, 0)
    if process >= processes:
        raise InputError(f"{PROCESS}={process}: must be below {PROCESSES}={processes}")
    return Place(coordinator, processes, process) if processes > 1 else None


def _whole(environ: Mapping[str, str], name: str, least: int) -> int:
    text = environ.get(name, "")
    if not re.fullmatch(r"\d{1,6}", text) or int(text) < least:
        raise InputError(f"{name}={text}: must be a whole number from {least}")
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
        loopback = host in LOOPBACK
        addresses = {
            "coordinator_address": place.coordinator,
            "num_processes": place.processes,
            "process_id": place.process,
            "cluster_detection_method": "deactivate",
            "coordinator_bind_address": f"{'127.0.0.1' if loopback else '[::]'}:{port}",
        }
    try:
        jax.distributed.initialize(
            **addresses,
            initialization_timeout=_CONNECT,
            heartbeat_timeout_seconds=_SILENCE,
            shutdown_timeout_seconds=_LAST_WRITES,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{COORDINATOR}={place.coordinator}: the processes did not find one another "
            f"({reason}); check the address, and that all of them were started"
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
        # As orbax and JAX's own modules do it: there is no public barrier without a collective.
        from jax._src import distributed

        distributed.global_state.client.wait_at_barrier("asc_jax", 1000 * _READING)


def says_the_same(place: Place | None) -> bool:
    """Whether the first process finds the same wrong, and can say it alone.

    So it is on one machine before the processes have joined: what they have read by then, the
    command line and its files, is the same for all.

    Args:
      place: of this process; None where it is alone.
    """
    if place is None or joined() or not place.process:
        return False
    return place.coordinator.rpartition(":")[0] in LOOPBACK


def lost_peer(error: BaseException) -> str:
    """A line for the user if an error says that another process is lost, else ""."""
    if not joined() or not says_lost(error):
        return ""
    reason = str(error).strip().splitlines()[0]
    return (
        f"another process of this run is lost ({reason}); what was saved is whole; run the same "
        "command to go on"
    )


def says_lost(error: BaseException) -> bool:
    """Whether an error is JAX's, of a collective or the coordinator without a peer."""
    import jax

    return isinstance(error, jax.errors.JaxRuntimeError) and bool(_LOST.search(str(error)))


def leave(status: int) -> None:
    """Ends one of several processes at once; a process that is alone goes on.

    An ordinary end waits for the others, and they may be waiting for this one's part of a sum.
    """
    if joined():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
