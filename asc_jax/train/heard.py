"""What a run's models have heard: their own clips, and those of the runs that they learnt from."""

import dataclasses
import functools
import operator
import pathlib
from collections.abc import Mapping

from asc_jax.runtime.files import parse_json, reading

# A run's records of the runs that it learnt from. Each has `heard`, by fold.
WARM_START, DISTILLATION = "warm_start.json", "distillation.json"


@dataclasses.dataclass(frozen=True)
class Heard:
    """What a model has trained on, or chosen its epoch by.

    Attributes:
      locations: of the clips.
      audio: digests of their files.
    """

    locations: frozenset[str] = frozenset()
    audio: frozenset[str] = frozenset()

    def __or__(self, other: "Heard") -> "Heard":
        return Heard(self.locations | other.locations, self.audio | other.audio)

    def as_json(self) -> dict:
        return {"locations": sorted(self.locations), "audio": sorted(self.audio)}


def heard(record: Mapping, fold: int, part: str) -> Heard:
    """What is on one side of a fold.

    Args:
      record: a run's `splits.json`.
      fold: its number.
      part: "train" or "inner".
    """
    paths = record["folds"][str(fold)][part]
    locations = frozenset(record["clips"][path][1] for path in paths)
    return Heard(locations, frozenset(record["audio"][path] for path in paths))


def read_earlier(workdir: pathlib.Path, config) -> list[dict]:
    """What the models of a run had heard through other runs: a mapping by fold for each of these.

    Args:
      workdir: the run folder.
      config: of the run.

    Raises:
      InputError: it learnt from another run, and its record of that is gone.
    """
    sources = {WARM_START: config.train.init_from, DISTILLATION: config.distillation.run}
    return [read_record(workdir / name)["heard"] for name, source in sources.items() if source]


def earlier(records: list[dict], fold: int | str) -> Heard:
    """The same of one fold."""
    each = (record[str(fold)] for record in records)
    sets = (Heard(**{name: frozenset(one[name]) for name in one}) for one in each)
    return functools.reduce(operator.or_, sets, Heard())


def heard_before(workdir: pathlib.Path, config) -> Heard:
    """What a run's models have heard through other runs, all of them together.

    Raises:
      InputError: see `read_earlier`.
    """
    records = read_earlier(workdir, config)
    folds = {fold for record in records for fold in record}
    return functools.reduce(operator.or_, (earlier(records, fold) for fold in folds), Heard())


def read_record(path: pathlib.Path) -> dict:
    """A record of a run folder.

    Raises:
      InputError: it is missing, or not whole.
    """
    with reading(path):
        return parse_json(path.read_text(encoding="utf-8"))
