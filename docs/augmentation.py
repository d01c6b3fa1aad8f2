"""Draws docs/augmentation.jpg: a procedural clip after each augmentation, as log-mels.

python docs/augmentation.py
"""

import functools
import pathlib

import jax
import numpy as np
from matplotlib.figure import Figure

from asc_jax.augment import Augmentation, augment, augment_bands, augment_waveform, reach
from asc_jax.augment.waveforms import time_zero
from asc_jax.data.procedural_scenes import scene_waveform
from asc_jax.frontend import FrontendConfig, decibel, log_mel

SR, SECONDS, FACTOR = 44_100, 3.0, 1.5
FRONTEND = FrontendConfig(
    sr=SR, win_length=2048, hop_length=441, n_mels=80, window="hann", power=2.0, log_floor=1e-7
)
ALONE, MIXED = np.eye(2, dtype=np.float32)

# Larger than one would train with, for them to be seen.
PANELS = {
    "nothing": {},
    "time_scale": {"time_scale": FACTOR},
    "between_class": {"between_class": True},
    "impulse_p": {"impulse_p": 1.0},
    "noise_level": {"noise_level": 0.5},
    "gain_db": {"gain_db": 20.0},
    "freq_mixstyle_p": {"freq_mixstyle_p": 1.0, "freq_mixstyle_alpha": 10.0},
    "filter_db": {"filter_db": 20.0},
    "time_roll": {"time_roll": 0.5},
    "mixup_alpha": {"mixup_alpha": 10.0},
    "time_masks, mel_masks": {
        "time_masks": 2, "time_mask_frames": 60, "mel_masks": 2, "mel_mask_bands": 16,
    },
}  # fmt: skip


def clip(scene: str) -> np.ndarray:
    """(R,) of a scene, of which `time_scale` may take all."""
    n_samples = reach(round(SECONDS * SR), FACTOR)
    scene = scene_waveform(scene, 1, 0, seed=0, n_samples=n_samples, sr=SR).mean(axis=1)
    return scene / np.sqrt(np.mean(scene**2)) / 10


def telephone() -> np.ndarray:
    """(1, L): the response of a device that lets 500 to 4,000 Hz through."""
    n_taps = 2048
    frequencies = np.fft.rfftfreq(n_taps, 1 / SR)
    passed = (frequencies > 500) & (frequencies < 4_000)
    response = np.roll(np.fft.irfft(passed + 0.01, n_taps), time_zero(n_taps))
    return (response / np.linalg.norm(response)).astype(np.float32)[None]


@functools.partial(jax.jit, static_argnames="cfg")
def augmented(one: jax.Array, other: jax.Array, cfg: Augmentation) -> jax.Array:
    """(N, M) of a clip, with another one as its partner, as a training step has it."""
    key, n_samples = jax.random.key(5), round(SECONDS * SR)
    if not cfg.time_scale:
        one, other = one[:n_samples], other[:n_samples]
    waveform, _ = augment_waveform(key, one, ALONE, other, MIXED, cfg, telephone())
    plain = log_mel(one[:n_samples], FRONTEND), log_mel(other[:n_samples], FRONTEND)
    features = augment_bands(
        key, log_mel(waveform, FRONTEND), plain[1], cfg, decibel=decibel(FRONTEND)
    )
    mean, deviation = plain[0].mean(), plain[0].std()
    features, partner = ((x - mean) / deviation for x in (features, plain[1]))
    return augment(key, features, ALONE, partner, MIXED, cfg)[0]


def draw(path: pathlib.Path) -> None:
    """Draws all panels."""
    one, other = clip("tram"), clip("park")
    drawn = {name: augmented(one, other, Augmentation(**fields)) for name, fields in PANELS.items()}
    drawn["the other example"] = augmented(other, one, Augmentation())
    figure = Figure(figsize=(8, 5.4), dpi=100, layout="constrained")
    for axes, (name, features) in zip(figure.subplots(3, 4).flat, drawn.items(), strict=True):
        extent = (0, SECONDS, 0, FRONTEND.n_mels)
        axes.imshow(features.T, origin="lower", aspect="auto", extent=extent, vmin=-2.5, vmax=2.5)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    figure.supxlabel("s", fontsize=8)
    figure.supylabel("mel band", fontsize=8)
    figure.savefig(path, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    draw(pathlib.Path(__file__).with_suffix(".jpg"))
