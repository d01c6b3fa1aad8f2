"""The squeeze-and-excitation block: channels weighed by what the whole map holds."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the map's channel means.

    Global pooling, dense, ReLU, dense, sigmoid, scale.

    Attributes:
      ratio: how many times fewer channels the squeezed layer has, which has at least one.
      dtype: of the computation; parameters are float32.

    Source: paper §2.3 and Fig. 2(c); Hu et al., arXiv:1709.01507, which gives ratio 16.
    """

    ratio: int = 16
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, W, H, C) -> (B, W, H, C)."""
        channels = x.shape[-1]
        dense = functools.partial(
            nn.Dense, dtype=self.dtype, kernel_init=nn.initializers.he_normal()
        )
        squeezed = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)  # (B, C)
        hidden = dense(max(1, channels // self.ratio))(squeezed)
        gate = nn.sigmoid(dense(channels)(nn.relu(hidden)))
        return x * gate[:, None, None, :]
