"""Whether probabilities are as often right as they say. No JAX."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Reliability:
    """A reliability diagram's bins of confidence, the probability of the answer given.

    Attributes:
      edges: (n_bins + 1,) of confidence; a bin holds its upper edge.
      counts: (n_bins,) clips.
      confidence: (n_bins,) their mean confidence; NaN without clips.
      accuracy: (n_bins,) the share of them that is right; NaN without clips.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """The expected calibration error: the bins' mean |accuracy - confidence|, by clips.

        It is above 0 for a perfectly calibrated model too, the more so the fewer the clips.
        """
        gaps = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float(gaps @ self.counts / self.counts.sum())


def reliability(probabilities: np.ndarray, targets: np.ndarray, *, n_bins: int = 10) -> Reliability:
    """Confidence against accuracy.

    Args:
      probabilities: (n, K).
      targets: (n,) class indices.
      n_bins: number of bins, of equal width from 0 to 1.

    Source: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using
    Bayesian binning", 2015; Guo et al., "On calibration of modern neural networks", 2017.
    """
    confidence = probabilities.max(axis=-1)
    right = probabilities.argmax(axis=-1) == targets
    edges = np.linspace(0, 1, n_bins + 1)
    place = np.searchsorted(edges[1:-1], confidence)
    counts = np.bincount(place, minlength=n_bins)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(place, values, minlength=n_bins)
        return np.divide(sums, counts, out=np.full(n_bins, np.nan), where=counts > 0)

    return Reliability(edges, counts, mean(confidence), mean(right))


def log_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    """The mean negative logarithm of the probability of the true class, in nats.

    Args:
      logits: (n, K); only differences within a row matter.
      targets: (n,) class indices.
    """
    from scipy.special import log_softmax

    log_probabilities = log_softmax(logits.astype(float), axis=-1)
    return float(-log_probabilities[np.arange(len(targets)), targets].mean())


def brier_score(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """The mean squared distance of the probabilities from the truth, summed over classes.

    Args:
      probabilities: (n, K).
      targets: (n,) class indices.

    Returns:
      From 0, sure and right, to 2, sure and wrong.

    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950.
    """
    truth = np.eye(probabilities.shape[-1])[targets]
    return float(np.square(probabilities - truth).sum(axis=-1).mean())
