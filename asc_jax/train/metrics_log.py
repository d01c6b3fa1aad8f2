"""`metrics.jsonl`: a line of JSON per epoch."""

import json
import os
import pathlib

from asc_jax.errors import InputError


class MetricsLog:
    """Appends to a run's `metrics.jsonl`.

    Attributes:
      path: the file.
    """

    def __init__(self, path: pathlib.Path, *, n_epochs_done: int):
        """Opens the log, and drops what was logged after the epoch that training goes on from.

        Args:
          path: the file; made if it is not there.
          n_epochs_done: epochs whose lines are kept.

        Raises:
          InputError: the file cannot be written.
        """
        self.path = path
        kept = [line for line in read_metrics(path) if line["epoch"] <= n_epochs_done]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        partial = path.with_suffix(".partial")
        try:
            partial.write_text(text)
            os.replace(partial, path)
        except OSError as error:
            raise self._unwritable(error) from None

    def write(self, line: dict) -> None:
        """Appends a line."""
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(f"{self.path}: cannot be written ({error.strerror}); free some space")


def read_metrics(path: pathlib.Path) -> list[dict]:
    """The lines of a log; one torn by a stop is left out."""
    if not path.is_file():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
