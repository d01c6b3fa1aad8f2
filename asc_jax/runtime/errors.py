"""What can go wrong that is no bug. The command line prints these without a traceback."""

STOPPED = 75  # exit status; EX_TEMPFAIL of sysexits.h: try again


class InputError(ValueError):
    """The user's input cannot be used.

    The message names the file or the field and says what to do about it, in one line (or
    one line per bad file). Exit status 2.
    """


class Diverged(RuntimeError):
    """The loss of a fold is no longer finite. Exit status 1."""


class RunsFailed(RuntimeError):
    """Some runs of a sweep have failed. Exit status 1."""


class Stopped(RuntimeError):
    """A signal asked the run to stop, and it has. Exit status `STOPPED`."""
