"""From a waveform to features, as pure functions that jit, vmap and grad pass through.

Names and meanings are librosa's; every function equals its librosa namesake to float32
rounding. `T` samples, `N` frames, `M` mel bands; leading axes (...) are kept.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from asc_jax.ops.pcen import pcen, smoothing_of
from asc_jax.runtime import functions
from asc_jax.runtime.backend import on_cpu
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.precision import multiplying

# Windows of the form a - (1 - a) cos(2 pi n / length), by their a.
WINDOWS = {"hann": 0.5, "hamming": 0.54}
PAD_MODES = ("constant", "reflect")
NORMS = ("slaney", "none")


@dataclasses.dataclass(frozen=True)
class FrontendConfig:
    """Holds the parameters of a mel spectrogram. Hashable, so it can be a static argument of `jit`.

    Attributes:
      sr: sampling rate, Hz.
      n_fft: length of the transform, samples.
      win_length: length of the window, samples; it is centred in `n_fft` and zero outside.
      hop_length: samples from one frame to the next.
      n_mels: number of mel bands.
      fmin: lower edge of the lowest band, Hz.
      fmax: upper edge of the highest band, Hz; 0 means `sr / 2`.
      window: "hann" or "hamming", periodic.
      power: exponent of the magnitude: 1 for magnitudes, 2 for powers.
      htk: HTK's mel scale instead of Slaney's.
      norm: "slaney" (each band has unit area in Hz) or "none" (unit peak).
      center: frame t is centred on sample `t * hop_length`.
      pad_mode: padding at both ends if `center`: "constant" (zeros) or "reflect".
      log_floor: added to the mel spectrum before the logarithm.
      name: the compression of the mel spectrum, a key of `FRONTENDS`.
      pcen_seconds: smoothing time of `pcen`; see `asc_jax.ops.pcen` for this and the next three.
      pcen_gain: exponent of the smoothed energy.
      pcen_bias: added before the compression.
      pcen_power: exponent of the compression.

    Raises:
      InputError: a value is out of range.
    """

    sr: int = 48_000
    n_fft: int = 2048
    win_length: int = 1920
    hop_length: int = 960
    n_mels: int = 40
    fmin: float = 0.0
    fmax: float = 0.0
    window: str = "hamming"
    power: float = 1.0
    htk: bool = False
    norm: str = "slaney"
    center: bool = True
    pad_mode: str = "constant"
    log_floor: float = 2.2e-16
    name: str = "log_mel"
    pcen_seconds: float = 0.4
    pcen_gain: float = 0.98
    pcen_bias: float = 2.0
    pcen_power: float = 0.5

    def __post_init__(self):
        for field in ("sr", "n_fft", "win_length", "hop_length", "n_mels"):
            value = getattr(self, field)
            if value < 1:
                raise InputError("must be at least 1", field=f"frontend.{field}", value=value)
        if self.win_length > self.n_fft:
            raise InputError(
                f"must not exceed n_fft={self.n_fft}",
                field="frontend.win_length",
                value=self.win_length,
            )
        if not 0 < self.highest <= self.sr / 2:
            raise InputError(
                f"must be above 0 and at most sr / 2 = {self.sr / 2:g}, or 0 for sr / 2",
                field="frontend.fmax",
                value=self.fmax,
            )
        if not 0 <= self.fmin < self.highest:
            raise InputError(
                f"must be at least 0 and below fmax = {self.highest:g}",
                field="frontend.fmin",
                value=self.fmin,
            )
        for field in ("power", "log_floor", "pcen_seconds", "pcen_bias", "pcen_power"):
            if not 0 < (value := getattr(self, field)) < math.inf:
                raise InputError("must be above 0", field=f"frontend.{field}", value=value)
        named = {"window": WINDOWS, "pad_mode": PAD_MODES, "norm": NORMS, "name": FRONTENDS}
        for field, choices in named.items():
            if getattr(self, field) not in choices:
                raise InputError(
                    f"must be one of {', '.join(choices)}",
                    field=f"frontend.{field}",
                    value=getattr(self, field),
                )

    @property
    def highest(self) -> float:
        """The upper edge of the highest mel band, Hz."""
        return self.fmax or self.sr / 2

    def n_frames(self, n_samples: int) -> int:
        """The number of frames that `n_samples` samples give."""
        padding = 2 * (self.n_fft // 2) if self.center else 0
        return 1 + (n_samples + padding - self.n_fft) // self.hop_length


def stft(waveform: jax.Array, cfg: FrontendConfig) -> jax.Array:
    """Computes the short-time Fourier transform.

    Args:
      waveform: (..., T) float32.
      cfg: the frontend's parameters.

    Returns:
      (..., N, 1 + n_fft // 2) complex64; N = 1 + T // hop_length if `cfg.center` (and
      n_fft is even, as it should be).

    Raises:
      InputError: the waveform is too short for one frame.

    Source: librosa.stft (frames last there, before the frequencies here).
    """
    n_samples = waveform.shape[-1]
    n_frames = cfg.n_frames(n_samples)
    if n_frames < 1 or n_samples < 1:
        raise InputError(
            f"a waveform of {n_samples} samples is shorter than one frame; it needs "
            f"{1 if cfg.center else cfg.n_fft}",
            field="frontend.n_fft",
            value=cfg.n_fft,
        )
    if cfg.center:
        ends = [(0, 0)] * (waveform.ndim - 1) + [(cfg.n_fft // 2, cfg.n_fft // 2)]
        waveform = jnp.pad(waveform, ends, mode=cfg.pad_mode)
    frames = _frames(waveform, n_frames, cfg.n_fft, cfg.hop_length)
    return jnp.fft.rfft(frames * _window(cfg), axis=-1)


def _frames(waveform: jax.Array, n_frames: int, length: int, hop: int) -> jax.Array:
    """(..., T) -> (..., N, length): overlapping frames.

    A gather on a CPU; elsewhere slices of whole hops, of which both directions are plain
    copies. XLA's CPU code for the latter takes five times as long: docs/performance.md.
    """

    leading = waveform.shape[:-1]
    if on_cpu():
        starts = hop * jnp.arange(n_frames)
        frame = lambda row, start: jax.lax.dynamic_slice(row, (start,), (length,))
        frames = jax.vmap(jax.vmap(frame, (None, 0)), (0, None))
        rows = waveform.reshape(-1, waveform.shape[-1])
        return frames(rows, starts).reshape(*leading, n_frames, length)
    hops_per_frame = -(-length // hop)
    n_hops = n_frames - 1 + hops_per_frame
    surplus = n_hops * hop - waveform.shape[-1]
    hops = jnp.pad(waveform, [(0, 0)] * len(leading) + [(0, max(surplus, 0))])
    hops = hops[..., : n_hops * hop].reshape(*leading, n_hops, hop)
    frames = [hops[..., i : i + n_frames, :] for i in range(hops_per_frame)]
    return jnp.concatenate(frames, axis=-1)[..., :length]


def _window(cfg: FrontendConfig) -> np.ndarray:
    """(n_fft,) float32: the periodic window, centred in the transform."""
    a = WINDOWS[cfg.window]
    phase = 2 * np.pi * np.arange(cfg.win_length) / cfg.win_length
    before = (cfg.n_fft - cfg.win_length) // 2
    window = np.zeros(cfg.n_fft)
    window[before : before + cfg.win_length] = a - (1 - a) * np.cos(phase)
    return window.astype(np.float32)


def mel_filterbank(cfg: FrontendConfig) -> np.ndarray:
    """Makes triangular mel filters.

    Args:
      cfg: the frontend's parameters.

    Returns:
      (1 + n_fft // 2, M) float32: a spectrum times this is a mel spectrum.

    Source: librosa.filters.mel (transposed).
    """
    frequencies = np.arange(1 + cfg.n_fft // 2) * (cfg.sr / cfg.n_fft)
    edges = mel_edges(cfg)
    rising = (frequencies[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - frequencies[:, None]) / np.diff(edges)[None, 1:]
    filters = np.maximum(0, np.minimum(rising, falling))
    if cfg.norm == "slaney":
        filters = filters * (2 / (edges[2:] - edges[:-2]))
    return filters.astype(np.float32)


def mel_edges(cfg: FrontendConfig) -> np.ndarray:
    """(M + 2,) Hz, float64: band m rises from edge m, peaks at m + 1 and ends at m + 2."""
    lowest, highest = hz_to_mel(np.array([cfg.fmin, cfg.highest]), htk=cfg.htk)
    return mel_to_hz(np.linspace(lowest, highest, cfg.n_mels + 2), htk=cfg.htk)


def n_empty_bands(cfg: FrontendConfig) -> int:
    """The number of mel bands that lie between two bins of the transform: filters of zeros."""
    frequencies = np.append(np.arange(1 + cfg.n_fft // 2) * (cfg.sr / cfg.n_fft), np.inf)
    edges = mel_edges(cfg)
    first = frequencies[np.searchsorted(frequencies, edges[:-2], side="right")]
    return int((first >= edges[2:]).sum())


def hz_to_mel(frequency: np.ndarray, *, htk: bool) -> np.ndarray:
    """Hz to mel. Source: HTK's formula, or Slaney's (linear below 1 kHz, then logarithmic)."""
    if htk:
        return 2595 * np.log10(1 + frequency / 700)
    logarithmic = 15 + 27 * np.log(np.maximum(frequency, 1e-9) / 1000) / np.log(6.4)
    return np.where(frequency < 1000, frequency * 3 / 200, logarithmic)


def mel_to_hz(mel: np.ndarray, *, htk: bool) -> np.ndarray:
    """Mel to Hz: the inverse of `hz_to_mel`."""
    if htk:
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def log_mel(waveform: jax.Array, cfg: FrontendConfig) -> jax.Array:
    """Computes the log-mel spectrogram.

    Args:
      waveform: (..., T) float32.
      cfg: the frontend's parameters.

    Returns:
      (..., N, M) float32, natural logarithm; N = 1 + T // hop_length if `cfg.center`.

    Raises:
      InputError: the waveform is too short for one frame.

    Source: paper §2.1; the DCASE 2018 baseline for what the paper leaves open.
    """
    return jnp.log(mel_spectrogram(waveform, cfg) + cfg.log_floor)


def log10_mel(waveform: jax.Array, cfg: FrontendConfig) -> jax.Array:
    """Computes the mel spectrogram in decibels of power (of its square if `cfg.power` is 1)."""
    return 20 / cfg.power * jnp.log10(mel_spectrogram(waveform, cfg) + cfg.log_floor)


def decibel(cfg: FrontendConfig) -> float:
    """What a sound that is 1 dB louder adds to its features, of a name in `LOGARITHMIC`."""
    return 1.0 if cfg.name == "log10_mel" else cfg.power * math.log(10) / 20


def pcen_mel(waveform: jax.Array, cfg: FrontendConfig) -> jax.Array:
    """Computes the mel spectrogram with per-channel energy normalisation; see `log_mel`."""
    return pcen(
        mel_spectrogram(waveform, cfg),
        smoothing=smoothing_of(cfg.pcen_seconds, cfg.sr, cfg.hop_length),
        gain=cfg.pcen_gain,
        bias=cfg.pcen_bias,
        power=cfg.pcen_power,
    )


def mel_spectrogram(waveform: jax.Array, cfg: FrontendConfig) -> jax.Array:
    """Computes the mel spectrogram without compression.

    Args:
      waveform: (..., T) float32.
      cfg: the frontend's parameters.

    Returns:
      (..., N, M) float32; N = 1 + T // hop_length if `cfg.center`.

    Raises:
      InputError: the waveform is too short for one frame.
    """
    spectrum = stft(waveform, cfg)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    if cfg.power != 2:
        # The gradient of x ** 0.5 at 0 is infinite; digital silence has many zeros.
        silent = power == 0
        power = jnp.where(silent, 1, power)
        # A square root is many times faster than a power.
        power = jnp.sqrt(power) if cfg.power == 1 else power ** (cfg.power / 2)
        power = jnp.where(silent, 0, power)
    # float32 products may otherwise run as TF32 on a GPU, as bfloat16 on a TPU.
    return jnp.matmul(power, mel_filterbank(cfg), precision="highest")


# Those that are logarithms: a louder sound adds to all bands alike.
LOGARITHMIC = ("log_mel", "log10_mel")

# By the name in a config.
FRONTENDS = {
    "log_mel": log_mel,
    "log10_mel": log10_mel,
    "pcen": pcen_mel,
    "mel": mel_spectrogram,
}


@dataclasses.dataclass(frozen=True)
class OwnFrontend:
    """A frontend of the user's own.

    Attributes:
      name: a reference to a function (waveform (T,), fields) -> (N, M); see
        `asc_jax.runtime.functions`.
      sr: sampling rate, Hz.
      fields: of the config's `frontend` group, `sr` too.
    """

    name: str
    sr: int
    fields: tuple[tuple[str, object], ...]


Frontend = FrontendConfig | OwnFrontend


def make_frontend(group: Mapping) -> Frontend:
    """The frontend that a config's `frontend` group says."""
    if not functions.is_own(group["name"]):
        return FrontendConfig(**group)
    fields = {name: value for name, value in group.items() if name != "name"}
    return OwnFrontend(group["name"], group["sr"], tuple(sorted(fields.items())))


def frontend_function(frontend: Frontend) -> Callable[[jax.Array], jax.Array]:
    """The function of a frontend: (..., T) float32 -> (..., N, M) float32."""
    if isinstance(frontend, FrontendConfig):
        return functools.partial(FRONTENDS[frontend.name], cfg=frontend)
    own, fields = functions.load(frontend.name, field="frontend.name"), dict(frontend.fields)
    exact = multiplying(lambda waveform: own(waveform, fields), "float32")
    return jnp.vectorize(exact, signature="(t)->(n,m)")


def feature_shape(frontend: Frontend, n_samples: int) -> tuple[int, int]:
    """(N, M), of a clip of so many samples."""
    if isinstance(frontend, FrontendConfig):
        return frontend.n_frames(n_samples), frontend.n_mels
    clip = jax.ShapeDtypeStruct((n_samples,), jnp.float32)
    return jax.eval_shape(frontend_function(frontend), clip).shape
