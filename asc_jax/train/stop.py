"""Stopping a run when a signal asks for it: at the end of a step, which is saved."""

import signal

from asc_jax.errors import Stopped
from asc_jax.train import parallel
from asc_jax.train.checkpoint import Checkpoints


class StopSignal:
    """SIGTERM and SIGINT as a question that the loop asks after each step.

    An exception raised anywhere, in the middle of a checkpoint's writing too, would leave
    orbax's threads waiting for one another. A second signal ends the process at once; what
    it has saved before is whole.
    """

    def __init__(self):
        self._came = False
        self._previous = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._request)
        return self

    @property
    def requested(self) -> bool:
        """Whether a signal has come, to any of several processes; all of them must ask."""
        return parallel.any_process(self._came)

    def leave_if_requested(self, checkpoints: Checkpoints, step: int) -> None:
        """Leaves after a step whose checkpoint may still be under way.

        Raises:
          Stopped: a signal has come, and the checkpoint is on disk.
          InputError: it cannot be written.
        """
        if self.requested:
            checkpoints.wait()
            raise Stopped(f"stopped; step {step} is saved; run the same command to go on")

    def _request(self, *_):
        self._came = True
        for number in self._previous:
            signal.signal(number, signal.SIG_DFL)

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
