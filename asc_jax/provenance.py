"""What a run was computed by: its programs, source, settings, libraries, devices; start by start.

`starts.jsonl` of a run folder has a line for each process that began to train in it. A run is told
by the programs that JAX has traced, before they are compiled: whatever function, constant or
gradient another one has been put in the place of, the program is another. The files of the package
are there to say what has changed. Who scores the run, maybe on another machine and years later,
finds here what trained it. JAX is imported where it is asked: the record can be read without.
"""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import sys
from collections.abc import Mapping, Sequence

from asc_jax import __version__, hosts
from asc_jax.errors import InputError
from asc_jax.files import digest, parse_json, write_whole

NAME = "starts.jsonl"

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
_PACKAGE = pathlib.Path(__file__).parent

# Fields of a start in which two must agree for their programs to be comparable: elsewhere, or by
# another version, the same functions are traced to other programs.
_SAME = ("device", "mesh", "versions")


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
    shapes: Mapping[str, Sequence[int]],
    *,
    step: int = 0,
) -> dict:
    """What this process computes a run by.

    Args:
      mesh: of the devices.
      programs: name -> digest of what is traced, or of what decodes; None of what has no name.
      shapes: of these, what a program is traced for and may differ between equal runs.
      step: that the run goes on from.

    Returns:
      A line of `starts.jsonl`.
    """
    import jax

    return {
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "step": step,
        "device": mesh.devices.flat[0].device_kind,
        "n_devices": mesh.devices.size,
        "mesh": list(mesh.devices.shape),
        "n_processes": jax.process_count(),
        "versions": versions(),
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "programs": dict(programs),
        "source": file_digests(),
        "settings": {
            **{name: repr(value) for name, value in sorted(jax.config.values.items())},
            **{name: os.environ[name] for name in _VARIABLES if name in os.environ},
        },
    }


def file_digests() -> dict[str, str]:
    """Path below the package -> digest, of its Python files."""
    return {
        path.relative_to(_PACKAGE).as_posix(): digest(path.read_bytes())
        for path in sorted(_PACKAGE.rglob("*.py"))
        if path.is_file()
    }


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
    kinds = {"step": int, "device": str, "n_devices": int, "mesh": list}
    kinds |= dict.fromkeys(("versions", "programs", "shapes", "source"), dict)
    try:
        starts = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        whole = all(isinstance(one[field], kinds[field]) for one in starts for field in kinds)
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise InputError(f"{path}: cannot be read; restore it, or delete it")
    return starts


def refuse_another(folder: pathlib.Path, now: Mapping, *, step: int, allowed: bool) -> None:
    """Checks that a run goes on, or is used, with the functions that trained it.

    Args:
      folder: the run's.
      now: from `describe`; programs of other names than the run has do not count.
      step: of the checkpoint.
      allowed: whether other functions may go on.

    Raises:
      InputError: naming what has changed.
    """
    if not hosts.is_first() or allowed:
        return
    starts = [start for start in read_starts(folder) if start["step"] < step]
    if starts and (changed := other_programs(starts[-1], now)):
        files = other_files(starts[-1], now) or ["none of its own files"]
        raise InputError(
            f"{folder}: was trained by other functions ({in_short(changed)} is not what it was; of "
            f"asc_jax changed: {in_short(files)}); use another --workdir, or add --other_functions "
            "to go on with those of today"
        )


def other_programs(then: Mapping, now: Mapping) -> list[str]:
    """The programs that differ between two starts, by name; none where they cannot be compared."""
    if any(then[field] != now[field] for field in _SAME):
        return []
    shapes = then["shapes"], now["shapes"]
    names = then["programs"].keys() & now["programs"].keys()
    both = [name for name in names if shapes[0].get(name) == shapes[1].get(name)]
    a, b = then["programs"], now["programs"]
    return sorted(name for name in both if a[name] is None or a[name] != b[name])


def other_files(then: Mapping, now: Mapping) -> list[str]:
    """The files of the package that differ between two starts; such as make pages are none."""
    a, b = then["source"], now["source"]
    names = {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
    return sorted(name for name in names if not name.startswith("report/"))


def say_other_files(folders: Sequence[pathlib.Path]) -> None:
    """Says which runs, done before, come from other files of the package than the next ones will.

    Args:
      folders: of the runs.
    """
    now = {"source": file_digests()}
    others, files = [], set()
    for folder in folders:
        starts = read_starts(folder)
        if starts and (changed := other_files(starts[-1], now)):
            others.append(folder.name)
            files |= set(changed)
    if others:
        print(
            f"done before by other files of asc_jax ({in_short(sorted(files))}): "
            f"{in_short(others)}; delete these folders to have them trained anew",
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
