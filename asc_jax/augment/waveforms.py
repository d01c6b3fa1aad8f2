"""Augmentation of waveforms, one example and one key at a time."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from asc_jax.augment.augmentation import Augmentation

_QUIET = 1e-8  # mean square of what is hardly a sound: -80 dB

# What an example's key becomes for these, beyond the keys of `augment_waveform` that it is split
# into: whoever switches one on leaves what the others draw as it was.
_RESPONSE, _NOISE = 4, 5


def augment_waveform(
    key: jax.Array,
    waveform: jax.Array,
    target: jax.Array,
    partner: jax.Array,
    partner_target: jax.Array,
    cfg: Augmentation,
    responses: np.ndarray | None = None,
) -> tuple[jax.Array, jax.Array]:
    """One example's waveform, augmented.

    Args:
      key: the example's random key.
      waveform: (R,) float32; R is `reach(T, cfg.time_scale)` where the result has T samples.
      target: (K,) float32 class probabilities.
      partner: (R,), a training clip of the fold of another class, for `between_class`.
      partner_target: (K,), its class probabilities.
      cfg: what to do.
      responses: for `cfg.impulse_p`, see `device_response`.

    Returns:
      (T,) and (K,) float32.
    """
    scale_key, partner_key, mix_key, gain_key = jax.random.split(key, 4)
    if cfg.time_scale:
        waveform = time_scale(scale_key, waveform, cfg.time_scale)
        partner = time_scale(partner_key, partner, cfg.time_scale)
    if cfg.between_class:
        waveform, target = between_class(mix_key, waveform, target, partner, partner_target)
    if cfg.impulse_p:
        response_key = jax.random.fold_in(key, _RESPONSE)
        waveform = device_response(response_key, waveform, responses, cfg.impulse_p)
    if cfg.noise_level:
        waveform = white_noise(jax.random.fold_in(key, _NOISE), waveform, cfg.noise_level)
    if cfg.gain_db:
        waveform = gain(gain_key, waveform, cfg.gain_db)
    return waveform, target


def reach(n_samples: int, factor: float) -> int:
    """Samples of a recording that a waveform of so many may be made of; see `time_scale`."""
    return math.ceil(n_samples * factor) if factor else n_samples


def time_scale(key: jax.Array, waveform: jax.Array, factor: float) -> jax.Array:
    """Plays a waveform faster or slower, its pitch with it.

    Args:
      key: of the speed, `factor` to a power from -1 to 1, uniform.
      waveform: (R,); see `reach`.
      factor: above 1.

    Returns:
      (T,), where R is `reach(T, factor)`: linearly interpolated between samples of the waveform.
    """
    n_samples = math.floor(len(waveform) / factor)
    if reach(n_samples + 1, factor) <= len(waveform):  # the quotient was rounded down too far
        n_samples += 1
    speed = factor ** jax.random.uniform(key, minval=-1.0, maxval=1.0)
    places = jnp.arange(n_samples) * speed
    before = jnp.minimum(places.astype(jnp.int32), len(waveform) - 2)
    share = places - before
    return waveform[before] * (1 - share) + waveform[before + 1] * share


def between_class(
    key: jax.Array,
    waveform: jax.Array,
    target: jax.Array,
    partner: jax.Array,
    partner_target: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Mixes two waveforms in a ratio that is heard, and their targets in the same.

    The ratio is uniform. The weights of the waveforms correct it for their levels, and keep the
    energy of a mixture of sounds that have nothing in common.

    Args:
      key: of the ratio.
      waveform: (T,).
      target: (K,).
      partner: (T,).
      partner_target: (K,).

    Returns:
      (T,) and (K,).

    Source: Tokozume et al., arXiv:1711.10282, with levels of all frequencies alike in the place
    of A-weighted ones.
    """
    ratio = jax.random.uniform(key, minval=1e-4, maxval=1 - 1e-4)
    level, partner_level = (jnp.sqrt(jnp.mean(x**2) + _QUIET) for x in (waveform, partner))
    weight = 1 / (1 + level / partner_level * (1 - ratio) / ratio)
    mixed = (weight * waveform + (1 - weight) * partner) / jnp.hypot(weight, 1 - weight)
    return mixed, ratio * target + (1 - ratio) * partner_target


def device_response(
    key: jax.Array, waveform: jax.Array, responses: np.ndarray, probability: float
) -> jax.Array:
    """Convolves a waveform with the impulse response of a device, as if that had recorded it.

    Args:
      key: of whether it is done, and of which response is taken, all alike probable.
      waveform: (T,).
      responses: (n, L) float32; time 0 of each is sample `time_zero(L)`, so that no sound is
        shifted.
      probability: that it is done.

    Returns:
      (T,).

    Source: Morocutti et al., arXiv:2305.07499.
    """
    n, n_taps = responses.shape
    before = time_zero(n_taps)
    untouched = np.zeros((1, n_taps), np.float32)
    untouched[0, before] = 1
    done_key, which_key = jax.random.split(key)
    which = jax.random.randint(which_key, (), 0, n)
    which = jnp.where(jax.random.bernoulli(done_key, probability), which, n)
    # Overlap-add, in blocks of three times the response: their transforms stay in the processor's
    # cache, and those of the responses are small enough to be computed in every step.
    hop, n_fft = 3 * n_taps, 4 * n_taps
    spectra = jnp.fft.rfft(np.concatenate([responses, untouched]), n_fft)
    n_blocks = -(-(len(waveform) + before) // hop)
    blocks = jnp.pad(waveform, (0, n_blocks * hop - len(waveform))).reshape(n_blocks, hop)
    filtered = jnp.fft.irfft(jnp.fft.rfft(blocks, n_fft) * spectra[which], n_fft)
    tails = jnp.pad(filtered[:-1, hop:], ((1, 0), (0, hop - n_taps)))
    return (filtered[:, :hop] + tails).reshape(-1)[before : before + len(waveform)]


def time_zero(n_taps: int) -> int:
    """The sample of a response of so many at which the sound arrives; see `device_response`."""
    return n_taps // 8


def white_noise(key: jax.Array, waveform: jax.Array, most: float) -> jax.Array:
    """Adds white noise.

    Args:
      key: of the noise and of its level.
      waveform: (T,).
      most: the largest root mean square of the noise, as a share of the waveform's; that of an
        example is uniform from 0 on. 0.1 is a signal-to-noise ratio of 20 dB or more.

    Returns:
      (T,).
    """
    share_key, noise_key = jax.random.split(key)
    # Uniform in 256 steps: four samples of each random number of 32 bits, the costly part. Noise
    # is white by its samples' independence, and a bin of a spectrum sums hundreds of them.
    words = jax.random.bits(noise_key, (-(-len(waveform) // 4),), jnp.uint32)
    steps = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[: len(waveform)]
    noise = (steps.astype(jnp.float32) - 127.5) * math.sqrt(12 / (256**2 - 1))
    share = jax.random.uniform(share_key, maxval=most)
    return waveform + share * jnp.sqrt(jnp.mean(waveform**2)) * noise


def gain(key: jax.Array, waveform: jax.Array, most_db: float) -> jax.Array:
    """Changes the level of a waveform by up to ±`most_db`, uniform in dB."""
    change = jax.random.uniform(key, minval=-most_db, maxval=most_db)
    return waveform * 10 ** (change / 20)
