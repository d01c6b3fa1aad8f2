"""Stopping a run when a signal asks for it: at the end of a step, with what is saved whole."""

import signal

from asc_jax.errors import Stopped


class StopSignal:
    """SIGTERM and SIGINT as a question that the loop asks after each step.

    An exception raised anywhere, in the middle of a checkpoint's writing too, would leave
    orbax's threads waiting for one another. A second signal acts as if this were not there.

    Attributes:
      requested: whether a signal has come.
    """

    def __init__(self):
        self.requested = False
        self._previous = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._request)
        return self

    def leave_if_requested(self, epoch: int) -> None:
        """Leaves an epoch, from 1, whose work is then dropped.

        Raises:
          Stopped: a signal has come.
        """
        if self.requested:
            kept = f"epoch {epoch - 1} is saved" if epoch > 1 else "no epoch was finished"
            raise Stopped(f"stopped in epoch {epoch}; {kept}; run the same command to go on")

    def _request(self, *_):
        self.requested = True
        self.__exit__()

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
