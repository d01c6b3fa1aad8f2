"""The signals that ask for a stop: heard, or as a KeyboardInterrupt that arrives, once."""

import signal
import sys

from asc_jax.runtime.errors import Stopped

# From ^C, kill and schedulers, a terminal that closes; and what SLURM's --signal is told to send by
# Lightning's users, and by submitit.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

# Seconds after which it is seen whether the exception is on its way.
_AGAIN = 0.1


class Signals:
    """Within it `SIGNALS` are handled by `hear`, which notes them: they end nothing.

    What whoever started the process ignores stays ignored: SIGHUP under nohup, SIGINT of what a
    script runs in the background. `always` are heard all the same.

    Attributes:
      received: numbers of those that have come, in order.
    """

    def __init__(self, *always: int):
        self.received = []
        self._always = always
        self._previous = {}

    def __enter__(self):
        for number in SIGNALS:
            if number in self._always or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self.hear)
        return self

    def hear(self, number: int, _) -> None:
        """Handles a signal."""
        self.received.append(number)

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)


class Interruptible(Signals):
    """Within it each of `SIGNALS` raises KeyboardInterrupt, until one has left it.

    What a handler raises is lost where Python has nobody to give it to: in a callback of the
    garbage collector (JAX has one), in a `__del__`. So a timer looks whether it is on its way,
    and raises it anew. Further signals are of the same wish and disturb no clean-up. Who left by
    a signal ignores all from then on: the end of the process could be cut short by none.

    SIGTERM is heard always: it is meant for this process, and a job script that ignores it for
    itself hands that on to all that it starts.
    """

    def __init__(self):
        super().__init__(signal.SIGTERM)
        self._wish = 0  # number of the signal that came
        self._left = False

    def __enter__(self):
        self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._look)
        return super().__enter__()

    def __exit__(self, kind, error, _):
        self._left = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        if isinstance(error, KeyboardInterrupt | Stopped):
            self._previous |= dict.fromkeys(self._previous.keys() & SIGNALS, signal.SIG_IGN)
        super().__exit__()

    def hear(self, number: int, _) -> None:
        """Raises, unless it is left."""
        if self._left:
            return
        self._wish = number
        signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
        self._raise()

    def _look(self, *_) -> None:
        if self._left:
            return
        if signal.getsignal(self._wish) != self.hear:  # others ask now whether one came
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.raise_signal(self._wish)
        else:
            self._raise()

    def _raise(self) -> None:
        error = sys.exception()
        while error is not None:
            if isinstance(error, KeyboardInterrupt | Stopped):
                return  # it is on its way
            error = error.__context__
        raise KeyboardInterrupt
