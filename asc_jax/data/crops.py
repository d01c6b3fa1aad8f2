"""Crops: parts of one length of a pool's clips, at random places or evenly spaced."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Crops:
    """Which parts of clips a network hears, all within what was recorded of a clip.

    Attributes:
      size: length of a crop along the clips' first axis: frames of log-mels, or samples.
      n_windows: crops of a clip W whose answers are averaged when it is scored.
    """

    size: int
    n_windows: int

    def at_random(self, keys: jax.Array, lengths: jax.Array, size: int = 0) -> jax.Array:
        """Draws where the crop of each clip begins.

        Args:
          keys: (B,) of the clips.
          lengths: (B,) int32, what was recorded of each.
          size: of the crops; 0 for `size`.

        Returns:
          (B,) int32, uniform over all places; 0 where the recording is shorter than a crop.
        """
        ends = jnp.maximum(lengths - (size or self.size), 0) + 1
        return jax.vmap(lambda key, end: jax.random.randint(key, (), 0, end))(keys, ends)

    def evenly(self, lengths: jax.Array) -> jax.Array:
        """Spaces windows from a recording's beginning to its end; a single one is in its middle.

        Args:
          lengths: (B,) int32, what was recorded of each clip.

        Returns:
          (B, W) int32, where each begins.
        """
        shares = np.linspace(0, 1, self.n_windows) if self.n_windows > 1 else np.array([0.5])
        room = jnp.maximum(lengths - self.size, 0)[:, None]
        starts = jnp.rint(room * shares.astype(np.float32)).astype(jnp.int32)
        return jnp.minimum(starts, room)  # float32 rounds what is above 2^24
