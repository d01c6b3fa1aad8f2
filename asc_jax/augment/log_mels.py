"""Augmentation of log-mels, one example and one key at a time."""

import jax
import jax.numpy as jnp

from asc_jax.augment.augmentation import Augmentation

_LEAST_VARIANCE = 1e-6  # of a band that does not change

# Fewest and most bands of `filter_curve`, and mel bands of the narrowest: the source's.
_FEWEST, _MOST, _NARROWEST = 3, 6, 6


def augment_bands(
    key: jax.Array, log_mel: jax.Array, other: jax.Array, cfg: Augmentation, *, decibel: float
) -> jax.Array:
    """One example's log-mel, augmented before it is standardised.

    Args:
      key: the example's random key.
      log_mel: (N, M) float32, as the frontend gives it.
      other: (N, M), another example of the batch, for `freq_mixstyle`.
      cfg: what to do.
      decibel: what is added to log-mels of a sound that is 1 dB louder.

    Returns:
      (N, M) float32.
    """
    style_key, filter_key = jax.random.split(key)
    if cfg.freq_mixstyle_p:
        how = cfg.freq_mixstyle_p, cfg.freq_mixstyle_alpha
        log_mel = freq_mixstyle(style_key, log_mel, other, *how)
    if cfg.filter_db:
        curve = filter_curve(filter_key, log_mel.shape[1], cfg.filter_db)
        log_mel = log_mel + decibel * curve
    return log_mel


def freq_mixstyle(
    key: jax.Array, log_mel: jax.Array, other: jax.Array, probability: float, alpha: float
) -> jax.Array:
    """Mixes each mel band's mean and deviation over time with those of another example.

    Args:
      key: of whether it is done, and of the weight, Beta(alpha, alpha).
      log_mel: (N, M).
      other: (N, M).
      probability: that it is done.
      alpha: above 0.

    Returns:
      (N, M).

    Source: MixStyle, Zhou et al., arXiv:2104.02008, on the statistics of frequencies, which tell
    devices apart (Kim et al., arXiv:2206.12513), as Schmid et al. do it (DCASE 2022 workshop);
    whether it is done is drawn for each example, and not for a batch.
    """
    done_key, weight_key = jax.random.split(key)
    weight = jax.random.beta(weight_key, alpha, alpha)
    mean, deviation = _moments(log_mel)
    other_mean, other_deviation = _moments(other)
    normal = (log_mel - mean) / deviation
    mixed = normal * (weight * deviation + (1 - weight) * other_deviation)
    mixed = mixed + weight * mean + (1 - weight) * other_mean
    return jnp.where(jax.random.bernoulli(done_key, probability), mixed, log_mel)


def _moments(log_mel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(M,) means over time, and deviations."""
    return jnp.mean(log_mel, axis=0), jnp.sqrt(jnp.var(log_mel, axis=0) + _LEAST_VARIANCE)


def filter_curve(key: jax.Array, n_mels: int, most_db: float) -> jax.Array:
    """Draws a filter: what it adds to each mel band's level.

    The mel bands are divided at random into 3 to 6 bands of 6 mel bands at least, or of a sixth
    of them all if that is less. At their edges the gain is uniform in dB, between two edges linear.

    Args:
      key: of edges and gains.
      n_mels: M.
      most_db: the largest boost or cut.

    Returns:
      (M,) dB.

    Source: FilterAugment, Nam et al., arXiv:2110.03282, the linear type.
    """
    number_key, edge_key, gain_key = jax.random.split(key, 3)
    number = jax.random.randint(number_key, (), _FEWEST, _MOST + 1)
    narrowest = min(_NARROWEST, n_mels / _MOST)
    inner = jnp.arange(1, _MOST)
    # Beyond the edges that there are all lie at the upper end.
    shares = jnp.where(inner < number, jax.random.uniform(edge_key, inner.shape), 1.0)
    edges = jnp.sort(shares) * (n_mels - number * narrowest) + inner * narrowest
    edges = jnp.where(inner < number, edges, n_mels)
    edges = jnp.concatenate([jnp.zeros(1), edges, jnp.full(1, n_mels)])
    gains = jax.random.uniform(gain_key, edges.shape, minval=-most_db, maxval=most_db)
    return jnp.interp(jnp.arange(n_mels) + 0.5, edges, gains)


def augment(
    key: jax.Array,
    log_mel: jax.Array,
    target: jax.Array,
    partner_log_mel: jax.Array,
    partner_target: jax.Array,
    cfg: Augmentation,
) -> tuple[jax.Array, jax.Array]:
    """One example, augmented once it is standardised.

    Args:
      key: the example's random key.
      log_mel: (N, M) float32, standardised.
      target: (K,) float32 class probabilities.
      partner_log_mel: (N, M), the next example of the batch, for mixup.
      partner_target: (K,), its class probabilities.
      cfg: what to do.

    Returns:
      (N, M) and (K,) float32.
    """
    roll_key, partner_key, mixup_key, time_key, mel_key = jax.random.split(key, 5)
    if cfg.time_roll:
        log_mel = time_roll(roll_key, log_mel, cfg.time_roll)
        partner_log_mel = time_roll(partner_key, partner_log_mel, cfg.time_roll)
    if cfg.mixup_alpha:
        log_mel, target = mixup(
            mixup_key, log_mel, target, partner_log_mel, partner_target, cfg.mixup_alpha
        )
    if cfg.time_masks and cfg.time_mask_frames:
        log_mel = mask_axis(time_key, log_mel, 0, cfg.time_masks, cfg.time_mask_frames)
    if cfg.mel_masks and cfg.mel_mask_bands:
        log_mel = mask_axis(mel_key, log_mel, 1, cfg.mel_masks, cfg.mel_mask_bands)
    return log_mel, target


def time_roll(key: jax.Array, log_mel: jax.Array, fraction: float) -> jax.Array:
    """(N, M) shifted circularly along time by up to ±`fraction` of its length."""
    furthest = round(fraction * log_mel.shape[0])
    return jnp.roll(log_mel, jax.random.randint(key, (), -furthest, furthest + 1), axis=0)


def mixup(
    key: jax.Array,
    log_mel: jax.Array,
    target: jax.Array,
    partner_log_mel: jax.Array,
    partner_target: jax.Array,
    alpha: float,
) -> tuple[jax.Array, jax.Array]:
    """A convex combination of two examples and of their targets.

    The weight is Beta(alpha, alpha), taken from its upper half: the example itself
    dominates. Source: Zhang et al., arXiv:1710.09412.
    """
    weight = jax.random.beta(key, alpha, alpha)
    weight = jnp.maximum(weight, 1 - weight)
    mixed = weight * log_mel + (1 - weight) * partner_log_mel
    return mixed, weight * target + (1 - weight) * partner_target


def mask_axis(
    key: jax.Array, log_mel: jax.Array, axis: int, n_masks: int, widest: int
) -> jax.Array:
    """(N, M) with `n_masks` stripes of 0 to `widest` places along an axis set to 0, the mean.

    Source: SpecAugment, Park et al., arXiv:1904.08779, without its time warp.
    """
    length = log_mel.shape[axis]
    width_key, start_key = jax.random.split(key)
    widths = jax.random.randint(width_key, (n_masks, 1), 0, min(widest, length) + 1)
    starts = jax.random.randint(start_key, (n_masks, 1), 0, length - widths + 1)
    place = jnp.arange(length)[None, :]
    masked = jnp.any((place >= starts) & (place < starts + widths), axis=0)  # (length,)
    return jnp.where(jnp.expand_dims(masked, 1 - axis), 0.0, log_mel)
