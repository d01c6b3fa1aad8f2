"""Crops: parts of one length of recordings, at random places to train on, in a row to score by."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Crops:
    """Which parts of clips a network hears, all within what was recorded of a clip.

    Attributes:
      size: samples of a crop.
      hop: samples from a window's beginning to the next one's, when a clip is scored.
      tolerance: samples at a recording's end that need no window of their own.
    """

    size: int
    hop: int
    tolerance: int

    def at_random(self, keys: jax.Array, lengths: jax.Array, size: int = 0) -> jax.Array:
        """Draws where the crop of each clip begins.

        Args:
          keys: (B,) of the clips.
          lengths: (B,) int32 samples that were recorded of each.
          size: of the crops; 0 for `size`.

        Returns:
          (B,) int32, uniform over all places; 0 where the recording is shorter than a crop.
        """
        ends = jnp.maximum(lengths - (size or self.size), 0) + 1
        return jax.vmap(lambda key, end: jax.random.randint(key, (), 0, end))(keys, ends)

    def in_a_row(self, length: int) -> np.ndarray:
        """(n,) where the windows of a recording begin: as `inference.windows.in_windows` cuts them.

        Args:
          length: samples of the recording.
        """
        last = max(length - self.size, 0)
        starts = np.arange(0, last + 1, self.hop)
        return np.append(starts, last) if last - starts[-1] > self.tolerance else starts
