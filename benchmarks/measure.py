"""Times, and what they are held against: the processor, its limit, its memory."""

import functools
import importlib
import importlib.util
import os
import pathlib
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from types import ModuleType

import jax
import jax.numpy as jnp

from asc_jax.runtime import precision

NOT_INSTALLED = "not installed"


def alternate(
    calls: Mapping[str, Callable[[], None]],
    rounds: int,
    *,
    in_a_row: int = 1,
    clock: Callable = time.perf_counter,
) -> dict[str, list]:
    """Times calls in turn, so that what else the machine does strikes all of them alike.

    Args:
      calls: by name; each blocks until its work is done.
      rounds: turns of each, after one call that is not timed.
      in_a_row: calls of a turn. Of several the first is not timed: right after another way's it
        takes up to twice as long (docs/performance.md); in training a step follows its own kind.
      clock: its differences are the times; one number, or an array of several clocks.

    Returns:
      Seconds of every timed call, by name.
    """
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            turn = []
            for _ in range(in_a_row):
                start = clock()
                call()
                turn.append(clock() - start)
            times[name] += turn[1:] if in_a_row > 1 else turn
    return times


def medians(times: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of every name's times."""
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def ratio(seconds: float | str, other: float | str) -> float | str:
    """How many times `other` is as long; its reason if it was not measured."""
    return other / seconds if isinstance(other, float) else other


def milliseconds(seconds: float | str) -> float | str:
    """Of a time, or its reason if it was not measured."""
    return 1e3 * seconds if isinstance(seconds, float) else seconds


def torch_peer(module: str, dtype: str = "float32") -> tuple[ModuleType, str] | str:
    """A module of this package that needs PyTorch, and PyTorch's device; or why there is none.

    PyTorch then multiplies float32 on a GPU as `train.precision` says, here `dtype`.
    """
    if importlib.util.find_spec("torch") is None:
        return NOT_INSTALLED
    import torch

    from benchmarks import torch_resnet

    for library in (torch.backends.cuda.matmul, torch.backends.cudnn):
        library.allow_tf32 = dtype == "tensorfloat32"

    device = torch_resnet.device(jax.default_backend())
    if device is None:
        return "no such device"
    return importlib.import_module(f"benchmarks.{module}"), device


@functools.cache
def matmul_limit(dtype: str = "float32", quick: bool = False) -> float:
    """The best FLOP/s that a square matrix product reaches here.

    Args:
      dtype: of `train.precision`; on a CPU it is always float32.
      quick: small matrices only.

    Returns:
      FLOP/s.
    """
    on_cpu = jax.default_backend() == "cpu"
    sizes = (256,) if quick else (512, 1024, 2048) if on_cpu else (512, 1024, 2048, 8192)
    multiply = jax.jit(functools.partial(jnp.matmul, precision=precision.products_of(dtype)))
    best = 0.0
    for size in sizes:
        a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
        a = a.astype(jnp.float32 if on_cpu else precision.dtype_of(dtype))
        # A product may take microseconds: several in a row outlast the dispatch.
        repeats = max(1, round(4e9 * (1 if on_cpu else 100) / (2 * size**3)))

        def several(a=a, repeats=repeats):
            out = [multiply(a, a) for _ in range(repeats)]
            jax.block_until_ready(out[-1])

        seconds = min(alternate({"matmul": several}, 1 if quick else 5)["matmul"])
        best = max(best, 2 * size**3 * repeats / seconds)
    return best


@functools.cache
def bandwidth(quick: bool = False) -> float:
    """The bytes a second that a pass over a large array reads and writes here."""
    n = 2**20 if quick else 2**27
    values = jnp.zeros(n, jnp.float32)
    add = jax.jit(lambda values: values + 1)
    calls = {"add": lambda: add(values).block_until_ready()}
    return 2 * values.nbytes / min(alternate(calls, 1 if quick else 10)["add"])


def peak_memory() -> dict[str, float]:
    """The most memory in use so far, GiB, labelled by whose it is."""
    stats = jax.devices()[0].memory_stats() or {}
    if jax.default_backend() != "cpu" and "peak_bytes_in_use" in stats:
        return {"device peak GiB": stats["peak_bytes_in_use"] / 2**30}
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return {"process peak GiB": used * unit / 2**30}


def device() -> dict[str, str | int]:
    """What the times were taken on."""
    backend = jax.default_backend()
    if backend == "cpu":
        return {"platform": "cpu", "kind": _processor(), "cores": os.cpu_count()}
    return {"platform": backend, "kind": jax.devices()[0].device_kind, "count": jax.device_count()}


def _processor() -> str:
    """The processor's name as the system gives it."""
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
