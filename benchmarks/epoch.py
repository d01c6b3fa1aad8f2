"""An epoch of SE-ResNet(152)-rev over a pool as large as DCASE 2018's."""

import dataclasses
import sys
import time

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
    prepared = training.prepare(model, size, dtype=args.dtype, n_clips=n_clips)
    seconds, losses = train(prepared)
    n_steps = prepared.clips.shape[1]
    rate = training.step_flops(model, size) * n_steps / seconds
    row = {
        "clips": n_clips,
        "steps": n_steps,
        "s per epoch": seconds,
        "ms per step": 1e3 * seconds / n_steps,
        # Of all folds: each passes through its own copy of the network.
        "clips/s": size.folds * size.batch * n_steps / seconds,
        "GFLOP/s": rate / 1e9,
        "of matmul limit": rate / measure.matmul_limit(args.dtype, args.quick),
        "compile s": prepared.seconds["program"],
        "finite losses": str(bool(np.isfinite(losses).all())),
        **measure.peak_memory(),
    }  # fmt: skip
    return {"rows": [row], "size": dataclasses.asdict(size), "dtype": args.dtype}


def train(prepared: training.Prepared) -> tuple[float, np.ndarray]:
    """One epoch, as the training loop does it.

    Returns:
      Its seconds, and the losses (F, steps).
    """
    state, pool, clips = prepared.state, prepared.pool, prepared.clips
    state, metrics = prepared.train(state, pool, clips[:, :1])  # not timed: the first is slower
    jax.block_until_ready(state)
    start = time.perf_counter()
    collected = []
    for i in range(clips.shape[1]):
        state, metrics = prepared.train(state, pool, clips[:, i : i + 1])
        if collected:  # one call ahead of the device, as in training
            jax.block_until_ready(collected[-1])
        collected.append(metrics)
    losses = np.concatenate([one["loss"] for one in jax.device_get(collected)], axis=1)
    jax.block_until_ready(state)
    return time.perf_counter() - start, losses
