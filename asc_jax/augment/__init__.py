"""Augmentation, of waveforms and of log-mels, one example and one key at a time.

Each function takes a single example, so that its randomness depends on that example's key
alone and not on the batch or the device it is in; the training step maps `augment_waveform`,
`augment_bands` and `augment` over the batch.
"""

import functools
import inspect
from collections.abc import Callable, Mapping

import numpy as np

from asc_jax.augment.augmentation import BAND_FIELDS, WAVEFORM_FIELDS, Augmentation
from asc_jax.augment.log_mels import augment, augment_bands
from asc_jax.augment.waveforms import augment_waveform, reach
from asc_jax.frontend import Frontend, decibel
from asc_jax.runtime import functions

__all__ = [
    "BAND_FIELDS",
    "WAVEFORM_FIELDS",
    "Augmentation",
    "augment",
    "augment_bands",
    "augment_waveform",
    "make_augment",
    "make_band_augment",
    "make_waveform_augment",
    "reach",
]


def make_augment(group: Mapping) -> Callable:
    """The augmentation that a config's `augment` group says, of standardised log-mels.

    Args:
      group: `name`, "standard" or a reference to a function of the user's own, and its fields: of
        `Augmentation`, or the function's keywords. Such a function takes (key, log_mel, target),
        and by name `partner` and `partner_target`, the next example of the batch, if it has both.

    Returns:
      A function like `augment`, of its first five arguments.
    """
    fields = dict(group)
    name = fields.pop("name")
    if not functions.is_own(name):
        return functools.partial(augment, cfg=Augmentation(**fields))
    given = functions.load(name, field="augment.name")
    own = functools.partial(given, **fields)
    if not {"partner", "partner_target"} <= inspect.signature(given).parameters.keys():
        return lambda key, log_mel, target, *_: own(key, log_mel, target)
    return lambda key, log_mel, target, partner, partner_target: own(
        key, log_mel, target, partner=partner, partner_target=partner_target
    )


def make_waveform_augment(
    group: Mapping, responses: Callable[[], np.ndarray] | None = None
) -> Callable | None:
    """The augmentation of waveforms that a config's `augment` group says, if any.

    Args:
      group: see `make_augment`.
      responses: gives what `device_response` takes. It is called when a step is traced: who does
        not train needs no responses.

    Returns:
      A function like `augment_waveform`, of its first five arguments.
    """
    cfg = _augmentation(group, WAVEFORM_FIELDS)
    if cfg is None or not cfg.impulse_p:
        return functools.partial(augment_waveform, cfg=cfg) if cfg else None
    return lambda *example: augment_waveform(*example, cfg=cfg, responses=responses())


def make_band_augment(group: Mapping, frontend: Frontend) -> Callable | None:
    """The augmentation of log-mels before they are standardised, if there is any.

    Args:
      group: see `make_augment`.
      frontend: that the log-mels are of.

    Returns:
      A function like `augment_bands`, of its first three arguments.
    """
    cfg = _augmentation(group, BAND_FIELDS)
    if cfg is None:
        return None
    unit = decibel(frontend) if cfg.filter_db else 0.0
    return functools.partial(augment_bands, cfg=cfg, decibel=unit)


def _augmentation(group: Mapping, names: tuple[str, ...]) -> Augmentation | None:
    """What a config's `augment` group says, where one of these fields is on; else None."""
    if functions.is_own(group["name"]) or not any(group[name] for name in names):
        return None
    return Augmentation(**{name: value for name, value in group.items() if name != "name"})
