"""Which generated clips are kept as training data: rules on what a classifier of the fold says.

A rule is a pure function from logits (n, K), of the classifier of the fold that the GAN was trained
on, and labels (n,) int, the classes that the clips were generated for, to a mask (n,) bool; rules
compose with `&`. A clip whose logits are not finite is never kept. NumPy arrays give NumPy
arrays, with nothing to compile; JAX arrays give JAX arrays, inside `jit` too.
"""

import dataclasses
import math
from typing import TypeAlias

import jax
import numpy as np

from asc_jax.runtime.errors import InputError

Array: TypeAlias = np.ndarray | jax.Array


def argmax(logits: Array, labels: Array) -> Array:
    """Whether the classifier takes each clip for what it was meant to be.

    Source: paper §1 ("chosen as an augment data if it is correctly classified").
    """
    # The argmax of a row with NaN is the place of the NaN, which may be the label's.
    xp = logits.__array_namespace__()
    return (xp.argmax(logits, axis=-1) == labels) & ~xp.any(xp.isnan(logits), axis=-1)


def confidence(logits: Array, labels: Array, threshold: float) -> Array:
    """Whether the softmax probability of each clip's label is at least `threshold`, 0 to 1."""
    return probability(logits, labels) >= threshold


def margin_band(logits: Array, labels: Array, low: float, high: float) -> Array:
    """Whether each clip's margin, in logits, lies from `low` to `high`, both allowed.

    Below the band a clip is hardly its class; above it the classifier learns nothing from it.

    Source: Mun et al., DCASE 2017, who keep samples by their distance from the hyperplane
    of an SVM; the margin of a network's logits is our counterpart.
    """
    distance = margin(logits, labels)
    return (distance >= low) & (distance <= high)


def probability(logits: Array, labels: Array) -> Array:
    """(n,): the softmax probability of each clip's label."""
    xp = logits.__array_namespace__()
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, as it should be
        odds = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return _of_label(odds, labels) / xp.sum(odds, axis=-1)


def margin(logits: Array, labels: Array) -> Array:
    """(n,): the label's logit minus the largest other; negative where another class wins."""
    xp = logits.__array_namespace__()
    is_label = xp.arange(logits.shape[-1]) == labels[:, None]
    others = xp.max(xp.where(is_label, -math.inf, logits), axis=-1)
    with np.errstate(invalid="ignore"):
        return _of_label(logits, labels) - others


def _of_label(values: Array, labels: Array) -> Array:
    """(n, K) and (n,) -> (n,): the value in the label's column."""
    xp = values.__array_namespace__()
    return xp.take_along_axis(values, labels[:, None], axis=-1)[:, 0]


RULES = {
    "argmax": lambda logits, labels, cfg: argmax(logits, labels),
    "confidence": lambda logits, labels, cfg: confidence(logits, labels, cfg.threshold),
    "margin_band": lambda logits, labels, cfg: margin_band(
        logits, labels, cfg.margin_low, cfg.margin_high
    ),
}


@dataclasses.dataclass(frozen=True)
class Screening:
    """What a generated clip must fulfil to be kept. Hashable: a static argument of `jit`.

    Attributes:
      rules: names of `RULES`; all must hold. None keeps all clips with finite logits.
      threshold: least probability of the label, for "confidence".
      margin_low: least margin, in logits, for "margin_band".
      margin_high: largest margin, in logits, for "margin_band".

    Raises:
      InputError: a rule that does not exist, or bounds that no clip can meet.
    """

    rules: tuple[str, ...] = ("argmax",)
    threshold: float = 0.5
    margin_low: float = 0.0
    margin_high: float = 10.0

    @classmethod
    def of(cls, config) -> "Screening":
        """What a GAN's config says."""
        group = config.synthesis
        return cls(group.rules, group.threshold, group.margin_low, group.margin_high)

    def __post_init__(self):
        if isinstance(self.rules, str):
            raise InputError(
                f"must be a tuple; write ({self.rules!r},)", field="screen.rules", value=self.rules
            )
        for rule in self.rules:
            if rule not in RULES:
                raise InputError(
                    f"{rule!r} must be one of {', '.join(RULES)}", field="screen.rules"
                )
        if not 0 <= self.threshold <= 1:
            raise InputError(
                "must be a number from 0 to 1", field="screen.threshold", value=self.threshold
            )
        if not -math.inf <= self.margin_low < self.margin_high:
            raise InputError(
                f"must be below margin_high={self.margin_high}",
                field="screen.margin_low",
                value=self.margin_low,
            )


def passes(logits: Array, labels: Array, cfg: Screening) -> Array:
    """(n,) bool: whether all rules of `cfg` hold, and the logits are finite."""
    xp = logits.__array_namespace__()
    keep = xp.all(xp.isfinite(logits), axis=-1)
    for rule in cfg.rules:
        keep = keep & RULES[rule](logits, labels, cfg)
    return keep


def scores(logits: Array, labels: Array) -> dict[str, Array]:
    """What the rules go by, for the manifest: each clip's `probability` and `margin`, (n,)."""
    return {"probability": probability(logits, labels), "margin": margin(logits, labels)}


def apportion(target: int, n_classes: int) -> tuple[int, ...]:
    """A number of clips, shared among the classes as evenly as whole numbers can be.

    Args:
      target: clips in all; the paper's 1,728 are 20 % of its 8,640.
      n_classes: K.

    Returns:
      K numbers that sum to `target`; the first `target % K` classes have one more.

    Raises:
      InputError: a target below 0, or no class.
    """
    for field, number, least in (("target", target, 0), ("n_classes", n_classes, 1)):
        if number < least:
            raise InputError(f"must be at least {least}", field=field, value=number)
    least, more = divmod(target, n_classes)
    return (least + 1,) * more + (least,) * (n_classes - more)
