"""The standard streams of a process: printing loses no result, and stops nothing."""

import io
import sys


class _Stream(io.FileIO):
    """Where a stream goes. What cannot be written is lost, and the reason kept.

    Attributes:
      error: of the last write that failed.
    """

    error: OSError | None = None

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError as error:  # no space, or nobody who reads
            self.error = error
            return len(data)


def prepare() -> None:
    """Lets the standard streams take whatever is printed.

    Characters that their encoding lacks come as escapes. A reader who leaves, or a disk that is
    full, stops no command: `finish` says so at its end.
    """
    sys.stdout, sys.stderr = map(_patient, (sys.stdout, sys.stderr))


def _patient(stream: io.TextIOWrapper | None) -> io.TextIOWrapper | None:
    if stream is None:  # closed by whoever started the process
        return None
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


def finish(status: int) -> int:
    """Writes what is left for the standard output, after `prepare`.

    Args:
      status: exit status of the command.

    Returns:
      The status. If it was 0, but not all could be written: 1 if a reader has gone, else 2,
      which is said.
    """
    if sys.stdout is None:
        return status
    sys.stdout.flush()
    error = sys.stdout.buffer.raw.error
    if error is None or isinstance(error, BrokenPipeError):
        return status or int(error is not None)
    print(
        f"standard output: cannot be written ({error.strerror}); free some space, or send it "
        "elsewhere",
        file=sys.stderr,
    )
    return status or 2
