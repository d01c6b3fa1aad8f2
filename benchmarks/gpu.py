"""The first hour with a GPU or TPU: is it right, and how fast is it?

First what it computes, beside this machine's CPU; then the times that docs/performance.md lacks.
What takes too long is left out. On a CPU it runs at a small size, to try it.
"""

import dataclasses
import functools
import sys
import time
from collections.abc import Iterator, Mapping

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from asc_jax.data import batches
from asc_jax.data.normalisation import band_moments
from asc_jax.frontend import log_mel
from asc_jax.parallel import mapping
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_EXAMPLE, PER_FOLD, PER_STEP, SHARED
from asc_jax.parallel.mesh import make_mesh
from asc_jax.runtime.backend import platform_of
from asc_jax.train import classifier
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.state import init_state
from benchmarks import epoch, folds, frontend, gan, measure, training

N_STEPS = 20

# The sizes at which the paper's networks begin: what they are made of is compared.
CHECKED = {"name": "resnet", "stage_sizes": (1, 1, 1), "stage_strides": (1, 2, 2), "width": 32,
           "se_ratio": 4}  # fmt: skip
CHECKED_SIZE = training.Size(folds=2, batch=4, n_frames=200)
CHECKED_GAN = gan.Size(gans=2, dim=32, n_samples=1024, batch=4)
# How far from the CPU's numbers a device's may be, relative to the largest. What a GPU would run,
# run on a CPU, was 2e-4 away and 6e-3 in bfloat16, a GAN 2e-7 and 2e-3; with products in TF32
# float32 was 1.5e-2 away, and a GAN 2e-3.
TOLERANCES = {("classifier", "float32"): 1e-3, ("classifier", "bfloat16"): 3e-2,
              ("GAN", "float32"): 1e-4, ("GAN", "bfloat16"): 1e-2}  # fmt: skip
MOST_CLIPS = 8_640


def run(args) -> dict:
    """Checks and measures; see `benchmarks.__main__` for the arguments."""
    small = args.quick or jax.default_backend() == "cpu"
    end = time.perf_counter() + 60 * args.minutes
    rows, failed = [], []
    for what, section in sections(small=small).items():
        start = time.perf_counter()
        if start > end:
            rows.append({"what": what, "figure": f"not measured: {args.minutes} minutes are over"})
            continue
        try:
            for row in section():
                print(": ".join((row["what"], row["figure"])), file=sys.stderr, flush=True)
                rows.append(row)
        except Exception as error:  # what comes after it may be right
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            rows.append({"what": what, "figure": f"failed: {reason}"})
            failed.append(what)
        print(f"({what}: {time.perf_counter() - start:.0f} s)", file=sys.stderr, flush=True)
    wrong = [row["what"] for row in rows if row.get("is right") == "no"]
    about = {"small": small, "tolerances": [[*key, limit] for key, limit in TOLERANCES.items()]}
    return {"rows": rows, "table": markdown(rows), "wrong": wrong, "failed": failed, **about}


def sections(*, small: bool) -> Mapping:
    """What there is to do, by name, the most important first."""
    deep = "SE-ResNet(152)-rev", training.SE_RESNET152
    shallow = "ResNet(50)-rev", training.RESNET50
    if small:
        deep = shallow = "tiny", training.TINY
    step = lambda network, *how, **peer: lambda: [time_step(*network, *how, small=small, **peer)]
    return {
        "classifier, float32": lambda: check_classifier("float32", small=small),
        "classifier, bfloat16": lambda: check_classifier("bfloat16", small=small),
        "GAN, float32": lambda: check_gan("float32", small=small),
        "GAN, bfloat16": lambda: check_gan("bfloat16", small=small),
        "limits": lambda: limits(small=small),
        "step": step(deep, "bfloat16", 32, peer=True),
        "shallow step": step(shallow, "bfloat16", 32, peer=True),
        "folds by each way": lambda: time_ways(small=small),
        "WaveGAN": lambda: time_gans("bfloat16", small=small),
        "log-mels": lambda: time_frontend(small=small),
        "epoch": lambda: time_epoch(small=small),
        "step, batch 128": step(deep, "bfloat16", 128),
        "step, batch 512": step(deep, "bfloat16", 512),
        "step, tensorfloat32": step(deep, "tensorfloat32", 32, peer=True),
        "step, float32": step(deep, "float32", 32, peer=True),
        "WaveGAN, float32": lambda: time_gans("float32", small=small),
    }


def check_classifier(dtype: str, *, small: bool) -> Iterator[dict]:
    """Losses and logits of some steps, here and on the CPU."""
    size = dataclasses.replace(training.QUICK if small else training.Size(), batch=8)
    on_cpu = make_mesh(size.folds, size.batch, jax.devices("cpu")[:1], shape=(1, 1))
    here, there = (
        losses_and_logits(size, dtype, mesh) for mesh in (make_mesh(size.folds, size.batch), on_cpu)
    )
    for name in there:
        what = f"{name} of {N_STEPS} steps, {dtype}, beside the CPU's"
        yield compared(what, here[name], there[name], TOLERANCES["classifier", dtype])


def losses_and_logits(size: training.Size, dtype: str, mesh: Mesh) -> dict[str, np.ndarray]:
    """What `N_STEPS` of a small network come to, from the same initial values everywhere."""
    # Plain gradient descent: Adam would walk on the rounding of gradients that are 0 but for it.
    descend = lambda own: optax.sgd(own.lr)
    model = dataclasses.replace(training.make_model(CHECKED, size, dtype), optimizer=descend)
    splits, pool = training.make_splits(size.folds, 64), training.make_pool(size, 64)
    indices = batches.epoch_indices(splits, seed=0, epoch=0, n_steps=N_STEPS, batch_size=size.batch)
    scored = np.tile(np.arange(size.batch, dtype=np.int32), (size.folds, 1))
    members = [(split, 0, Hyperparameters(lr=0.01)) for split in splits]
    moments = band_moments(pool, model.features)
    initial = jax.device_get(init_state(model, members, moments, one_cpu()))
    steps = classifier.compile_steps(mesh, model)
    state, on_devices = put(initial, mesh, PER_FOLD), put(pool, mesh, SHARED)
    state, metrics = steps.train(state, on_devices, put(indices, mesh, PER_STEP))
    logits = steps.evaluate(state, on_devices, put(scored, mesh, PER_EXAMPLE))
    return jax.device_get({"losses": metrics["loss"], "logits": logits})


def check_gan(dtype: str, *, small: bool) -> Iterator[dict]:
    """The metrics of a few iterations of two GANs, here and on the CPU."""
    size = gan.QUICK if small else CHECKED_GAN
    meshes = make_mesh(size.gans, size.batch), one_cpu()
    here, there = (gan.metrics_of(size, dtype, mesh, n=3) for mesh in meshes)
    for name in there:
        what = f"{name} of 3 iterations, {dtype}, beside the CPU's"
        yield compared(what, here[name], there[name], TOLERANCES["GAN", dtype])


def one_cpu() -> Mesh:
    """A mesh of one of this machine's CPU devices."""
    return make_mesh(1, 1, jax.devices("cpu")[:1])


def compared(what: str, here: np.ndarray, there: np.ndarray, limit: float) -> dict:
    """A row for how far numbers are from the CPU's."""
    off = float(np.abs(here - there).max() / max(np.abs(there).max(), 1e-3))
    right = bool(np.isfinite(here).all()) and off <= limit
    return {
        "what": what,
        "figure": f"{off:.1e} of the largest (at most {limit:g})",
        "is right": "yes" if right else "no",
    }


def limits(*, small: bool) -> Iterator[dict]:
    """What the device reaches at best."""
    for dtype in ("bfloat16", "tensorfloat32", "float32"):
        rate = measure.matmul_limit(dtype, small) / 1e12
        yield {"what": f"matrix product, {dtype}", "figure": f"{rate:.3g} TFLOP/s"}
    yield {"what": "memory", "figure": f"{measure.bandwidth(small) / 1e9:.3g} GB/s"}


def time_step(
    name: str, model: Mapping, dtype: str, batch: int, *, small: bool, peer: bool = False
) -> dict:
    """A step of four folds, of one, and PyTorch's, on one device."""
    size = training.QUICK if small else training.Size(batch=batch)
    one = dataclasses.replace(size, folds=1)
    calls, per_call = {}, {}
    for what, its_size in (("together", size), ("one fold", one)):
        prepared = training.prepare_as_trained(model, its_size, dtype, n_clips(small))
        calls[what], per_call[what] = training.stepper(prepared), prepared.n_steps
        if what == "together":
            traffic = prepared.train.cost_analysis().get("bytes accessed", 0)
    found = measure.torch_peer("torch_resnet", dtype) if peer else "not asked for"
    if isinstance(found, tuple):
        module, device = found
        calls["PyTorch"] = module.torch_step(model, size, dtype, device)
        per_call["PyTorch"] = 1
    times = measure.medians(measure.alternate(calls, 1 if small else 3, in_a_row=3))
    seconds = {what: times[what] / per_call[what] for what in times}
    together = seconds["together"]
    rate = training.step_flops(model, size) / together
    row = {
        "what": f"{name}, {dtype}, {size.folds} x {size.batch} clips, a step",
        "figure": f"{1e3 * together:.3g} ms",
        "clips/s": size.folds * size.batch / together,
        "of so many of one fold": together / (size.folds * seconds["one fold"]),
        "PyTorch / this": seconds["PyTorch"] / together if "PyTorch" in seconds else found,
        "of matmul limit": rate / measure.matmul_limit(dtype, small),
    }
    if platform_of(jax.devices()[0]) not in mapping.IN_TURN:  # XLA counts a loop over folds once
        row["of memory (bytes by XLA's count)"] = traffic / together / measure.bandwidth(small)
    return row


def n_clips(small: bool) -> int:
    """Of the pool: as many as DCASE 2018 has, by which the steps of a dispatch are chosen."""
    return 64 if small else MOST_CLIPS


def time_ways(*, small: bool) -> Iterator[dict]:
    """A step by each way to map folds."""
    model = training.TINY if small else training.RESNET50
    size = training.QUICK if small else training.Size(batch=32)
    rounds = 1 if small else folds.ROUNDS
    for row in folds.measure_ways(model, size, "bfloat16", n_clips(small), rounds=rounds):
        figure = f"{row['ms a step']:.3g} ms, {row['of as it is']:.2f} of as it is"
        yield {"what": f"folds: {row['way']}", "figure": figure}


def time_gans(dtype: str, *, small: bool) -> Iterator[dict]:
    """An iteration of one WaveGAN and of several in one program."""
    size = gan.QUICK if small else gan.REPORTED
    calls = {n: gan.stepper(size, n, dtype)[0] for n in (1, size.gans)}
    seconds = measure.medians(measure.alternate(calls, 1 if small else 3))
    for n, one in seconds.items():
        figure = f"{1e3 * one:.3g} ms, {one / (n * seconds[1]):.2f} of as many of one"
        yield {"what": f"WaveGAN, {dtype}, {n} in one program", "figure": figure}


def time_frontend(*, small: bool) -> Iterator[dict]:
    """Log-mels from waveforms that lie on the device."""
    n, seconds = (2, 1) if small else (64, 10)
    waveforms = jax.random.normal(jax.random.key(0), (n, seconds * frontend.CONFIG.sr))
    compute = jax.jit(functools.partial(log_mel, cfg=frontend.CONFIG))
    calls = {"log-mel": lambda: compute(waveforms).block_until_ready()}
    (took,) = measure.medians(measure.alternate(calls, 5)).values()
    what = f"log-mels of {n} clips of {seconds} s"
    yield {"what": what, "figure": f"{n / took:.4g} clips/s"}


def time_epoch(*, small: bool) -> Iterator[dict]:
    """An epoch of all clips."""
    model = training.TINY if small else training.SE_RESNET152
    size = training.QUICK if small else training.Size(batch=32)
    row = epoch.measure_epoch(model, size, "bfloat16", n_clips(small), quick=small)
    yield {
        "what": f"an epoch of {n_clips(small)} clips, {size.folds} folds, bfloat16",
        "figure": f"{row['s per epoch']:.3g} s for {row['steps']} steps",
        "clips/s": row["clips/s"],
        "is right": "yes" if row["finite losses"] == "True" else "no",
    }


def markdown(rows: list[dict]) -> str:
    """The rows as a table for docs/performance.md."""
    lines = ["| what | figure | beside it |", "|---|---|---|"]
    for row in rows:
        rest = [f"{key} {_short(row[key])}" for key in row if key not in ("what", "figure")]
        lines.append(f"| {row['what']} | {row['figure']} | {', '.join(rest)} |")
    return "\n".join(lines)


def _short(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
