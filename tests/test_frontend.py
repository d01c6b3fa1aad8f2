"""The frontend against librosa; under jit, vmap and grad."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from jax.test_util import check_grads
from refusals import refused

from asc_jax import frontend
from asc_jax.data.audio import decode, mono
from asc_jax.frontend import (
    FRONTENDS,
    FrontendConfig,
    hz_to_mel,
    log_mel,
    mel_filterbank,
    mel_to_hz,
    stft,
)

RELATIVE = 1e-4  # norm-wise, before the logarithm
ABSOLUTE = 1e-3  # after it, where a band is within 60 dB of the loudest
SMALL = FrontendConfig(sr=8000, n_fft=256, win_length=200, hop_length=100, n_mels=12)


def librosa_stft(waveform: np.ndarray, cfg: FrontendConfig) -> np.ndarray:
    """(..., N, 1 + n_fft // 2)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=.* is too large", category=UserWarning)
        spectrum = librosa.stft(
            waveform,
            n_fft=cfg.n_fft,
            hop_length=cfg.hop_length,
            win_length=cfg.win_length,
            window=cfg.window,
            center=cfg.center,
            pad_mode=cfg.pad_mode,
        )
    return np.swapaxes(spectrum, -1, -2)


def librosa_filterbank(cfg: FrontendConfig) -> np.ndarray:
    """(1 + n_fft // 2, M)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters", category=UserWarning)
        return librosa.filters.mel(
            sr=cfg.sr,
            n_fft=cfg.n_fft,
            n_mels=cfg.n_mels,
            fmin=cfg.fmin,
            fmax=cfg.fmax or None,
            htk=cfg.htk,
            norm=None if cfg.norm == "none" else cfg.norm,
        ).T


def librosa_mel(waveform: np.ndarray, cfg: FrontendConfig) -> np.ndarray:
    """(..., N, M) before the logarithm."""
    return np.abs(librosa_stft(waveform, cfg)) ** cfg.power @ librosa_filterbank(cfg)


def relative_error(ours, reference) -> float:
    return np.linalg.norm(np.asarray(ours) - reference) / np.linalg.norm(reference)


def assert_equals_librosa(waveform: np.ndarray, cfg: FrontendConfig) -> None:
    ours = np.asarray(log_mel(waveform, cfg), np.float64)
    mel = librosa_mel(waveform, cfg).astype(np.float64)
    assert ours.shape == mel.shape
    assert relative_error(np.exp(ours) - cfg.log_floor, mel) < RELATIVE
    # 60 dB of power: a factor of 1e-6 in power, 1e-3 in magnitude.
    loud = mel > mel.max() * 10 ** (-3 * cfg.power)
    assert loud.any()
    assert np.abs(ours - np.log(mel + cfg.log_floor))[loud].max() < ABSOLUTE


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """(T,) noise and tones with a spectrum that falls off, as scenes' spectra do; odd T."""
    rng = np.random.default_rng(0)
    noise = np.cumsum(rng.standard_normal(24_001)) * 0.002
    time = np.arange(24_001) / 48_000
    tones = 0.1 * np.sin(2 * np.pi * 440 * time) + 0.02 * np.sin(2 * np.pi * 9000 * time**1.5)
    return (noise + tones + 0.01 * rng.standard_normal(24_001)).astype(np.float32)


@pytest.fixture(scope="module")
def scene(request, sound) -> np.ndarray:
    """(T,) a second of a real scene at 48 kHz, or the artificial sound where there is none."""
    try:
        folder = request.getfixturevalue("tut2018_sample")
    except pytest.skip.Exception:
        return sound
    path = min(folder.rglob("*.wav"))
    samples, _ = decode(path)
    return mono(samples)[:48_001]


# Any two of window, power and padding, and any two of the rest, come together.
@pytest.mark.parametrize(
    ("window", "power", "pad_mode", "htk", "norm", "log_floor"),
    [
        ("hann", 1.0, "constant", False, "slaney", 1e-3),
        ("hann", 2.0, "reflect", True, "none", 2.2e-16),
        ("hann", 0.6, "constant", True, "slaney", 2.2e-16),
        ("hamming", 1.0, "reflect", False, "none", 2.2e-16),
        ("hamming", 2.0, "constant", False, "slaney", 2.2e-16),
        ("hamming", 0.6, "reflect", True, "none", 2.2e-16),
    ],
)
def test_log_mel_equals_librosa_for_every_option(
    window, power, pad_mode, htk, norm, log_floor, scene
):
    options = {"window": window, "power": power, "pad_mode": pad_mode, "htk": htk, "norm": norm}
    assert_equals_librosa(scene, FrontendConfig(**options, log_floor=log_floor))


GEOMETRIES = {
    "the paper's": {},
    "not centred": {"center": False},
    "window as long as the transform": {"win_length": 2048},
    "odd window": {"win_length": 1023, "n_fft": 1024},
    "odd transform": {"n_fft": 1025, "win_length": 1025},
    "odd transform, not centred": {"n_fft": 1025, "win_length": 800, "center": False},
    "hop that does not divide": {"hop_length": 441},
    "hop longer than the transform": {"n_fft": 512, "win_length": 400, "hop_length": 700},
}


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("length", [1, 129, 300, 1001])
def test_log_mel_equals_librosa_for_any_length(length, pad_mode, sound):
    cfg = dataclasses.replace(SMALL, pad_mode=pad_mode)
    assert_equals_librosa(sound[:length], cfg)


@pytest.mark.parametrize("cpu", [True, False])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_stft_equals_librosa(geometry, cpu, scene, monkeypatch):
    monkeypatch.setattr(frontend, "on_cpu", lambda: cpu)  # an accelerator's code runs here too
    cfg = FrontendConfig(**GEOMETRIES[geometry])
    ours, reference = stft(scene, cfg), librosa_stft(scene, cfg)
    assert ours.shape == reference.shape
    assert ours.dtype == jnp.complex64
    assert relative_error(ours, reference) < 1e-6


@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"n_mels": 128},
        {"n_mels": 1},
        {"n_fft": 1025, "win_length": 1000},
        {"fmin": 20.0, "fmax": 16_000.0},
        {"sr": 22_050, "n_fft": 512, "win_length": 512, "n_mels": 64},
    ],
)
def test_mel_filterbank_equals_librosa(geometry, htk, norm):
    cfg = FrontendConfig(**geometry, htk=htk, norm=norm)
    ours, reference = mel_filterbank(cfg), librosa_filterbank(cfg)
    assert ours.shape == reference.shape
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-6 * reference.max())


@pytest.mark.parametrize("htk", [False, True])
def test_mel_scale_equals_librosa_and_inverts(htk):
    frequency = np.linspace(0, 24_000, 1001)
    mel = hz_to_mel(frequency, htk=htk)
    np.testing.assert_allclose(mel, librosa.hz_to_mel(frequency, htk=htk), rtol=1e-12)
    np.testing.assert_allclose(mel_to_hz(mel, htk=htk), frequency, rtol=1e-10, atol=1e-10)
    assert np.all(np.diff(mel) > 0)


def test_number_of_frames(sound):
    for length in (1, 99, 100, 101, 4800):
        assert SMALL.n_frames(length) == 1 + length // SMALL.hop_length
        out = jax.eval_shape(lambda x: log_mel(x, SMALL), sound[:length])
        assert out.shape == (SMALL.n_frames(length), SMALL.n_mels)


def test_leading_axes_jit_and_vmap_give_what_a_loop_gives(sound):
    batch = sound[:4800].reshape(2, 3, 800)
    one = jax.jit(lambda x: log_mel(x, SMALL))
    looped = np.stack([[one(waveform) for waveform in row] for row in batch])
    assert looped.shape == (2, 3, 9, 12)
    for name, transform in {
        "without jit": lambda x: log_mel(x, SMALL),
        "leading axes": one,
        "vmap": jax.jit(jax.vmap(jax.vmap(lambda x: log_mel(x, SMALL)))),
        "vmap along another axis": jax.jit(
            jax.vmap(lambda x: log_mel(x, SMALL), in_axes=1, out_axes=1)
        ),
    }.items():
        out = transform(batch)
        assert out.dtype == jnp.float32
        np.testing.assert_allclose(out, looped, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(
    ("power", "pad_mode"), [(1.0, "constant"), (2.0, "reflect"), (0.5, "constant")]
)
def test_gradient_equals_finite_differences(power, pad_mode):
    cfg = FrontendConfig(
        sr=8000, n_fft=32, win_length=30, hop_length=12, n_mels=3,
        power=power, pad_mode=pad_mode, log_floor=1e-2,
    )  # fmt: skip
    waveform = np.random.default_rng(1).standard_normal(61)
    with jax.enable_x64(True):
        transform = jax.jit(lambda x: log_mel(x, cfg))
        check_grads(transform, (waveform,), order=1, modes=["fwd", "rev"])


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5, 3.0])
def test_gradient_is_finite(power, sound):
    cfg = dataclasses.replace(SMALL, power=power)
    half_silent = np.concatenate([np.zeros(500, np.float32), sound[:500]])
    value_and_gradient = jax.jit(jax.value_and_grad(lambda x: jnp.sum(log_mel(x, cfg))))
    for waveform in (np.zeros(1000, np.float32), half_silent, 1e-20 * sound[:1000]):
        value, gradient = value_and_gradient(waveform)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sr", 0),
        ("n_fft", 0),
        ("win_length", 0),
        ("win_length", 4096),
        ("hop_length", 0),
        ("hop_length", -960),
        ("n_mels", 0),
        ("fmin", -1.0),
        ("fmin", 30_000.0),
        ("fmin", float("nan")),
        ("fmax", 24_001.0),
        ("fmax", -1.0),
        ("power", 0.0),
        ("power", float("inf")),
        ("power", float("nan")),
        ("log_floor", 0.0),
        ("log_floor", float("nan")),
        ("window", "blackman"),
        ("pad_mode", "edge"),
        ("norm", "l2"),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    with refused(field=f"frontend.{field}"):
        FrontendConfig(**{field: value})


@pytest.mark.parametrize(("center", "length"), [(True, 0), (False, 0), (False, 255)])
def test_a_waveform_without_a_frame_is_refused(center, length):
    cfg = dataclasses.replace(SMALL, center=center)
    with refused(field="frontend.n_fft") as caught:
        log_mel(np.zeros(length, np.float32), cfg)
    assert f"{length} samples" in caught.value.message


def test_a_config_is_a_static_argument():
    assert hash(FrontendConfig()) == hash(FrontendConfig())
    traced = []

    def transform(waveform, cfg):
        traced.append(cfg)
        return log_mel(waveform, cfg)

    compiled = jax.jit(transform, static_argnums=1)
    compiled(np.ones(500, np.float32), SMALL)
    compiled(np.ones(500, np.float32), dataclasses.replace(SMALL))
    assert len(traced) == 1


@pytest.mark.parametrize(("power", "name"), [(1.0, "amplitude_to_db"), (2.0, "power_to_db")])
def test_decibels_and_pcen_equal_librosas_of_the_same_mel_spectrogram(power, name):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)
    cfg = FrontendConfig(sr=8000, n_fft=512, win_length=512, hop_length=160, n_mels=12, power=power)
    mel = np.asarray(FRONTENDS["mel"](wave, cfg))
    decibels = getattr(librosa, name)(mel, ref=1, amin=1e-12, top_db=None)
    np.testing.assert_allclose(FRONTENDS["log10_mel"](wave, cfg), decibels, rtol=1e-4, atol=1e-4)
    theirs = librosa.pcen(mel, sr=8000, hop_length=160, axis=-2)
    np.testing.assert_allclose(FRONTENDS["pcen"](wave, cfg), theirs, rtol=1e-3, atol=1e-5)
