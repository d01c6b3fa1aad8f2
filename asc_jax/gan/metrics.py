"""Metrics of a GAN: close to the recorded clips, diverse, and no copies. Without JAX.

Embeddings are any (n, D) description of clips, such as log-mel statistics or the activations
before a classifier's last layer. Where there is nothing to compare, a figure is NaN.
"""

import numpy as np

_BLOCK = 256  # rows of a distance matrix at a time
_FRAME = 1024  # samples of which `spectral_flatness` takes a spectrum

# Below it clips are silent. Quiet recordings of the TUT sets have -50 dB.
_LEAST_LEVEL_DB = -80.0
# Below it they are single tones, which have 1e-8 or less. The median of real recordings is 5e-4
# or more in each class of ESC-10 and of the TUT samples.
_LEAST_FLATNESS = 1e-5
_LEAST_DIVERSITY_RATIO = 0.1  # below it they are all alike


def frechet_distance(embeddings_a: np.ndarray, embeddings_b: np.ndarray) -> float:
    """Computes the Fréchet distance between Gaussians fitted to two sets.

    |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). With centred data matrices A and
    B, C_a = A^T A and C_b = B^T B, the trace of the root is the sum of the singular values of
    A B^T: no root of a matrix is taken, which would be inexact where n < D.

    Args:
      embeddings_a: (n, D).
      embeddings_b: (m, D).

    Returns:
      The squared distance, at least 0. NaN if n or m is below 2, or a value is not finite.
      Small sets are biased upwards: compare only equal n and m.

    Source: Heusel et al., arXiv:1706.08500 (the FID, there of Inception's embeddings).
    """
    sets = [np.asarray(e, np.float64) for e in (embeddings_a, embeddings_b)]
    if min(map(len, sets)) < 2 or not all(np.isfinite(e).all() for e in sets):
        return float("nan")
    means = [e.mean(axis=0) for e in sets]
    # R of a QR decomposition has the covariance of all n rows, in at most D of them.
    roots = [
        np.linalg.qr((e - mean) / np.sqrt(len(e) - 1), mode="r")
        for e, mean in zip(sets, means, strict=True)
    ]
    between = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    within = sum(np.square(root).sum() for root in roots)
    return float(max(0.0, np.square(means[0] - means[1]).sum() + within - 2 * between))


def nearest_neighbour_distances(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """How far each query is from the reference that is nearest to it.

    Args:
      queries: (n, D).
      references: (m, D), m at least 1.

    Returns:
      (n,) float64, Euclidean; exactly 0 for a copy.
    """
    blocks = [block.min(axis=1) for block in _distances(queries, references)]
    return np.concatenate([np.empty(0), *blocks])


def memorisation_ratio(generated: np.ndarray, train: np.ndarray, unseen: np.ndarray) -> float:
    """Whether generated clips lie nearer to the training clips than other real clips do.

    Args:
      generated: (n, D) embeddings.
      train: (m, D) of the clips that the GAN was trained on.
      unseen: (k, D) of real clips that it was not, of other locations.

    Returns:
      The median distance from a generated clip to its nearest training clip, over that of
      the unseen clips. Well below 1: copies. About 1 or above: none.
    """
    if not (len(generated) and len(train) and len(unseen)):
        return float("nan")
    return _ratio(
        np.median(nearest_neighbour_distances(generated, train)),
        np.median(nearest_neighbour_distances(unseen, train)),
    )


def diversity(embeddings: np.ndarray) -> float:
    """The mean Euclidean distance between two different clips of (n, D); NaN if n is below 2."""
    n = len(embeddings)
    if n < 2:
        return float("nan")
    return float(sum(b.sum() for b in _distances(embeddings, embeddings)) / (n * (n - 1)))


def diversity_ratio(generated: np.ndarray, real: np.ndarray) -> float:
    """The diversity of generated clips (n, D) over that of real ones (m, D) of one scene.

    About 1 for a good generator; near 0 where it says the same whatever it is asked.
    """
    return _ratio(diversity(generated), diversity(real))


def level_db(waveforms: np.ndarray) -> np.ndarray:
    """The level of each clip.

    Args:
      waveforms: (n, T) float, full scale 1.

    Returns:
      (n,) float64, dB of the RMS re full scale: a sine of amplitude 1 has -3.01; silence -120.
    """
    rms = np.sqrt(np.mean(np.square(np.asarray(waveforms, np.float64)), axis=-1))
    return 20 * np.log10(np.maximum(rms, 1e-6))


def spectral_flatness(waveforms: np.ndarray) -> np.ndarray:
    """The flatness of each clip's average power spectrum.

    Args:
      waveforms: (n, T) float. Power is averaged over Hann-windowed frames of 1024 samples that
        overlap by half. A clip shorter than one is filled with zeros.

    Returns:
      (n,) float64: geometric over arithmetic mean of the bins. Near 1 for white noise (0.56
      if only one frame fits, whose bins vary), near 0 for a tone. 1 for silence, as librosa.

    Source: Welch's average of periodograms; librosa.feature.spectral_flatness of it.
    """
    from scipy.signal import welch
    from scipy.stats import gmean

    waveforms = np.asarray(waveforms, np.float64)
    missing = max(0, _FRAME - waveforms.shape[-1])
    waveforms = np.pad(waveforms, [(0, 0), (0, missing)])
    _, power = welch(waveforms, nperseg=_FRAME, detrend=False, return_onesided=False)
    power = power[:, : _FRAME // 2 + 1]  # a one-sided one has all bins but two twice
    mean = power.mean(axis=-1, keepdims=True)
    # A bin of 0 has no logarithm; 120 dB below the mean nothing is heard.
    relative = np.divide(power, mean, out=np.ones_like(power), where=mean > 0)
    return gmean(np.maximum(relative, 1e-12), axis=-1)


def collapse(
    *,
    level_db: float = float("nan"),
    spectral_flatness: float = float("nan"),
    diversity_ratio: float = float("nan"),
    finite: bool = True,
) -> str:
    """Whether a generator is beyond hope, and how, from the figures of a few samples.

    Args:
      level_db: the samples' median level, dB; NaN if not measured, here and below.
      spectral_flatness: their median flatness.
      diversity_ratio: their diversity over that of real clips.
      finite: whether all samples and losses are finite.

    Returns:
      One line that begins with the first fault found, or "".
    """
    if not finite:
        return "not finite: samples or losses hold NaN or infinity"
    if level_db < _LEAST_LEVEL_DB:
        return f"silent: level {level_db:.0f} dB"
    if spectral_flatness < _LEAST_FLATNESS:
        return f"single tones: spectral flatness {spectral_flatness:.1g}"
    if diversity_ratio < _LEAST_DIVERSITY_RATIO:
        return f"all alike: diversity {diversity_ratio:.2f} of the real clips'"
    return ""


def _distances(rows: np.ndarray, columns: np.ndarray):
    """The matrix of Euclidean distances, a block of rows at a time.

    Not by the scalar product, which loses the small distances between copies to rounding.
    """
    from scipy.spatial.distance import cdist

    for start in range(0, len(rows), _BLOCK):
        yield cdist(rows[start : start + _BLOCK], columns)


def _ratio(numerator: float, denominator: float) -> float:
    """A quotient that may be infinite or NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(numerator) / np.float64(denominator))
