"""The sound of procedural acoustic scenes: a waveform from a scene, a location and a segment.

A clip is a noise bed plus a few ingredients (hum, rail clatter, babble, footsteps, cars, ...)
at the levels of `RECIPES`. What a location fixes (levels, EQ curve, hum frequency, event
rates, reverb) varies more than what changes from clip to clip, so that a model scored on
locations it has trained on scores too high, as it does on real recordings.
"""

import dataclasses
import functools
import math

import numpy as np
import scipy.fft

_BED_ABOVE_HZ = 200.0

# Slope of the bed in dB per octave, then ingredient levels in dB relative to the bed's level
# above 200 Hz: RMS for the steady ones, peak of one event for clatter, chime, steps and birds;
# `hall` is reverberant against direct sound. Tuned so that a random forest on log-mel statistics
# finds about two thirds of the clips of new locations, and confuses the pairs that people do.
_OFF = -math.inf
# fmt: off
_INGREDIENTS = ("slope", "rumble", "engine", "whine", "clatter", "chime", "babble", "steps",
                "birds", "cars", "wind", "water", "hall")
RECIPES = {
    "airport":           (-4.5, -8, _OFF, 2, _OFF, 16, 0, 8, _OFF, _OFF, _OFF, _OFF, 10),
    "bus":               (-7.5, 14, 20, _OFF, _OFF, 4, -8, _OFF, _OFF, -8, _OFF, _OFF, -14),
    "metro":             (-4.5, 10, _OFF, 16, 28, 8, -8, _OFF, _OFF, _OFF, 12, _OFF, 2),
    "metro_station":     (-5.5, 10, _OFF, 2, 6, 18, 0, 18, _OFF, _OFF, 10, _OFF, 10),
    "park":              (-3.0, -8, _OFF, _OFF, _OFF, _OFF, -12, 6, 20, -8, 8, _OFF, -20),
    "public_square":     (-5.0, 2, -4, _OFF, _OFF, _OFF, 4, 14, 14, 2, 0, -6, -10),
    "shopping_mall":     (-2.0, -8, _OFF, _OFF, _OFF, 8, 15, 16, _OFF, _OFF, _OFF, _OFF, 0),
    "street_pedestrian": (-5.0, 0, _OFF, _OFF, _OFF, _OFF, 8, 26, 4, 2, 0, _OFF, -6),
    "street_traffic":    (-5.5, 6, 6, _OFF, _OFF, _OFF, -10, 6, _OFF, 18, 2, _OFF, -10),
    "tram":              (-7.0, 12, 8, 18, 18, 14, -5, _OFF, _OFF, -6, _OFF, _OFF, -8),
}
# fmt: on
_LOCATION_DB = 2.0  # spread of a level between locations of one scene
_CLIP_DB = 0.7  # and between clips of one location
_SLOPE_DB = 0.25  # and of its bed, per octave
_EQ_DB = 2.5  # spread of the location's EQ curve at each of its control points


@dataclasses.dataclass(frozen=True)
class _Place:
    """What all clips of one location share; frequencies in Hz, levels in dB."""

    levels: dict[str, float]
    eq_db: np.ndarray  # (8,), at octave steps from 62.5 Hz to 8 kHz
    hum_hz: float
    whine_hz: float
    voice_hz: float
    chime_hz: np.ndarray  # (3,)
    bird_hz: float
    rate: float  # events per second, relative to the ingredient's own rate
    harmonics: np.ndarray  # (12,), amplitudes of hum and whine
    hall_seconds: float  # time constant of the reverberant tail
    hall_seed: int
    side: float  # level of the difference of the channels against their sum, linear
    peak_dbfs: float


def _place(seed: int, scene_label: str, location: int) -> _Place:
    scene_index = list(RECIPES).index(scene_label)
    rng = np.random.default_rng(np.random.SeedSequence((seed, scene_index, location, 0)))
    recipe = np.array(RECIPES[scene_label]) + rng.normal(0, _LOCATION_DB, len(_INGREDIENTS))
    levels = dict(zip(_INGREDIENTS, recipe.tolist(), strict=True))
    # The slope's unit is dB per octave: over seven octaves the level spread would swamp it.
    levels["slope"] = RECIPES[scene_label][0] + rng.normal(0, _SLOPE_DB)
    return _Place(
        levels=levels,
        eq_db=rng.normal(0, _EQ_DB, 8),
        hum_hz=rng.uniform(24, 48),
        whine_hz=rng.uniform(150, 400),
        voice_hz=rng.uniform(500, 850),
        chime_hz=rng.uniform(500, 1000) * np.array([1.0, 1.26, 1.5])[rng.permutation(3)],
        bird_hz=rng.uniform(2800, 5000),
        rate=rng.uniform(0.7, 1.4),
        harmonics=rng.lognormal(0, 0.5, 12) / np.arange(1, 13),
        hall_seconds=rng.uniform(0.08, 0.35),
        hall_seed=int(rng.integers(2**31)),
        side=rng.uniform(0.2, 0.5),
        peak_dbfs=rng.uniform(-26, -16),
    )


@functools.lru_cache(maxsize=4)
def _frequencies(n_samples: int, sr: int) -> np.ndarray:
    """Hz of the real FFT's bins, (n_samples // 2 + 1,) float32; never 0, so that it has a log."""
    frequencies = np.fft.rfftfreq(n_samples, 1 / sr).astype(np.float32)
    frequencies[0] = frequencies[1]
    return frequencies


def _amplitude(level_db: float | np.ndarray) -> float | np.ndarray:
    """10 ** (level_db / 20), in the precision of its input; `**` takes 30 times as long."""
    return np.exp(level_db * (math.log(10) / 20))


def _noise_spectrum(rng: np.random.Generator, gain: np.ndarray) -> np.ndarray:
    """Spectrum of Gaussian noise: RMS 1 in T samples if the sum of gain ** 2 is T ** 2 / 4."""
    # Uniform parts of variance 1 are drawn five times as fast as normal ones; the transform's
    # sum over many bins makes the samples Gaussian all the same.
    uniform = rng.random(2 * gain.size, dtype=np.float32)
    uniform -= 0.5
    spectrum = uniform.view(np.complex64)
    spectrum *= gain * np.float32(math.sqrt(12))
    return spectrum


def _band_noise(
    rng: np.random.Generator, n_samples: int, sr: int, low: float, high: float
) -> np.ndarray:
    """Noise between `low` and `high` Hz with soft edges, RMS 1, (T,) float32."""
    # Four times above the edge the noise is 48 dB down: no need to draw what nobody hears.
    frequencies = _frequencies(n_samples, sr)[: 2 + int(4 * high * n_samples / sr)]
    gain = 1 / ((1 + (low / frequencies) ** 4) * (1 + (frequencies / high) ** 4))
    gain *= n_samples / 2 / np.sqrt(np.sum(gain**2))
    return scipy.fft.irfft(_noise_spectrum(rng, gain), n_samples)


def _slow(rng: np.random.Generator, n_samples: int, sr: int, rate: float) -> np.ndarray:
    """A standard normal value `rate` times a second with straight lines between, (T,) float32."""
    length = math.ceil(sr / rate)
    points = rng.standard_normal(n_samples // length + 2, dtype=np.float32)[:, None]
    ramp = np.arange(length, dtype=np.float32) / length
    return (points[:-1] + (points[1:] - points[:-1]) * ramp).ravel()[:n_samples]


def _hum(
    place: _Place, rng: np.random.Generator, n_samples: int, sr: int, hz: float, wander: float
) -> np.ndarray:
    """A harmonic tone whose pitch wanders slowly by about `wander` octaves, RMS 1, (T,)."""
    cycle = np.arange(4096) / 4096
    order = np.arange(1, place.harmonics.size + 1)[:, None]
    table = place.harmonics @ np.sin(2 * np.pi * order * (cycle + rng.random((order.size, 1))))
    table = (table / table.std()).astype(np.float32)
    phase = np.cumsum(hz / sr * np.exp2(wander * _slow(rng, n_samples, sr, 0.4)), dtype=np.float64)
    return table[(phase * 4096).astype(np.int64) & 4095]


def _burst(
    rng: np.random.Generator, sr: int, seconds: float, low: float, high: float
) -> np.ndarray:
    """One decaying knock of band noise with peak 1, (4 * seconds * sr,) float32."""
    length = int(4 * seconds * sr)
    knock = _band_noise(rng, length, sr, low, high)
    knock *= np.exp(np.arange(length, dtype=np.float32) / (-seconds * sr))
    return knock / np.abs(knock).max()


def _tone(sr: int, seconds: float, start_hz: float, end_hz: float) -> np.ndarray:
    """One tone that glides between two frequencies and fades in and out, peak 1, float32."""
    time = np.linspace(0, 1, int(seconds * sr))
    cycles = seconds * (start_hz * time + (end_hz - start_hz) * time**2 / 2)
    return (np.sin(2 * np.pi * cycles) * np.sin(np.pi * time) ** 0.5).astype(np.float32)


def _scatter(n_samples: int, sr: int, events: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """Adds short sounds at their times in seconds; what begins or ends outside is cut, (T,)."""
    out = np.zeros(n_samples, np.float32)
    for seconds, sound in events:
        start = int(seconds * sr)
        if 0 <= start < n_samples:
            out[start : start + sound.size] += sound[: n_samples - start]
    return out


def _clatter(place: _Place, rng: np.random.Generator, seconds: float, sr: int) -> list:
    """Double knocks of two axles at every rail joint."""
    knock = _burst(rng, sr, 0.05, 80, 900)
    times = np.arange(rng.random(), seconds, 0.9 / place.rate)
    times = times + rng.normal(0, 0.03, times.size)
    return [(t + axle, knock * rng.uniform(0.4, 1)) for t in times for axle in (0, 0.17)]


def _chime(place: _Place, rng: np.random.Generator, seconds: float, sr: int) -> list:
    """A three-tone signal, none to two times in ten seconds: many clips have none."""
    tones = [_tone(sr, 0.35, hz, hz) for hz in place.chime_hz]
    starts = rng.uniform(0, seconds, rng.poisson(0.1 * place.rate * seconds))
    return [(start + 0.3 * i, tone) for start in starts for i, tone in enumerate(tones)]


def _steps(place: _Place, rng: np.random.Generator, seconds: float, sr: int) -> list:
    """Walkers at about two steps a second, each with a sound and a distance of their own."""
    events = []
    for _ in range(1 + rng.poisson(1.5 * place.rate)):
        step = _burst(rng, sr, 0.012, 250, rng.uniform(1500, 5000)) * rng.uniform(0.2, 1)
        times = np.arange(rng.random(), seconds, rng.uniform(0.45, 0.65))
        times = times + rng.normal(0, 0.015, times.size)
        events += [(t, step * rng.uniform(0.7, 1)) for t in times]
    return events


def _birds(place: _Place, rng: np.random.Generator, seconds: float, sr: int) -> list:
    """Phrases of three to six chirps around the location's own pitch."""
    events = []
    for start in rng.uniform(0, seconds, rng.poisson(0.5 * place.rate * seconds)):
        low = place.bird_hz * rng.uniform(0.85, 1.15)
        chirp = _tone(sr, rng.uniform(0.06, 0.12), low, low * rng.uniform(1.05, 1.4))
        events += [(start + 0.16 * i, chirp) for i in range(rng.integers(3, 7))]
    return events


_EVENTS = {"clatter": _clatter, "chime": _chime, "steps": _steps, "birds": _birds}


def _steady(name: str, place: _Place, rng: np.random.Generator, n_samples: int, sr: int):
    """One of the ingredients that last the whole clip, about RMS 1, (T,) float32."""
    if name == "engine":
        return _hum(place, rng, n_samples, sr, place.hum_hz, 0.12)
    if name == "whine":
        return _hum(place, rng, n_samples, sr, place.whine_hz, 0.35)
    low, high, rate, depth = {
        "rumble": (25, 130, 0.5, 0.2),
        "babble": (0.5 * place.voice_hz, 2.5 * place.voice_hz, 8 * place.rate, 0.8),
        "cars": (150, 2000, 0.35, 0.8),
        "wind": (30, 300, 1.0, 0.8),
        "water": (1500, 9000, 2.0, 0.2),
    }[name]
    noise = _band_noise(rng, n_samples, sr, low, high)
    # The mean square of exp(depth * normal) is exp(2 * depth ** 2).
    return noise * np.exp(depth * _slow(rng, n_samples, sr, rate) - np.float32(depth**2))


def scene_waveform(
    scene_label: str, location: int, segment: int, *, seed: int, n_samples: int, sr: int
) -> np.ndarray:
    """One procedural clip: a function of its arguments alone.

    Args:
      scene_label: one of the ten labels of TUT 2018.
      location: number of the location, from 0.
      segment: number of the clip within its location, from 0.
      seed: of the data set.
      n_samples: length T.
      sr: sampling rate in Hz, 16,000 or more.

    Returns:
      The waveform, (T, 2) float32, its peak between -30 and -6 dBFS.
    """
    place = _place(seed, scene_label, location)
    scene_index = list(RECIPES).index(scene_label)
    rng = np.random.default_rng(np.random.SeedSequence((seed, scene_index, location, 1 + segment)))
    level = {name: db + rng.normal(0, _CLIP_DB) for name, db in place.levels.items()}

    sources = np.zeros((2, n_samples), np.float32)
    for name in _INGREDIENTS[1:-1]:
        if level[name] > _OFF:
            if name in _EVENTS:
                sound = _scatter(n_samples, sr, _EVENTS[name](place, rng, n_samples / sr, sr))
            else:
                sound = _steady(name, place, rng, n_samples, sr)
            pan = rng.uniform(0.3, 0.7)
            for channel, share in enumerate((1 - pan, pan)):
                sources[channel] += sound * float(2 * share * _amplitude(level[name]))

    frequencies = _frequencies(n_samples, sr)
    octaves = np.log2(frequencies / 62.5)
    bed_gain = _amplitude(place.levels["slope"] * np.maximum(octaves, -1))
    bed_gain *= n_samples / 2 / np.sqrt(np.sum(bed_gain[frequencies > _BED_ABOVE_HZ] ** 2))
    middle, side = (_noise_spectrum(rng, bed_gain) for _ in range(2))
    # Everything linear is one multiplication of spectra. It wraps the tails round to the start
    # of the clip, which has thus no fade-in.
    hall = _hall(place.hall_seed, place.hall_seconds, n_samples, sr)
    spectra = scipy.fft.rfft(sources)
    spectra *= 1 + hall * float(_amplitude(level["hall"]))
    side *= place.side
    spectra[0] += middle + side
    spectra[1] += middle - side
    equalizer = _amplitude(np.interp(octaves, np.arange(8), place.eq_db).astype(np.float32))
    equalizer /= 1 + (25 / frequencies) ** 4  # no microphone of the field goes down to 0 Hz
    spectra *= equalizer
    waveform = scipy.fft.irfft(spectra, n_samples, overwrite_x=True)
    peak_dbfs = np.clip(place.peak_dbfs + rng.normal(0, _CLIP_DB), -30, -6)
    return waveform.T * float(_amplitude(peak_dbfs) / np.abs(waveform).max())


@functools.lru_cache(maxsize=8)
def _hall(seed: int, seconds: float, n_samples: int, sr: int) -> np.ndarray:
    """Frequency response of a decaying tail per channel, energy 1, (2, T // 2 + 1) complex64."""
    # A stream of its own: the room is the same whatever the clip has drawn before.
    rng = np.random.default_rng(seed)
    length = int(5 * seconds * sr)
    tail = rng.standard_normal((2, length), dtype=np.float32)
    tail *= np.exp(np.arange(length, dtype=np.float32) / (-seconds * sr))
    tail /= np.sqrt(np.sum(tail**2, axis=1, keepdims=True))
    return scipy.fft.rfft(tail[:, :n_samples], n_samples)
