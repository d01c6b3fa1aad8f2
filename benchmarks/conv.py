"""A 3x3 convolution of four folds and its gradients: asc_jax, XLA's own, PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from asc_jax.ops import conv
from asc_jax.parallel.mapping import COMPILER_OPTIONS
from benchmarks import measure

# (W, H, C): the maps of the four stages for 40 bands x 500 frames.
SHAPES = ((125, 10, 32), (63, 5, 64), (32, 3, 128), (16, 2, 256))
FOLDS, BATCH = 4, 16
ROUNDS = 7
GROUPED_ROUNDS = 2  # up to seconds a call on a CPU


def run(args) -> dict:
    """Measures every shape and contraction; see `benchmarks.__main__` for the arguments."""
    shapes = ((8, 4, 4),) if args.quick else SHAPES
    batch = 2 if args.quick else BATCH
    limit = measure.matmul_limit(args.dtype, args.quick)
    rows = [
        measure_one(name, shape, batch, args.dtype, limit, quick=args.quick)
        for shape in shapes
        for name in CONTRACTIONS
    ]
    return {"rows": rows, "folds": FOLDS, "batch": batch, "dtype": args.dtype,
            "matmul limit FLOP/s": limit, "rounds": 1 if args.quick else ROUNDS}  # fmt: skip


def forward(convolve, x, kernel, dy):
    """One fold's (B, W, H, C), (3, 3, C, C) -> (B, W, H, C)."""
    return convolve(x, kernel)


def by_input(convolve, x, kernel, dy):
    """The gradient by the input, from that of the output."""
    return jax.vjp(lambda x: convolve(x, kernel), x)[1](dy)[0]


def by_kernel(convolve, x, kernel, dy):
    """The gradient by the kernel, from that of the output."""
    return jax.vjp(lambda kernel: convolve(x, kernel), kernel)[1](dy)[0]


CONTRACTIONS = {"forward": forward, "by input": by_input, "by kernel": by_kernel}
GEOMETRY = {
    "window_strides": (1, 1),
    "padding": ((1, 1), (1, 1)),
    "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
}
OURS = functools.partial(conv.conv_general_dilated, **GEOMETRY)
XLA = functools.partial(jax.lax.conv_general_dilated, **GEOMETRY)


def measure_one(name: str, shape, batch: int, dtype: str, limit: float, *, quick: bool) -> dict:
    """One contraction of one shape, in every way.

    Args:
      name: a key of `CONTRACTIONS`.
      shape: (W, H, C).
      batch: clips per fold B.
      dtype: of the arrays.
      limit: FLOP/s of a matrix product.
      quick: one round each.
    """
    contract = CONTRACTIONS[name]
    width, height, channels = shape
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((FOLDS, *shape), np.float32)

    host = normal(batch, *shape), normal(3, 3, channels, channels), normal(batch, *shape)
    arrays = [jnp.asarray(array, dtype) for array in host]
    apart = [[array[fold] for array in arrays] for fold in range(FOLDS)]

    def unrolled(apart):
        return [contract(XLA, *fold) for fold in apart]

    options = COMPILER_OPTIONS.get(jax.default_backend())
    with_options = functools.partial(jax.jit, compiler_options=options)
    ours = with_options(jax.vmap(functools.partial(contract, OURS)))
    grouped = with_options(jax.vmap(functools.partial(contract, XLA)))
    calls = {
        "asc_jax": _blocking(ours, *arrays),
        "unrolled": _blocking(with_options(unrolled), apart),
        "unrolled, default options": _blocking(jax.jit(unrolled), apart),
    }
    absent = {}
    peer = measure.torch_peer("torch_conv")
    if isinstance(peer, str):
        absent["PyTorch"] = peer
    else:
        module, device = peer
        calls["PyTorch"] = module.contraction(name, host, dtype, device)

    times = measure.alternate(calls, 1 if quick else ROUNDS)
    slow = {"grouped": _blocking(grouped, *arrays)}
    times |= measure.alternate(slow, 1 if quick else GROUPED_ROUNDS)
    seconds = measure.medians(times) | absent
    flops = 2 * FOLDS * batch * width * height * channels**2 * 9
    return {
        "W x H x C": f"{width} x {height} x {channels}",
        "contraction": name,
        "asc_jax ms": 1e3 * seconds["asc_jax"],
        **{
            f"{way} ms": measure.milliseconds(seconds[way])
            for way in ("grouped", "unrolled", "unrolled, default options", "PyTorch")
        },
        "grouped / asc_jax": seconds["grouped"] / seconds["asc_jax"],
        "unrolled / asc_jax": seconds["unrolled"] / seconds["asc_jax"],
        "PyTorch / asc_jax": measure.ratio(seconds["asc_jax"], seconds["PyTorch"]),
        "GFLOP/s": flops / seconds["asc_jax"] / 1e9,  # as the direct method counts them
        "of matmul limit": flops / seconds["asc_jax"] / limit,
        "seconds": [[way, *each] for way, each in times.items()],
    }


def _blocking(function, *args):
    return lambda: jax.block_until_ready(function(*args))
