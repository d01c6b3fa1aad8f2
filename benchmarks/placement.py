"""An epoch with the clips on the device, spread over the devices, and read from the host.

The memory of each is measured in a process of its own, before this one takes much: a process
begins with its parent's peak.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from asc_jax.data import batches
from asc_jax.data.pool import Pool, take
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD
from asc_jax.parallel.mesh import make_mesh
from asc_jax.train import classifier
from asc_jax.train.feed import Feed, make_feed
from benchmarks import measure, training

PLACEMENTS = ("device", "sharded", "host")
MEMORY_CLIPS = 26_000  # 1 GB of log-mels, three times DCASE 2018's development set


def run(args) -> dict:
    """Measures memory and epochs; see `benchmarks.__main__` for the arguments."""
    model = training.TINY  # there is little to compute for a clip: what its way costs shows
    size = training.QUICK if args.quick else training.Size(batch=args.batch)
    n_clips = args.clips or (32 if args.quick else 512)
    with tempfile.TemporaryDirectory() as folder:
        task = {"size": dataclasses.asdict(size), "n_clips": 64 if args.quick else MEMORY_CLIPS}
        task["file"] = str(write_values(pathlib.Path(folder) / "large.npy", size, task["n_clips"]))
        memory = {one: in_process(task | {"placement": one}) for one in PLACEMENTS}
        file = write_values(pathlib.Path(folder) / "values.npy", size, n_clips)
        epochs = epochs_of_placements(model, size, open_pool(file))
        times = measure.alternate(
            {name: functools.partial(next, one) for name, one in epochs.items()},
            rounds=1 if args.quick else 5,
        )
        losses = {name: next(one) for name, one in epochs.items()}
    seconds = measure.medians(times)
    n_steps = losses["device"].shape[1]
    rows = [
        {
            "clips are": name,
            "s per epoch": seconds[name],
            "ms per step": 1e3 * seconds[name] / n_steps,
            "more ms": 1e3 * (seconds[name] - seconds["device"]) / n_steps,
            "of device's time": seconds[name] / seconds["device"],
            "same losses": str(bool((losses[name] == losses["device"]).all())),
            "GiB of clips": memory[name]["clips GiB"],
            "before GiB": memory[name]["before"],
            **memory[name]["peak"],
            "times s": times[name],
        }
        for name in PLACEMENTS
    ]
    return {"rows": rows, "model": model, "size": dataclasses.asdict(size), "clips": n_clips,
            "steps": n_steps, "memory clips": task["n_clips"]}  # fmt: skip


def epochs_of_placements(model: dict, size: training.Size, host_pool: Pool) -> dict:
    """A generator per placement that trains another epoch each time and yields its losses."""
    n_clips = len(host_pool.targets)
    splits = training.make_splits(size.folds, n_clips)
    one_model = training.make_model(model, size)
    mesh = make_mesh(size.folds, size.batch)
    state = jax.device_get(training.initial(one_model, splits, host_pool, mesh))
    steps = classifier.compile_steps(mesh, one_model)

    def train(feed: Feed):
        now = put(state, mesh, PER_FOLD)
        while True:
            collected = []
            for pool, clips in feed.calls(calls(splits, size)):
                now, metrics = steps.train(now, pool, clips)
                if collected:  # one call ahead of the device, as in training
                    jax.block_until_ready(collected[-1])
                collected.append(metrics["loss"])
            yield np.concatenate(jax.device_get(collected), axis=1)

    return {name: train(make_feed([host_pool], mesh, name)) for name in PLACEMENTS}


def calls(splits, size: training.Size) -> list[np.ndarray]:
    """The indices of an epoch's steps, one step a call."""
    n_steps = batches.steps_per_epoch(splits, size.batch)
    indices = batches.epoch_indices(splits, seed=0, epoch=0, n_steps=n_steps, batch_size=size.batch)
    return [indices[:, i : i + 1] for i in range(n_steps)]


def write_values(path: pathlib.Path, size: training.Size, n_clips: int) -> pathlib.Path:
    """A file of noise in the shape of log-mels, as the cache has it, a clip at a time."""
    rng = np.random.default_rng(0)
    shape = (size.n_frames, size.n_mels)
    with path.open("wb") as file:
        header = {"descr": "<i2", "fortran_order": False, "shape": (n_clips, *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(n_clips):
            file.write(rng.integers(-30_000, 30_000, shape, dtype=np.int16).tobytes())
    return path


def open_pool(file: pathlib.Path) -> Pool:
    """The pool of a file of `write_values`."""
    values = np.load(file, mmap_mode="r")
    n_clips = len(values)
    targets = np.arange(n_clips, dtype=np.int32) % training.N_CLASSES
    return Pool(values, np.full(n_clips, 1e-4, np.float32), np.zeros(n_clips, np.float32), targets)


def in_process(task: dict) -> dict:
    """Runs `pass_over` in a new process, and returns what it printed."""
    command = [sys.executable, "-m", "benchmarks.placement", json.dumps(task)]
    folder = pathlib.Path(__file__).parents[1]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=folder)
    return json.loads(done.stdout.splitlines()[-1])


def pass_over(task: dict) -> dict:
    """Brings every batch of an epoch to the devices and sums it up, without a network.

    Returns:
      The process's peak before, the peak of the process or the device at the end, and the size
      of the clips, GiB.
    """
    size = training.Size(**task["size"])
    host_pool = open_pool(pathlib.Path(task["file"]))
    mesh = make_mesh(size.folds, size.batch)
    total = jax.jit(lambda pool, clips: jnp.sum(take(pool, clips.reshape(-1))))
    before = next(iter(measure.peak_memory().values()))
    feed = make_feed([host_pool], mesh, task["placement"])
    splits = training.make_splits(size.folds, task["n_clips"])
    with contextlib.closing(feed.calls(calls(splits, size))) as given:
        for pool, clips in given:
            total(pool, clips).block_until_ready()
    clips_gib = host_pool.values.nbytes / 2**30
    return {"before": before, "peak": measure.peak_memory(), "clips GiB": clips_gib}


if __name__ == "__main__":
    print(json.dumps(pass_over(json.loads(sys.argv[1]))))
