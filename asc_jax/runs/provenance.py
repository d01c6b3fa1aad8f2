"""What a run was computed by: its programs, source, settings, libraries, devices; start by start.

`starts.jsonl` of a run folder has a line for each process that began to train in it. What JAX
traces is known by its text, before it is compiled: whatever function, constant or gradient another
one has been put in the place of, the text is another. It is traced for one model on one device,
so that runs of any size can be compared. What the host computes is known by its answers to a
question that is always the same. The files of the package are there to say what has changed. Who
scores the run, maybe on another machine and years later, finds here what trained it. JAX is
imported where it is asked: the record can be read without.
"""

import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from asc_jax import __version__
from asc_jax.parallel import hosts
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, write_whole
from asc_jax.runtime.sources import file_digests

NAME = "starts.jsonl"

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")

# Libraries of which another version may trace the same functions to other programs.
_TRACERS = ("jax", "jaxlib", "flax", "optax")

# Fields of a start by which it is compared with another.
COMPARED = ("platform", "versions", "programs", "answers", "source")

# What to do about a run that is to be used.
TAKE_ITS_VERSION = "take the version of asc_jax that made it"

# Answers that differ by less, or by less than this share of them, are the same: another machine
# rounds otherwise, to another step of a clip's 16 bits too.
_TOLERANCE = 1e-3


def versions() -> dict[str, str]:
    """The versions of Python, this package and what it computes with, by name."""
    found = {"python": platform.python_version(), "asc_jax": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # of no distribution: nothing to say
            continue
    return found


def describe(
    mesh,
    programs: Mapping[str, str | None],
    answers: Mapping[str, Any],
    *,
    step: int = 0,
    files: Mapping[str, str] | None = None,
) -> dict:
    """What this process computes a run by.

    Args:
      mesh: of the devices.
      programs: name -> from `programs.name_program`, or another digest.
      answers: name -> the numbers, an array or a list, that the host computes for a question
        that is always the same.
      step: the step from which the run is resumed.
      files: from `sources.written_in`, that are not the package's.

    Returns:
      A line of `starts.jsonl`.
    """
    import jax

    device = mesh.devices.flat[0]
    return {
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "step": step,
        "platform": device.platform,
        "device": device.device_kind,
        "n_devices": mesh.devices.size,
        "n_processes": jax.process_count(),
        "versions": versions(),
        "programs": dict(programs),
        "answers": {name: _in_short(answer) for name, answer in answers.items()},
        "source": {**(files or {}), **file_digests()},
        "settings": {
            **{name: repr(value) for name, value in sorted(jax.config.values.items())},
            **{name: os.environ[name] for name in _VARIABLES if name in os.environ},
        },
    }


def _in_short(answer) -> list[float | None]:
    """A hundred of an answer's numbers at most; None for what is not finite, which JSON has not."""
    import numpy as np

    numbers = np.ravel(answer)
    places = np.linspace(0, numbers.size - 1, min(numbers.size, 100)).round().astype(int)
    return [float(f"{x:.6g}") if math.isfinite(x) else None for x in numbers[places]]


def add_start(folder: pathlib.Path, start: Mapping) -> None:
    """Adds a line to a run's `starts.jsonl`; of several processes the first one does.

    Raises:
      InputError: it cannot be written.
    """
    if hosts.is_first():
        lines = [json.dumps(one, allow_nan=False) for one in (*read_starts(folder), start)]
        write_whole(folder / NAME, "\n".join(lines) + "\n")


def read_starts(folder: pathlib.Path) -> list[dict]:
    """The starts of a run in order; none of a run of a version that did not write them.

    Raises:
      InputError: the file is not whole.
    """
    path = folder / NAME
    if not path.exists():
        return []
    kinds = {"step": int, "platform": str, "device": str, "n_devices": int}
    kinds |= dict.fromkeys(("versions", "programs", "answers", "source"), dict)
    try:
        starts = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        whole = all(isinstance(one[field], kinds[field]) for one in starts for field in kinds)
        numbers = [x for one in starts for answer in one["answers"].values() for x in answer]
        whole &= all(isinstance(x, int | float | None) for x in numbers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise InputError("cannot be read; restore it, or delete it", path=path)
    return starts


def refuse_another(
    folder: pathlib.Path,
    now: Mapping,
    *,
    step: int,
    allowed: bool,
    mend: str = TAKE_ITS_VERSION,
) -> None:
    """Checks that a run is resumed or used with the functions that made it.

    Where the programs cannot be compared, it says which files of the package have changed, if any.

    Args:
      folder: the run's.
      now: from `describe`; functions of other names than the run has do not count.
      step: of the checkpoint: of starts after it nothing is left.
      allowed: whether other functions are accepted.
      mend: what else can be done.

    Raises:
      InputError: naming what has changed.
    """
    if not hosts.is_first() or allowed:
        return
    starts = [start for start in read_starts(folder) if start["step"] < step]
    if starts:
        refuse_unlike(starts[-1], now, folder, mend)


def refuse_unlike(then: Mapping, now: Mapping, folder: pathlib.Path, mend: str) -> None:
    """Checks that two starts are by the same functions.

    Args:
      then: of what was made.
      now: of this process; functions of other names do not count.
      folder: what was made, for the message.
      mend: see `refuse_another`.

    Raises:
      InputError: naming what has changed.
    """
    files = in_short(other_files(then, now))
    if changed := other_functions(then, now):
        host = [name for name in changed if now["programs"].get(name, "") is None]
        if host == changed:
            raise InputError(
                f"it cannot be checked whether its functions have changed: {in_short(host)} "
                f"calls back into Python, as jax.debug.print does; remove that call, {mend}, or "
                "add --other_functions to use the current ones",
                path=folder,
            )
        raise InputError(
            f"was made by functions that have changed since: {in_short(changed)} "
            f"({f'files of asc_jax: {files}' if files else 'in no file of asc_jax'}); "
            f"{mend}, or add --other_functions to use the current ones",
            path=folder,
        )
    if other_files(then, now):
        unlike = _incomparable(then, now)
        print(
            f"{folder}: was made by other versions of files of asc_jax ({files}); "
            + (
                f"with {unlike}, so its functions cannot be compared with the current ones"
                if unlike
                else "no function that matters here has changed, as far as they can be compared"
            ),
            file=sys.stderr,
        )


def are_same(then, now: Mapping) -> bool:
    """Whether two starts, or what is kept of them (`COMPARED`), are by the same functions."""
    try:
        return not (
            _incomparable(then, now) or other_functions(then, now) or other_files(then, now)
        )
    except (LookupError, TypeError, AttributeError):  # of another version, or damaged
        return False


def other_functions(then: Mapping, now: Mapping) -> list[str]:
    """The functions that differ between two starts, by name, of those that can be compared."""
    if _incomparable(then, now):
        return []
    a, b = then["programs"], now["programs"]
    changed = [name for name in a.keys() & b.keys() if a[name] is None or a[name] != b[name]]
    a, b = then["answers"], now["answers"]
    return sorted([*changed, *(n for n in a.keys() & b.keys() if not _agree(a[n], b[n]))])


def _incomparable(then: Mapping, now: Mapping) -> str:
    """In what two starts are so unlike that their programs cannot be compared; "" in nothing."""
    if then["platform"] != now["platform"]:
        return f"a {then['platform']}"
    for name in _TRACERS:
        versions = then["versions"].get(name), now["versions"].get(name)
        if versions[0] != versions[1]:
            return f"{name} {versions[0]}"
    return ""


def _agree(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
    """Whether two lists of answers are the same but for rounding."""
    if len(a) != len(b):
        return False
    same = lambda x, y: math.isclose(x, y, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return all(x is y if x is None or y is None else same(x, y) for x, y in zip(a, b, strict=True))


def other_files(then: Mapping, now: Mapping) -> list[str]:
    """The files of the package that differ between two starts; such as make pages are none."""
    a, b = then["source"], now["source"]
    names = {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
    return sorted(name for name in names if not name.startswith("report/"))


def say_other_files(folders: Sequence[pathlib.Path]) -> None:
    """Says which runs, done before, come from other files of the package than the next will."""
    now = {"source": file_digests()}
    others, files = [], set()
    for folder in folders:
        starts = read_starts(folder)
        if starts and (changed := other_files(starts[-1], now)):
            others.append("/".join(folder.parts[-2:]))
            files |= set(changed)
    if others:
        print(
            f"made by other versions of files of asc_jax ({in_short(sorted(files))}): "
            f"{in_short(others)}; delete these folders to train them again",
            file=sys.stderr,
        )


def in_short(names: Sequence[str]) -> str:
    """The first three of some names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def trained_on(starts: Sequence[Mapping]) -> str:
    """The devices of a run's starts, as "NVIDIA H100 x 8"; "" where no start is known."""
    names = [f"{start['device']} x {start['n_devices']}" for start in starts]
    return ", ".join(dict.fromkeys(names))


def device_seconds(starts: Sequence[Mapping], epochs: Sequence[Mapping]) -> float | None:
    """The time of a run's epochs, each times the devices that it was trained on.

    Args:
      starts: from `read_starts`.
      epochs: the lines of the log.

    Returns:
      Seconds; None where no start is known. An epoch that several starts share counts as the
      last one's.
    """
    if not starts:
        return None
    total = 0.0
    for epoch in epochs:
        of_epoch = [start for start in starts if start["step"] < epoch["step"]]
        total += epoch["seconds"] * (of_epoch or starts[:1])[-1]["n_devices"]
    return total
