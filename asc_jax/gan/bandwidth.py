"""How well the bandwidth of a clip alone tells a generated one from a real one. No JAX.

Waves generated at 16 kHz hold nothing above 8 kHz after upsampling. A classifier may learn
that instead of the scene; whoever trains on such clips should know how easy it is.
"""

import numpy as np


def high_band_share(
    waveforms: np.ndarray, sr: int, split_hz: float = 8000.0, *, floor_db: float = -120.0
) -> np.ndarray:
    """The share of each clip's energy that lies above a frequency.

    Args:
      waveforms: (n, T) float.
      sr: sampling rate, Hz.
      split_hz: the frequency, Hz; from `sr / 2` on, all shares are `floor_db`.
      floor_db: the least value, which silence has too.

    Returns:
      (n,) float64, dB re the clip's energy; at most 0.
    """
    waveforms = np.asarray(waveforms)
    # A rectangular window would leak more of the low band than a real high band may hold.
    window = np.hanning(waveforms.shape[-1] + 2)[1:-1]
    high = np.fft.rfftfreq(waveforms.shape[-1], 1 / sr) > split_hz
    shares = np.empty(len(waveforms))
    for i, waveform in enumerate(waveforms):  # one by one: a spectrum is 8 MB for 10 s
        energy = np.square(np.abs(np.fft.rfft(window * waveform)))
        total = energy.sum()
        shares[i] = energy[high].sum() / total if total else 0
    return 10 * np.log10(np.maximum(shares, 10 ** (floor_db / 10)))


def separability(real: np.ndarray, generated: np.ndarray) -> float:
    """How well one feature tells real clips from generated ones.

    Args:
      real: (n,) the feature of the real clips.
      generated: (m,) the feature of the generated ones.

    Returns:
      The area under the ROC curve, or 1 minus it, whichever is larger: 0.5 where the feature
      tells nothing, 1 where a threshold separates them all. NaN if there are none of either,
      or if one is NaN.

    Source: the Mann-Whitney U statistic over n * m; a tie counts one half.
    """
    from scipy.stats import rankdata

    n, m = len(real), len(generated)
    values = np.concatenate([real, generated])
    if n == 0 or m == 0 or np.isnan(values).any():
        return float("nan")
    ranks = rankdata(values)  # ties share their mean rank
    auc = (ranks[:n].sum() - n * (n + 1) / 2) / (n * m)
    return float(max(auc, 1 - auc))
