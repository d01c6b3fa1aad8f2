"""Per-channel energy normalisation of mel spectrograms."""

import math

import jax
import jax.numpy as jnp


def pcen(
    mel: jax.Array,
    *,
    smoothing: jax.typing.ArrayLike,
    gain: jax.typing.ArrayLike = 0.98,
    bias: jax.typing.ArrayLike = 2.0,
    power: jax.typing.ArrayLike = 0.5,
    floor: float = 1e-6,
) -> jax.Array:
    """Divides each band by its own smoothed energy, and compresses what is left.

    Args:
      mel: (..., N, M) float32, not negative.
      smoothing: weight of a frame in the average over those before it, above 0 and at most 1; see
        `smoothing_of`. This and the next three are () or (M,).
      gain: exponent of the average.
      bias: added before the compression, above 0.
      power: exponent of the compression, above 0.
      floor: added to the average.

    Returns:
      (..., N, M) float32. The average begins at 1, as librosa's does.

    Source: librosa.pcen; Wang et al., arXiv:1607.05666, eqs. 1 and 2.
    """

    def combine(earlier: tuple, later: tuple) -> tuple:
        (a, x), (b, y) = earlier, later
        return a * b, b * x + y

    decay = jnp.broadcast_to(1 - smoothing, mel.shape)
    kept, average = jax.lax.associative_scan(combine, (decay, smoothing * mel), axis=-2)
    average += kept  # of the 1 before the first frame
    normalised = mel * jnp.exp(-gain * (jnp.log(floor) + jnp.log1p(average / floor)))
    return bias**power * jnp.expm1(power * jnp.log1p(normalised / bias))


def smoothing_of(seconds: float, sr: int, hop_length: int) -> float:
    """The weight of a frame for an average over some seconds. Source: librosa.pcen."""
    frames = seconds * sr / hop_length
    return (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
