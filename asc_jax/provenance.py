"""What a run was computed by: source, settings of JAX, libraries, devices; at every start.

`starts.jsonl` of a run folder has a line for each process that began to train in it. What scores
the run, maybe on another machine and years later, takes them from there. JAX is imported where it
is asked, so that the record can be read without.
"""

import datetime
import functools
import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Mapping, Sequence

from asc_jax import __version__, hosts, source
from asc_jax.errors import InputError
from asc_jax.files import parse_json, write_whole

NAME = "starts.jsonl"

# What a run that goes on may find changed; see `refuse_another`.
SOURCES = ("same", "any")

# Settings of JAX that change numbers.
_SETTINGS = (
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_enable_x64",
    "jax_numpy_dtype_promotion",
    "jax_threefry_partitionable",
)
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_PACKAGE = pathlib.Path(__file__).parent

# What reads the command line and makes pages: no number of a run comes from there.
_NO_NUMBERS = ("cli", "flags", "report", "__main__")


def versions() -> dict[str, str]:
    """The versions of Python, this package and what it computes with, by name."""
    found = {"python": platform.python_version(), "asc_jax": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # of no distribution: nothing to say
            continue
    return found


def computed_by() -> dict[str, dict]:
    """What decides the numbers of a run beside its config, its data and its devices.

    Returns:
      "settings" of JAX, by name; and the "source": a digest of each file of the package that may
      decide a number, and of each function that another's code, a config's say, has put in the
      place of one of theirs.
    """
    import jax

    return {
        "settings": {name: getattr(jax.config, name, None) for name in _SETTINGS},
        "source": {
            name: found
            for name, found in (_files() | source.replaced(__package__)).items()
            if not name.removeprefix(f"{__package__}.").startswith(_NO_NUMBERS)
        },
    }


@functools.cache  # as this process has read them
def _files() -> dict[str, str]:
    return source.file_digests(_PACKAGE)


def add_start(folder: pathlib.Path, mesh, *, step: int) -> None:
    """Adds a line to a run's `starts.jsonl`: this process, and the devices that it trains on.

    Args:
      folder: the run's; of several processes the first one adds the line.
      mesh: of the devices.
      step: that the run goes on from.

    Raises:
      InputError: it cannot be written.
    """
    import jax

    if not hosts.is_first():
        return
    start = {
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "step": step,
        "device": mesh.devices.flat[0].device_kind,
        "n_devices": mesh.devices.size,
        "mesh": list(mesh.devices.shape),
        "n_processes": jax.process_count(),
        "versions": versions(),
        **computed_by(),
    }
    lines = [*read_starts(folder), start]
    write_whole(folder / NAME, "".join(json.dumps(one, allow_nan=False) + "\n" for one in lines))


def read_starts(folder: pathlib.Path) -> list[dict]:
    """The starts of a run in order; none of a run of a version that did not write them.

    Raises:
      InputError: the file is not whole.
    """
    path = folder / NAME
    if not path.exists():
        return []
    try:
        starts = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        _ = [(one["step"], one["device"] + "", one["n_devices"] + 0) for one in starts]
        _ = [dict(one[part].items()) for one in starts for part in ("versions", *_COMPARED)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: cannot be read; restore it, or delete it") from None
    return starts


_COMPARED = ("settings", "source")


def differences(folder: pathlib.Path) -> list[str]:
    """What decides a run's numbers and is not what it was when the run was last trained.

    Args:
      folder: the run's.

    Returns:
      Names of files, functions and settings; none of a run without `starts.jsonl`.
    """
    starts = read_starts(folder)
    if not starts:
        return []
    now = computed_by()
    return [
        name
        for part in _COMPARED
        for name in sorted(_changed(starts[-1][part], json.loads(json.dumps(now[part]))))
    ]


def _changed(theirs: Mapping, ours: Mapping) -> set[str]:
    return {name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name)}


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


def refuse_another(folder: pathlib.Path, allowed: str) -> None:
    """Checks that a run goes on with the functions that it began with, if it has begun.

    Args:
      folder: the run's; without a checkpoint it begins anew.
      allowed: of `SOURCES`; "any" lets it go on with others.

    Raises:
      InputError: naming what has changed.
    """
    if not hosts.is_first() or allowed == "any" or not any(folder.glob("checkpoints/[0-9]*")):
        return
    if changed := differences(folder):
        raise InputError(
            f"{folder}: was trained by other functions: {in_short(changed)} changed since; use "
            "another --workdir, or add --config.train.source=any to go on with today's"
        )


def is_current(folder: pathlib.Path, allowed: str) -> bool:
    """Whether what there is of a run comes from today's functions; as `refuse_another`."""
    return allowed == "any" or not differences(folder)


def in_short(names: list[str]) -> str:
    """The first three of some names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
