"""Augmentation of standardised log-mels, one example and one key at a time.

Each function takes a single (N, M) example, so that its randomness depends on that
example's key alone and not on the batch or the device it is in; the training step maps
`augment` over the batch.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from asc_jax.runtime import functions


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What the training step does to its examples; all zeros do nothing.

    Attributes:
      mixup_alpha: parameter of the Beta distribution of mixup's weight; 0 for no mixup.
      time_roll: largest circular shift along time, as a fraction of the clip.
      time_masks: number of time masks.
      time_mask_frames: longest time mask, frames.
      mel_masks: number of mel masks.
      mel_mask_bands: widest mel mask, bands.
    """

    mixup_alpha: float = 0.0
    time_roll: float = 0.0
    time_masks: int = 0
    time_mask_frames: int = 0
    mel_masks: int = 0
    mel_mask_bands: int = 0


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


def takes_partners(group: Mapping) -> bool:
    """Whether the augmentation of a config's `augment` group combines two examples."""
    if not functions.is_own(group["name"]):
        return group["mixup_alpha"] > 0
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
