"""Errors that are not bugs. The command line prints them without a traceback."""

import os

STOPPED = 75  # exit status; EX_TEMPFAIL of sysexits.h: try again
_NOT_GIVEN = object()


class InputError(ValueError):
    """Reports user input that cannot be used. Exit status 2.

    As text it is one line, or one per bad file: "path: field=value: problem; hint".

    Args:
      message: "problem; hint": what is wrong, and what to do about it.
      path: the file or folder concerned.
      field: the config field, flag or environment variable concerned.
      value: the value of `field`.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike = "",
        field: str = "",
        value: object = _NOT_GIVEN,
    ):
        super().__init__(message)
        self.message, self.path, self.field = message, str(path), field
        self.value = "" if value is _NOT_GIVEN else shown(value)

    @property
    def hint(self) -> str:
        """What to do about it; "" if the message has only the problem."""
        return self.message.rpartition("; ")[2] if "; " in self.message else ""

    def __str__(self) -> str:
        field = f"{self.field}={self.value}" if self.value else self.field
        parts = visible(self.path), visible(field), visible(self.message, but="\n")
        return ": ".join([part for part in parts if part])

    def at(self, **where: str | os.PathLike) -> "InputError":
        """Returns the same error for another `path` or `field`."""
        other = InputError(self.message)
        other.__dict__ |= self.__dict__ | {name: str(value) for name, value in where.items()}
        return other


def visible(text: str, but: str = "") -> str:
    """Escapes line breaks and terminal control codes in text from elsewhere.

    Args:
      text: the text to show.
      but: characters that are not escaped.
    """
    return "".join(c if c.isprintable() or c in but else ascii(c)[1:-1] for c in text)


def shown(value: object) -> str:
    """Formats a value for a message: its repr, cut if it is long."""
    try:
        return f"{value!r:.200}"
    except ValueError:  # more digits than Python writes
        return "a number of thousands of digits"


class Diverged(RuntimeError):
    """Reports a loss that is no longer finite. Exit status 1."""


class RunsFailed(RuntimeError):
    """Reports failed runs of a sweep. Exit status 1."""


class Stopped(RuntimeError):
    """A signal asked for a stop, or a server is away; what is done stays. Status `STOPPED`."""
