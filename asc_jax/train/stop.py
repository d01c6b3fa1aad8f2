"""Stopping a run when a signal asks for it: at the end of a step, which is saved."""

import contextlib
import os
import signal
import sys
import threading
import time

import tqdm

from asc_jax.parallel import hosts
from asc_jax.parallel.agreement import any_process
from asc_jax.runs.checkpoint import Checkpoints
from asc_jax.runtime.errors import Stopped
from asc_jax.runtime.interruption import Signals

# Seconds. One wish to stop may come as several signals: timeout(1) sends two, and a launcher
# may pass on what its group has had already.
_ONE_WISH = 1.0


class StopSignal(Signals):
    """The signals that ask for a stop, as a question that the loop asks between steps.

    An exception raised anywhere, in the middle of a checkpoint's writing too, would leave
    orbax's threads waiting for one another. A second signal, a second later or more, ends the
    process at once with status 128 + its number; what it has saved before is whole.

    Python runs handlers in the main thread alone, which may be compiling or waiting for a
    collective for minutes, and makes one of several signals. A thread hears them all the same,
    through the pipe into which Python's part in C writes the number of each.
    """

    def __init__(self):
        super().__init__(signal.SIGINT, signal.SIGTERM)

    def __enter__(self):
        hears, self._told = os.pipe()
        os.set_blocking(self._told, False)
        self._wakeup = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        super().__enter__()
        self._thread = threading.Thread(target=self._listen, args=(hears,), daemon=True)
        self._thread.start()
        return self

    @property
    def requested(self) -> bool:
        """Whether a signal has come, to any of several processes; all of them must ask."""
        return any_process(bool(self.received))

    def leave_if_requested(self, checkpoints: Checkpoints, step: int) -> None:
        """Leaves after a step whose checkpoint may still be under way.

        Raises:
          Stopped: a signal has come, and the checkpoint is on disk.
          InputError: it cannot be written.
        """
        if self.requested:
            checkpoints.wait()
            raise Stopped(f"stopped; step {step} is saved; run the same command to resume")

    def _listen(self, hears: int) -> None:
        """Says that a signal was heard, and ends the process at the next; in a thread."""
        first = None
        with open(hears, "rb", buffering=0) as signals:
            while number := signals.read(1):
                if number[0] not in self._previous:
                    continue
                if first is None:
                    first = time.monotonic()
                    self.received.append(number[0])
                    if hosts.is_first():
                        words = "stopping after the step under way; again to stop at once"
                        with contextlib.suppress(OSError):  # the terminal may be closed
                            tqdm.tqdm.write(words, file=sys.stderr)
                elif time.monotonic() - first > _ONE_WISH:
                    words = (
                        "stopped at once; what was saved is whole; run the same command to resume"
                    )
                    with contextlib.suppress(OSError):
                        os.write(2, f"\n{words}\n".encode())  # print: a lock may be held for ever
                    os._exit(128 + number[0])

    def __exit__(self, kind, error, _):
        signal.set_wakeup_fd(self._wakeup)
        super().__exit__()
        os.close(self._told)
        self._thread.join()
        if self.received and error is None:  # after the last step, where nobody asked any more
            signal.raise_signal(self.received[-1])
