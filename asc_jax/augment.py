"""Augmentation, of waveforms and of standardised log-mels, one example and one key at a time.

Each function takes a single example, so that its randomness depends on that example's key
alone and not on the batch or the device it is in; the training step maps `augment_waveform`
and `augment` over the batch.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from asc_jax.runtime import functions

# The fields of `Augmentation` that are of waveforms.
WAVEFORM_FIELDS = ("time_scale", "between_class", "gain_db")

_QUIET = 1e-8  # mean square of what is hardly a sound: -80 dB


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What the training step does to its examples; all zeros do nothing.

    Attributes:
      time_scale: largest factor by which a waveform is played faster or slower; 0 for none.
      between_class: mix waveforms of two examples, see `between_class`.
      gain_db: largest change of a waveform's level, up or down, dB.
      mixup_alpha: parameter of the Beta distribution of mixup's weight; 0 for no mixup.
      time_roll: largest circular shift along time, as a fraction of the clip.
      time_masks: number of time masks.
      time_mask_frames: longest time mask, frames.
      mel_masks: number of mel masks.
      mel_mask_bands: widest mel mask, bands.
    """

    time_scale: float = 0.0
    between_class: bool = False
    gain_db: float = 0.0
    mixup_alpha: float = 0.0
    time_roll: float = 0.0
    time_masks: int = 0
    time_mask_frames: int = 0
    mel_masks: int = 0
    mel_mask_bands: int = 0


def augment_waveform(
    key: jax.Array,
    waveform: jax.Array,
    target: jax.Array,
    partner: jax.Array,
    partner_target: jax.Array,
    cfg: Augmentation,
) -> tuple[jax.Array, jax.Array]:
    """One example's waveform, augmented.

    Args:
      key: the example's random key.
      waveform: (R,) float32; R is `reach(T, cfg.time_scale)` where the result has T samples.
      target: (K,) float32 class probabilities.
      partner: (R,), another training example of the fold, for `between_class`.
      partner_target: (K,), its class probabilities.
      cfg: what to do.

    Returns:
      (T,) and (K,) float32.
    """
    scale_key, partner_key, mix_key, gain_key = jax.random.split(key, 4)
    if cfg.time_scale:
        waveform = time_scale(scale_key, waveform, cfg.time_scale)
        partner = time_scale(partner_key, partner, cfg.time_scale)
    if cfg.between_class:
        waveform, target = between_class(mix_key, waveform, target, partner, partner_target)
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
      (T,) with T * factor = R: samples between those of the waveform, interpolated linearly.
    """
    n_samples = math.floor(len(waveform) / factor)
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


def gain(key: jax.Array, waveform: jax.Array, most_db: float) -> jax.Array:
    """Changes the level of a waveform by up to +-`most_db`, uniform in dB."""
    change = jax.random.uniform(key, minval=-most_db, maxval=most_db)
    return waveform * 10 ** (change / 20)


def augment(
    key: jax.Array,
    log_mel: jax.Array,
    target: jax.Array,
    partner_log_mel: jax.Array,
    partner_target: jax.Array,
    cfg: Augmentation,
) -> tuple[jax.Array, jax.Array]:
    """One example, augmented.

    Args:
      key: the example's random key.
      log_mel: (N, M) float32, standardised.
      target: (K,) float32 class probabilities.
      partner_log_mel: (N, M), another training example of the fold, for mixup.
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


def make_augment(group: Mapping) -> Callable:
    """The augmentation that a config's `augment` group says.

    Args:
      group: `name`, "standard" or a reference to a function of the user's own, and its fields: of
        `Augmentation`, or the function's keywords. Such a function takes (key, log_mel, target),
        and by name `partner` and `partner_target` if it has both.

    Returns:
      A function like `augment`, of its first five arguments.
    """
    fields = dict(group)
    name = fields.pop("name")
    if not functions.is_own(name):
        return functools.partial(augment, cfg=Augmentation(**fields))
    own = functools.partial(functions.load(name, field="augment.name"), **fields)
    if not takes_partners(group):
        return lambda key, log_mel, target, *_: own(key, log_mel, target)
    return lambda key, log_mel, target, partner, partner_target: own(
        key, log_mel, target, partner=partner, partner_target=partner_target
    )


def make_waveform_augment(group: Mapping) -> Callable | None:
    """The augmentation of waveforms that a config's `augment` group says, if any.

    Returns:
      A function like `augment_waveform`, of its first five arguments.
    """
    cfg = waveform_augmentation(group)
    return functools.partial(augment_waveform, cfg=cfg) if cfg else None


def waveform_augmentation(group: Mapping) -> Augmentation | None:
    """What a config's `augment` group says of waveforms; None where it says nothing."""
    fields = {} if functions.is_own(group["name"]) else dict(group)
    own = {name: fields[name] for name in WAVEFORM_FIELDS if fields.get(name)}
    return Augmentation(**own) if own else None


def takes_partners(group: Mapping) -> bool:
    """Whether the augmentation of a config's `augment` group combines two examples."""
    if not functions.is_own(group["name"]):
        return group["mixup_alpha"] > 0 or group["between_class"]
    own = inspect.signature(functions.load(group["name"], field="augment.name"))
    return {"partner", "partner_target"} <= own.parameters.keys()


def time_roll(key: jax.Array, log_mel: jax.Array, fraction: float) -> jax.Array:
    """(N, M) shifted circularly along time by up to +-`fraction` of its length."""
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
