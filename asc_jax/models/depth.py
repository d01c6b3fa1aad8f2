"""Equal neighbouring blocks as one loop over depth, so that they compile once.

A run of n equal blocks "a_block2", ..., "a_block9" becomes one module "a_block2_to_block9"
whose variables are those of the blocks, stacked along a leading axis.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Run:
    """Equal neighbouring blocks.

    Attributes:
      names: of the blocks, in order.
      attributes: that they share.
    """

    names: tuple[str, ...]
    attributes: Mapping

    @property
    def name(self) -> str:
        """Of the module that stands for all of them."""
        return f"{self.names[0]}_to_{self.names[-1].rpartition('_')[2]}"

    @property
    def pays(self) -> bool:
        """Whether a loop saves more compilation than it costs at each step."""
        return len(self.names) >= 4


def repeat(block: nn.Module, x: jax.Array, n: int) -> jax.Array:
    """Applies `n` blocks of one kind one after the other, each with variables of its own."""
    scan = nn.scan(
        lambda block, x, _: (block(x), None),
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True},
        length=n,
    )
    return scan(block, x, None)[0]


def stack(variables: Mapping, loops: Sequence[Run]) -> dict:
    """Variables of single blocks as those of loops.

    Args:
      variables: collections of a network without loops, numpy arrays.
      loops: the runs of its blocks that are to be loops.

    Returns:
      The same values for the network with these loops.
    """
    stacked = {}
    for collection, modules in variables.items():
        modules = dict(modules)
        for run in loops:
            blocks = [modules.pop(name) for name in run.names]
            modules[run.name] = jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)
        stacked[collection] = modules
    return stacked


def unstack(shapes: Mapping, loops: Sequence[Run]) -> dict:
    """The shapes of a network's variables without its loops: the inverse of `stack`."""
    single = {}
    for collection, modules in shapes.items():
        modules = dict(modules)
        for run in loops:
            block = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), modules.pop(run.name)
            )
            modules |= dict.fromkeys(run.names, block)
        single[collection] = modules
    return single
