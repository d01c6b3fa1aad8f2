"""Variables for the tests of networks, without compiling what draws them."""

import math
import zlib
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import numpy as np

from asc_jax.models.depth import Run

_CONSTANT = {"scale": 1, "var": 1, "bias": 0, "mean": 0}


def some_variables(network: nn.Module, input_shape: tuple[int, ...], seed: int = 0) -> dict:
    """Variables of a likely size, not those of the network's initialisers: kernels after He et al.

    Scales and variances are ones, the rest zeros. A leaf depends on the seed and on its path
    alone; the blocks of a loop equal single ones.
    """
    loops = getattr(network, "loops", ())
    single = network.clone(scan=False) if loops else network
    shapes = jax.eval_shape(
        lambda key, x: single.init(key, x, train=False),
        jax.random.key(0),
        jax.ShapeDtypeStruct(input_shape, np.float32),
    )

    def draw(path, leaf) -> np.ndarray:
        fill = _CONSTANT.get(path[-1].key)
        if fill is not None:
            return np.full(leaf.shape, fill, np.float32)
        name = zlib.crc32(jax.tree_util.keystr(path).encode())
        values = np.random.default_rng([seed, name]).standard_normal(leaf.shape, np.float32)
        return values * np.float32(math.sqrt(2 / math.prod(leaf.shape[:-1])))

    return stack(jax.tree_util.tree_map_with_path(draw, shapes), loops)


def with_statistics(variables: Mapping) -> dict:
    """The same with scales, biases and moving statistics that are not trivial."""
    rng = np.random.default_rng(1)
    draw = {
        "scale": lambda shape: rng.uniform(0.5, 1.5, shape),
        "bias": lambda shape: 0.2 * rng.standard_normal(shape),
        "mean": lambda shape: 0.2 * rng.standard_normal(shape),
        "var": lambda shape: rng.uniform(0.5, 1.5, shape),
    }
    return jax.tree_util.tree_map_with_path(
        lambda path, x: np.float32(draw[path[-1].key](x.shape)) if path[-1].key in draw else x,
        variables,
    )


def stack(variables: Mapping, loops: Sequence[Run]) -> dict:
    """Variables of single blocks as those of loops.

    Args:
      variables: collections of a network without loops, numpy arrays.
      loops: the runs of its blocks that are to be loops.
    """
    stacked = {}
    for collection, modules in variables.items():
        modules = dict(modules)
        for run in loops:
            blocks = [modules.pop(name) for name in run.names]
            modules[run.name] = jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)
        stacked[collection] = modules
    return stacked
