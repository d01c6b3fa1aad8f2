"""The standard streams of the process: printing loses no result and stops no training."""

import contextlib
import io
import os
import sys


class _Unheard(io.FileIO):
    """A stream that loses what nobody can take any more."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError:  # no space, no reader, no terminal
            return len(data)


def prepare() -> None:
    """Makes both streams show what their encoding lacks as escapes, and the error stream lossy.

    Whoever reads how a run goes on may leave, or the disk of its log be full: the run goes on.
    """
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is not None:
        sys.stderr.flush()
        unheard = io.BufferedWriter(_Unheard(sys.stderr.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(
            unheard,
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )


def finish(status: int) -> int:
    """Writes what is left for the standard output, and says it if that cannot be.

    Args:
      status: exit status of the command.

    Returns:
      The status: of one that was 0, 1 if the reader of a pipe has gone and 2 if there is no
      space, say.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        failed = 1
    except OSError as error:
        print(
            f"standard output: cannot be written ({error.strerror}); free some space, or send it "
            "elsewhere",
            file=sys.stderr,
        )
        failed = 2
    with contextlib.suppress(OSError):  # or Python would try again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status or failed
