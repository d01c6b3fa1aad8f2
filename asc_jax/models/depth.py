"""Equal neighbouring blocks as one loop over depth: on a CPU they compile once.

A run of n equal blocks "a_block2", ..., "a_block9" becomes one module "a_block2_to_block9"
whose variables are those of the blocks, stacked along a leading axis.
"""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax

from asc_jax.runtime.backend import on_cpu


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


def repeat(block: nn.Module, x: jax.Array, n: int, each: jax.Array | None = None) -> jax.Array:
    """Applies `n` blocks of one kind one after the other, each with variables of its own.

    Args:
      block: of (map, row of `each`) -> map.
      x: the first one's map.
      n: how many.
      each: (n, ...), or None.
    """
    scan = nn.scan(
        lambda block, x, own: (block(x, own), None),
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True},
        length=n,
        # On an accelerator a loop would store each intermediate result by a kernel of its own.
        unroll=1 if on_cpu() else n,
    )
    return scan(block, x, each)[0]
