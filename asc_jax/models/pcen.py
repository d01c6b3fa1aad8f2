"""Per-channel energy normalisation that is trained with the network."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from asc_jax.ops.pcen import pcen


class Pcen(nn.Module):
    """PCEN with parameters of its own for every band, positive by their logarithms.

    Attributes:
      smoothing: of a frame, at first; librosa's for 0.4 s is 0.05 at a hop of 20 ms.
      gain: at first, as the next two.
      bias: see `asc_jax.ops.pcen`.
      power: see `asc_jax.ops.pcen`.

    Source: Wang et al., arXiv:1607.05666, §3.1. The smoothing, fixed there, is trained as well.
    """

    smoothing: float = 0.05
    gain: float = 0.98
    bias: float = 2.0
    power: float = 0.5

    @nn.compact
    def __call__(self, mel: jax.Array) -> jax.Array:
        """(B, N, M) mel spectrograms -> (B, N, M), float32."""
        positive = {
            name: jnp.exp(
                self.param(f"log_{name}", nn.initializers.constant(jnp.log(first)), mel.shape[-1:])
            )
            for name, first in (
                ("smoothing", self.smoothing),
                ("gain", self.gain),
                ("bias", self.bias),
                ("power", self.power),
            )
        }
        positive["smoothing"] = jnp.minimum(positive["smoothing"], 1)
        return pcen(mel.astype(jnp.float32), **positive)
