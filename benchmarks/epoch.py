"""An epoch of SE-ResNet(152)-rev over a pool as large as DCASE 2018's."""

import dataclasses
import sys
import time
from collections.abc import Mapping

import jax
import numpy as np

from benchmarks import measure, training

N_CLIPS = 8640
MOST_ON_CPU = 1024


def run(args) -> dict:
    """Measures one epoch after a first step; see `benchmarks.__main__` for the arguments."""
    n_clips = args.clips or (32 if args.quick else N_CLIPS)
    if jax.default_backend() == "cpu" and n_clips > MOST_ON_CPU:
        sys.exit(f"epoch: {n_clips} clips take hours on a CPU; set --clips=256, or use a GPU")
    model = training.TINY if args.quick else training.SE_RESNET152
    size = training.QUICK if args.quick else training.Size(batch=args.batch)
    row = measure_epoch(model, size, args.dtype, n_clips, quick=args.quick)
    return {"rows": [row], "size": dataclasses.asdict(size), "dtype": args.dtype}


def measure_epoch(
    model: Mapping, size: training.Size, dtype: str, n_clips: int, *, quick: bool
) -> dict:
    """A row for the steps of one epoch, as many in a call as training queues at once."""
    prepared = training.prepare_as_trained(model, size, dtype, n_clips)
    seconds, losses = train(prepared)
    n_steps = losses.shape[1]
    rate = training.step_flops(model, size) * n_steps / seconds
    return {
        "clips": n_clips,
        "steps": n_steps,
        "s per epoch": seconds,
        "ms per step": 1e3 * seconds / n_steps,
        # Of all folds: each passes through its own copy of the network.
        "clips/s": size.folds * size.batch * n_steps / seconds,
        "GFLOP/s": rate / 1e9,
        "of matmul limit": rate / measure.matmul_limit(dtype, quick),
        "compile s": prepared.seconds["program"],
        "finite losses": str(bool(np.isfinite(losses).all())),
        **measure.peak_memory(),
    }


def train(prepared: training.Prepared) -> tuple[float, np.ndarray]:
    """The whole calls of one epoch, as the training loop does them.

    Returns:
      Their seconds, and the losses (F, steps).
    """
    state, pool, clips = prepared.state, prepared.pool, prepared.clips
    size = prepared.n_steps
    state, metrics = prepared.train(state, pool, clips[:, :size])  # not timed: the first is slower
    jax.block_until_ready(state)
    start = time.perf_counter()
    collected = []
    for i in range(0, clips.shape[1] - size + 1, size):
        state, metrics = prepared.train(state, pool, clips[:, i : i + size])
        if collected:  # one call ahead of the device, as in training
            jax.block_until_ready(collected[-1])
        collected.append(metrics)
    losses = np.concatenate([one["loss"] for one in jax.device_get(collected)], axis=1)
    jax.block_until_ready(state)
    return time.perf_counter() - start, losses
