"""From process start to the end of the first training step, without and with a cache.

Every measurement is a process of its own; this one must not take the GPU from it.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from asc_jax.runtime import environment
from benchmarks import training


def run(args) -> dict:
    """Measures a cold and a warm start; see `benchmarks.__main__` for the arguments."""
    model = training.TINY if args.quick else training.SE_RESNET152
    size = training.QUICK if args.quick else training.Size(batch=args.batch)
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for start in ("cold", "warm"):
            child = start_process(
                {"model": model, "size": dataclasses.asdict(size), "cache": cache}
            )
            rows.append({"start": start} | child["seconds"])
    return {"rows": rows, "model": model, "size": dataclasses.asdict(size),
            "device": child["device"]}  # fmt: skip


def start_process(task: dict) -> dict:
    """Runs `first_step` in a new process.

    Args:
      task: its argument, but for when the process began.

    Returns:
      What it printed.
    """
    task = task | {"began": time.time()}
    command = [sys.executable, "-m", "benchmarks.cold_start", json.dumps(task)]
    folder = pathlib.Path(__file__).parents[1]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=folder)
    return json.loads(done.stdout.splitlines()[-1])


def first_step(task: dict) -> dict:
    """Trains one step with a compilation cache in `task["cache"]`.

    Returns:
      "seconds" of every phase and in all, and the "device".
    """
    environment.import_jax()
    import jax

    from benchmarks import measure

    imports = time.time() - task["began"]
    jax.config.update("jax_compilation_cache_dir", task["cache"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    prepared = training.prepare(task["model"], training.Size(**task["size"]))
    start = time.perf_counter()
    training.stepper(prepared)()
    phases = {"imports": imports, **prepared.seconds, "first step": time.perf_counter() - start}
    phases["total"] = time.time() - task["began"]
    seconds = {f"{name} s": value for name, value in phases.items()}
    return {"seconds": seconds, "device": measure.device()}


if __name__ == "__main__":
    print(json.dumps(first_step(json.loads(sys.argv[1]))))
