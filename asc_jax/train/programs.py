"""Compiled programs that outlive their process: a later one neither traces nor compiles them.

JAX's own cache of compiled programs is asked with the traced program, and to trace a deep
network takes longer than to read it. Here a program is told by what it is traced from: its step
and the step's arguments, the package's source, the libraries, the device and JAX's settings.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import pickle
import platform
import types
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.experimental import serialize_executable

import asc_jax
from asc_jax.files import write_whole
from asc_jax.tracing import uncollected

PACKAGE = pathlib.Path(asc_jax.__file__).parent
MOST = 64  # programs in a folder; those that have not been read for longest go first
_DIGEST = hashlib.sha256().digest_size  # of the program, before it in its file
LIBRARIES = ("flax", "jax", "jaxlib", "numpy", "optax")

_folder: pathlib.Path | None = None  # of this process's programs; see `keep_in`


class Unnameable(Exception):
    """A value that no name tells apart from others in another process."""


def keep_in(folder: pathlib.Path | None) -> None:
    """Keeps the programs of this process from now on in a folder; None for no longer.

    What they are traced from must be the package as it is on disk: nothing in it replaced.
    Programs are read with pickle, and run: nobody else may be able to write there.
    """
    global _folder
    _folder = folder


def _keeps() -> bool:
    return _folder is not None and jax.process_count() == 1


class Program:
    """A function of `jax.jit` that reads its compiled programs from where they are kept.

    Where nothing is kept, and with several processes, it is the function itself. A function that
    has no name beyond its process (a lambda, a closure) is compiled in each.
    """

    def __init__(self, function: Callable, traced_from: tuple, devices: Sequence[jax.Device]):
        """Makes a program.

        Args:
          function: of `jax.jit`.
          traced_from: what `describe` can tell, or not.
          devices: that it runs on, in the order of its mesh.
        """
        self._function = function
        self._traced_from = traced_from
        self._devices = tuple(devices)
        self._compiled = {}
        self.lower = function.lower

    def __call__(self, *args):
        """As the function; the arguments are trees of arrays."""
        return self.compiled(*args)(*args) if _keeps() else self._function(*args)

    def compiled(self, *args) -> jax.stages.Compiled:
        """The compiled program for arguments like these, read from where it is kept if it is.

        Args:
          *args: trees of arrays.
        """
        leaves, structure = jax.tree.flatten(args)
        # As quick as a call of `jax.jit`: it is asked before every step.
        seen = structure, tuple(map(_look, leaves))
        if seen not in self._compiled:
            kinds = repr((structure, [_kind(leaf) for leaf in leaves]))
            if kinds not in self._compiled:
                self._compiled[kinds] = self._read_or_compile(args, kinds)
            self._compiled[seen] = self._compiled[kinds]
        return self._compiled[seen]

    def _read_or_compile(self, args: tuple, kinds: str) -> jax.stages.Compiled:
        path = self._place(kinds)
        compiled = path and _read(path, self._devices)
        if compiled is None:
            with uncollected():
                lowered = self._function.lower(*args)
            compiled = lowered.compile()
            if path and path == self._place(kinds):  # or the source was edited meanwhile
                _write(path, compiled)
        return compiled

    def _place(self, kinds: str) -> pathlib.Path | None:
        """The file of a program; None for one that is not kept."""
        if not _keeps():
            return None
        devices = [device.id for device in self._devices]
        try:
            told = [describe(self._traced_from), devices, kinds, source_digest(), *_surroundings()]
        except Unnameable:
            return None
        return _folder / f"{hashlib.sha256(json.dumps(told).encode()).hexdigest()}.program"


def _look(leaf) -> tuple:
    """What of an argument is seen at once; a place has several names."""
    return (
        leaf.shape,
        leaf.dtype,
        getattr(leaf, "weak_type", False),
        getattr(leaf, "sharding", None),
    )


def _kind(leaf) -> tuple:
    """What a program is compiled for, of one of its arguments: shape, type and place."""
    aval, place = jax.typeof(leaf), ()
    if isinstance(leaf, jax.Array):
        parts = leaf.sharding.devices_indices_map(leaf.shape)
        place = sorted((device.id, str(part)) for device, part in parts.items())
    return aval.shape, str(aval.dtype), aval.weak_type, place


def _read(path: pathlib.Path, devices: Sequence[jax.Device]) -> jax.stages.Compiled | None:
    """A kept program; None where there is none that works here."""
    try:
        content = path.read_bytes()
        digest, program = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(program).digest() != digest:
            return None  # damaged: machine code that nobody may run
        compiled = serialize_executable.deserialize_and_load(
            *pickle.loads(program), backend=devices[0].client, execution_devices=devices
        )
    except Exception:  # no file, or one that this machine's XLA does not take
        return None
    with contextlib.suppress(OSError):  # somebody else's
        os.utime(path)
    return compiled


def _write(path: pathlib.Path, compiled: jax.stages.Compiled) -> None:
    """Keeps a program; where it cannot be kept the next process compiles it again."""
    try:
        program = pickle.dumps(serialize_executable.serialize(compiled))
        write_whole(path, hashlib.sha256(program).digest() + program)
        by_age = sorted(path.parent.glob("*.program"), key=lambda kept: kept.stat().st_mtime)
        for old in by_age[:-MOST]:
            old.unlink()
    except Exception:  # a full disk, or a device whose programs cannot be taken out of JAX
        return


def describe(value) -> object:
    """What tells a value apart in another process, out of JSON's types.

    Raises:
      Unnameable: nothing does.
    """
    if type(value) in (type(None), bool, int, float, str):
        return value
    match value:
        case functools.partial():
            return ["partial", *map(describe, (value.func, value.args, value.keywords))]
        case tuple() | list():
            return [type(value).__name__, *map(describe, value)]
        case Mapping():
            return ["mapping", *([describe(key), describe(value[key])] for key in value)]
        case np.dtype():
            return ["dtype", value.name]
        case types.FunctionType() | type() if _is_known(value):
            return [value.__module__, value.__qualname__]
    if dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value) if field.name != "parent"]
        return [describe(type(value)), {name: describe(getattr(value, name)) for name in fields}]
    raise Unnameable(value)


def _is_known(value: Callable) -> bool:
    """Whether its name tells a function or class: it stands at the top of a known module."""
    package = value.__module__.partition(".")[0]
    return package in (asc_jax.__name__, *LIBRARIES) and "<" not in value.__qualname__


def _surroundings() -> tuple[str, ...]:
    """Of all programs of this process: libraries, devices, and the settings of JAX and XLA."""
    settings = {
        name: repr(value) for name, value in jax.config.values.items() if "cache" not in name
    }
    variables = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NPROC", "PJRT_NPROC")
    return (
        *(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES),
        jax.devices()[0].client.platform_version,
        *(f"{device.id} {device.device_kind}" for device in jax.devices()),
        *_processor(),
        json.dumps(settings, sort_keys=True),
        *(f"{name}={os.environ.get(name)}" for name in variables),
    )


def _processor() -> tuple[str, ...]:
    """What programs for CPUs are made for: instructions, and cores to share their work out to."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = [line for line in lines if line.startswith(("flags", "Features"))]
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count()
    return platform.machine(), platform.processor(), f"{cores} cores", *flags[:1]


def source_digest() -> str:
    """Of the package's files, which are what this process runs.

    Raises:
      Unnameable: one was written since the process began; it may run either version of it.
    """
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.stat().st_mtime > asc_jax.STARTED:
            raise Unnameable(path)
        content = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
