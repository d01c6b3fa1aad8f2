"""Tests of a difference, and corrections for many of them. No JAX."""

import dataclasses

import numpy as np

_FLIPS = 9999
_ENUMERATED = 15  # locations whose 32,768 patterns of signs are all tried


@dataclasses.dataclass(frozen=True)
class McNemar:
    """The clips that only one of two systems got right.

    Attributes:
      lost: clips that only the reference got right.
      gained: clips that only the other got right.
      p: exact and two-sided. It takes clips as independent, which those of one location are
        not: with several clips per location it is too small.
    """

    lost: int
    gained: int
    p: float


def sign_flip(parts: np.ndarray, *, seed: int = 0) -> float:
    """The two-sided p of a sum whose parts could as well have had the other sign.

    Args:
      parts: (L,) independent of each other. All patterns of signs are tried for up to 15
        that are not 0, else 9,999 random ones and the observed.
      seed: of the random patterns.

    Source: Fisher, "The Design of Experiments", 1935, §21.
    """
    sizes, observed = np.abs(parts[parts != 0]), parts.sum()
    if len(sizes) <= _ENUMERATED:
        patterns = np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes)) & 1
    else:
        rng = np.random.default_rng(seed)
        patterns = rng.integers(0, 2, (_FLIPS, len(sizes)), dtype=np.int8)
    extreme = np.abs((2.0 * patterns - 1) @ sizes) >= abs(observed) * (1 - 1e-9)
    if len(sizes) <= _ENUMERATED:
        return float(extreme.mean())
    return float((extreme.sum() + 1) / (_FLIPS + 1))


def mcnemar(before: np.ndarray, after: np.ndarray) -> McNemar:
    """Computes McNemar's exact test.

    Args:
      before: (n,) bool, clips that the reference classifies correctly.
      after: (n,) bool, clips that the other system classifies correctly.

    Source: McNemar, 1947; the discordant clips are binomial with probability 1/2.
    """
    from scipy.special import bdtr

    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    tail = bdtr(min(lost, gained), lost + gained, 0.5) if lost + gained else 1.0
    return McNemar(lost, gained, min(1.0, 2 * float(tail)))


def holm(p: np.ndarray) -> np.ndarray:
    """(m,) p values -> adjusted ones: below alpha with any false one at most alpha often.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    p = np.asarray(p, float)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    steps = p[order] * np.arange(len(p), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """(m,) p values -> adjusted ones: of those below alpha, at most alpha are false on average.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate", 1995.
    """
    from scipy.stats import false_discovery_control

    return false_discovery_control(np.asarray(p, float))


CORRECTIONS = {"holm": holm, "benjamini_hochberg": benjamini_hochberg}


def levels(p: np.ndarray, alpha: float, correction: str) -> np.ndarray:
    """How small each of several p values must be to stay below `alpha` once it is corrected.

    Holm's method finds any that is at most alpha / m, whatever the others are. That of Benjamini
    and Hochberg asks less of a comparison the more of the others are found: its level is k / m of
    alpha, where the k - 1 smallest of the others are at most k / m of alpha.

    Args:
      p: (m,) uncorrected.
      alpha: level of the corrected values.
      correction: of `CORRECTIONS`.

    Returns:
      (m,) from alpha / m to alpha. A comparison's own p does not count in its level.
    """
    p = np.asarray(p, float)
    steps = alpha * np.arange(1, len(p) + 1) / len(p)
    if correction == "holm":
        return np.full(len(p), steps[0])
    others = [np.delete(p, i) for i in range(len(p))]
    enough = [(other[:, None] <= steps).sum(axis=0) >= np.arange(len(p)) for other in others]
    return np.array([steps[found].max() for found in enough])
