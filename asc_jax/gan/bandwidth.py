"""How well the bandwidth of a clip alone tells a generated one from a real one.

Waves generated at 16 kHz hold nothing above 8 kHz after upsampling. A classifier may learn
that instead of the scene; whoever trains on such clips should know how easy it is.
"""

import pathlib

import numpy as np

from asc_jax.data.audio import decode, mono
from asc_jax.data.manifest import Manifest
from asc_jax.gan.setup import GanSetup


def high_band_share(waveforms: np.ndarray, sr: int, split_hz: float) -> np.ndarray:
    """The share of each clip's energy that lies above a frequency.

    Args:
      waveforms: (n, T) float.
      sr: sampling rate, Hz.
      split_hz: the frequency, Hz.

    Returns:
      (n,) float64, dB re the clip's energy, from -120 to 0; -120 for silence, and for all clips
      from `sr / 2` on.
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
    return 10 * np.log10(np.maximum(shares, 1e-12))


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
    from scipy.stats import mannwhitneyu

    pairs = len(real) * len(generated)
    if not pairs or np.isnan([*real, *generated]).any():
        return float("nan")
    auc = mannwhitneyu(real, generated).statistic / pairs
    return float(max(auc, 1 - auc))


def told_by_bandwidth(folder: pathlib.Path, setup: GanSetup, n_clips: int = 50) -> float:
    """How well the share of energy above the GAN's band alone tells its clips from real ones.

    Args:
      folder: of the generated clips; those of the run's own GANs count.
      setup: of the GAN's run.
      n_clips: of each kind, at most.

    Returns:
      The area under the ROC curve: 0.5 where that share tells nothing, 1 where it tells all.
    """
    if setup.clip_sr <= setup.sr:
        return 0.5  # neither kind has such a band
    train = np.unique(np.concatenate([corpus.train for corpus in setup.corpora]))
    dataset = setup.dataset
    real = [dataset.audio_path(dataset.clips[i]) for i in train]
    manifest = Manifest(folder)  # clips of other folds lie there too
    generated = [
        folder / line["path"]
        for corpus in setup.corpora
        for label in corpus.scene_labels
        for line in manifest.lines(label, corpus.fold)
    ]

    def shares(paths: list[pathlib.Path]) -> np.ndarray:
        places = np.linspace(0, len(paths) - 1, min(n_clips, len(paths))).round().astype(int)
        chosen = [paths[place] for place in places]
        return np.concatenate(
            [
                high_band_share(mono(samples)[None], sr, setup.sr / 2)
                for samples, sr in map(decode, chosen)
            ]
        )

    return separability(shares(real), shares(generated)) if generated else float("nan")
