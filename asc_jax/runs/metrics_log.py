"""`metrics.jsonl`: a line of JSON per epoch."""

import json
import pathlib
from collections.abc import Mapping, Sequence

from asc_jax.parallel import hosts
from asc_jax.runs.curves import Curves
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import append_line, parse_json, write_whole

# What a line says of the machine, and not of the run.
SECONDS = ("seconds", "seconds_per_step", "seconds_of_worst_step")
TIMED = (*SECONDS, "clips_per_second")


class MetricsLog:
    """Appends to a run's `metrics.jsonl`; of several processes the first one does.

    Use as a context: leaving it closes the curves.
    """

    def __init__(self, path: pathlib.Path, *, n_epochs_done: int, curves: Curves | None = None):
        """Opens the log, and drops the lines after the epoch from which training is resumed.

        Args:
          path: the file; made if it is not there.
          n_epochs_done: epochs whose lines are kept.
          curves: that are made of the lines.

        Raises:
          InputError: the file cannot be written.
        """
        self._path, self._curves = path, curves or Curves(())
        if not hosts.is_first():
            return
        kept = [line for line in read_metrics(path) if line["epoch"] <= n_epochs_done]
        write_whole(path, as_text(kept))
        self._curves.begin(path.parent, kept)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._curves.close()

    def write(self, line: dict) -> None:
        """Appends a line.

        Raises:
          InputError: the file cannot be written.
        """
        if hosts.is_first():
            append_line(self._path, line)
            self._curves.write(line)


def as_text(lines: Sequence[Mapping]) -> str:
    """Epochs as the log holds them."""
    return "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)


def read_metrics(path: pathlib.Path) -> list[dict]:
    """The epochs of a log in order; none where there is no such file.

    Raises:
      InputError: a line is no epoch, other than a last one that a stop has torn.
    """
    if not path.exists():
        return []
    lines = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            continue
        try:
            lines.append(parse_json(line))
            _ = [lines[-1][field] + 0 for field in ("epoch", "seconds", "clips_per_second")]
        except (ValueError, KeyError, TypeError):
            raise InputError(
                "is not an epoch in JSON; delete that line", path=f"{path}:{number}"
            ) from None
    return lines


def non_finite_policy(lines: Sequence[Mapping]) -> str:
    """What was to become of steps that were not finite: "stop", "skip", "stop and skip" or reverse.

    It may change on the way, and config.json knows the last start's alone. "" where no line says.
    """
    return " and ".join(dict.fromkeys(filter(None, (line.get("non_finite") for line in lines))))


def untimed(lines: Sequence[Mapping]) -> list[dict]:
    """The lines without `TIMED`: the same of the same run, wherever and however often stopped."""
    return [{name: line[name] for name in line if name not in TIMED} for line in lines]
