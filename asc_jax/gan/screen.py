"""Which generated clips are kept as training data: rules on what a classifier of the fold says.

A rule is a pure function from logits (n, K), of the classifier of the fold that the GAN was trained
on, and labels (n,) int, the classes that the clips were generated for, to a mask (n,) bool; rules
compose with `&`. A clip whose logits are not finite is never kept.
"""

import numpy as np
from scipy.special import softmax


def argmax(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the classifier takes each clip for what it was meant to be.

    Source: paper §1 ("chosen as an augment data if it is correctly classified").
    """
    # The argmax of a row with NaN is the place of the NaN, which may be the label's.
    return (logits.argmax(axis=-1) == labels) & ~np.isnan(logits).any(axis=-1)


def confidence(logits: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """Whether the softmax probability of each clip's label is at least `threshold`, 0 to 1."""
    return probability(logits, labels) >= threshold


def margin_band(logits: np.ndarray, labels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Whether each clip's margin, in logits, lies from `low` to `high`, both allowed.

    Below the band a clip is hardly its class; above it the classifier learns nothing from it.

    Source: Mun et al., DCASE 2017, who keep samples by their distance from the hyperplane
    of an SVM; the margin of a network's logits is our counterpart.
    """
    distance = margin(logits, labels)
    return (distance >= low) & (distance <= high)


def probability(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,): the softmax probability of each clip's label."""
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, as it should be
        return _of_label(softmax(logits, axis=-1), labels)


def margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,): the label's logit minus the largest other; negative where another class wins."""
    is_label = np.arange(logits.shape[-1]) == labels[:, None]
    others = np.where(is_label, -np.inf, logits).max(axis=-1)
    with np.errstate(invalid="ignore"):
        return _of_label(logits, labels) - others


def _of_label(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n, K) and (n,) -> (n,): the value in the label's column."""
    return np.take_along_axis(values, labels[:, None], axis=-1)[:, 0]


RULES = {
    "argmax": lambda logits, labels, cfg: argmax(logits, labels),
    "confidence": lambda logits, labels, cfg: confidence(logits, labels, cfg.threshold),
    "margin_band": lambda logits, labels, cfg: margin_band(
        logits, labels, cfg.margin_low, cfg.margin_high
    ),
}


def passes(logits: np.ndarray, labels: np.ndarray, cfg) -> np.ndarray:
    """(n,) bool: whether all rules of a config's `synthesis` hold, and the logits are finite."""
    keep = np.isfinite(logits).all(axis=-1)
    for rule in cfg.rules:
        keep = keep & RULES[rule](logits, labels, cfg)
    return keep


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What the rules go by, for the manifest: each clip's `probability` and `margin`, (n,)."""
    return {"probability": probability(logits, labels), "margin": margin(logits, labels)}


def apportion(target: int, n_classes: int) -> tuple[int, ...]:
    """A number of clips, shared among the classes as evenly as whole numbers can be.

    Args:
      target: clips in all; the paper's 1,728 are 20 % of its 8,640.
      n_classes: K.

    Returns:
      K numbers that sum to `target`; the first `target % K` classes have one more.
    """
    least, more = divmod(target, n_classes)
    return (least + 1,) * more + (least,) * (n_classes - more)
