"""Initial variables of a network, drawn on the host.

`network.init` draws from the same distributions, but for flax's cutting the normal ones off
at 2.3 standard deviations. Its many small random draws take XLA up to a minute to compile
for the deeper networks; drawing them with numpy takes a second, and gives the same values
on every platform.
"""

import concurrent.futures
import functools
import math
import zlib
from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np

from asc_jax.models import depth
from asc_jax.tracing import uncollected

# Values of the parameters and statistics that are not drawn.
_CONSTANT = {"scale": 1, "var": 1, "bias": 0, "mean": 0}


def initial_variables(
    network: nn.Module, input_shape: tuple[int, ...], *, seed: int, fold: int
) -> dict:
    """A network's variables before training.

    Kernels follow the network's `kernel_scheme`; scales and variances are 1; biases and
    means are 0.

    Args:
      network: a module of `asc_jax.models`.
      input_shape: of one batch, without looking at its values: (B, N, M).
      seed: the run's.
      fold: the fold's number: folds start from different values.

    Returns:
      The variable collections ("params", "batch_stats"), float32 numpy arrays.
    """
    shapes = depth.unstack(_shapes(network, input_shape), network.loops)
    variables = draw(shapes, network.kernel_scheme, seed=seed, stream=fold)
    return depth.stack(variables, network.loops)


def draw(shapes, scheme: str, *, seed: int, stream: int):
    """Initial values of the given shapes.

    Args:
      shapes: a tree of what has a shape, with flax's names of parameters on its leaves.
      scheme: of the kernels: "he_normal" or "glorot_uniform".
      seed: the run's.
      stream: the number of the fold or GAN: each has values of its own.

    Returns:
      The same tree of float32 numpy arrays. A leaf depends on its own path and shape alone.
    """

    def draw_leaf(path, leaf) -> np.ndarray:
        name = zlib.crc32(jax.tree_util.keystr(path).encode())
        rng = np.random.default_rng([seed, stream, name])
        if path[-1].key == "embedding":  # beside latent vectors, and as they are
            return rng.uniform(-1, 1, leaf.shape).astype(np.float32)
        return _kernel(scheme, leaf.shape, rng)

    with concurrent.futures.ThreadPoolExecutor() as threads:  # numpy draws without Python's lock

        def start(path, leaf) -> Callable[[], np.ndarray]:
            fill = _CONSTANT.get(path[-1].key)
            if fill is None:
                return threads.submit(draw_leaf, path, leaf).result
            return lambda: np.full(leaf.shape, fill, np.float32)

        leaves = jax.tree_util.tree_map_with_path(start, shapes)
        return jax.tree.map(lambda result: result(), leaves)


@functools.lru_cache(maxsize=8)  # folds share it: tracing a deep network takes seconds
def _shapes(network: nn.Module, input_shape: tuple[int, ...]):
    with uncollected():
        return jax.eval_shape(
            lambda key, x: network.init(key, x, train=False),
            jax.random.key(0),
            jax.ShapeDtypeStruct(input_shape, np.float32),
        )


def _kernel(scheme: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A kernel (..., C, C_out), by the number of inputs and outputs of one of its units."""
    taps = math.prod(shape[:-2])
    fan_in, fan_out = taps * shape[-2], taps * shape[-1]
    if scheme == "he_normal":
        return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / fan_in))
    if scheme == "glorot_uniform":
        limit = math.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(-limit, limit, shape).astype(np.float32)
    raise ValueError(f"no such scheme: {scheme}")
