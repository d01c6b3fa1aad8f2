"""Audio files of all kinds as soundfile writes them, and the same ones damaged."""

import io
import pathlib
import tempfile
import tracemalloc
from typing import NamedTuple

import numpy as np
import soundfile
from hypothesis import assume
from hypothesis import strategies as st

from asc_jax.data.audio import LENGTH_TOLERANCE_S, decode, mono, read_clip
from benchmarks.fuzz import refusal, strike

# Bytes that reading may take besides what the samples do: libsndfile's are asked for in blocks.
_ALLOWANCE = 64 << 20

_KINDS = [
    (form, subtype)
    for form in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC", "OGG", "CAF")
    for subtype in soundfile.available_subtypes(form)
    if subtype in ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW",
                   "ALAW", "VORBIS", "OPUS", "IMA_ADPCM", "MS_ADPCM")
]  # fmt: skip


class File(NamedTuple):
    """An audio file, before it is written."""

    kind: tuple[str, str]  # format and subtype
    sr: int
    channels: int
    n_samples: int
    seed: int
    peak: float
    spoilt: str  # "": honest samples; else what one of them is


_RATES = st.one_of(
    st.sampled_from([8000, 16_000, 22_050, 44_100, 48_000, 96_000]), st.integers(1, 400_000)
)
FILES = st.builds(
    File,
    st.sampled_from(_KINDS),
    _RATES,
    st.integers(1, 6),
    st.one_of(st.integers(0, 40), st.integers(0, 20_000)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 1e-6, 0.5, 1.0]),
    st.sampled_from(["", "", "", "", "nan", "inf", "1e20", "-1e20"]),
)


def encode(file: File) -> bytes:
    """The file's bytes; what soundfile does not write, or cannot read again, is no input."""
    rng = np.random.default_rng(file.seed)
    samples = file.peak * rng.uniform(-1, 1, (file.n_samples, file.channels))
    if file.spoilt and file.n_samples and file.kind[1] in ("FLOAT", "DOUBLE"):
        samples[rng.integers(file.n_samples), rng.integers(file.channels)] = float(file.spoilt)
    content = io.BytesIO()
    try:
        soundfile.write(content, samples, file.sr, subtype=file.kind[1], format=file.kind[0])
        soundfile.info(io.BytesIO(content.getvalue()))
    except soundfile.LibsndfileError:
        assume(False)
    return content.getvalue()


def _decoded(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, int]:
    """A file as it is decoded, its waveform, and its rate; in memory that follows its size."""
    size = path.stat().st_size
    tracemalloc.start()
    try:
        samples, sr = decode(path)
        waveform = mono(samples)
        _, peak = tracemalloc.get_traced_memory()
    except BaseException:
        _, peak = tracemalloc.get_traced_memory()
        assert peak < _ALLOWANCE + 40 * size, f"{peak} bytes for a file of {size}"
        raise
    finally:
        tracemalloc.stop()
    # FLAC and Ogg may hold a long silence in a few bytes.
    assert peak < _ALLOWANCE + 40 * size + 8 * samples.nbytes, f"{peak} bytes for {size}"
    assert waveform.dtype == np.float32 and waveform.shape == samples.shape[:1]
    assert np.isfinite(waveform).all()
    return samples, waveform, sr


def _of_soundfile(path: pathlib.Path) -> tuple[np.ndarray, int]:
    samples, sr = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.astype(float).mean(axis=1), sr


def check_file(file: File) -> str:
    """An honest file is decoded as libsndfile decodes it, and cut or filled to a clip."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"clip.{file.kind[0].lower()}"
        path.write_bytes(encode(file))
        found, said = refusal(_decoded, path, names=str(path))
        expected, sr = _of_soundfile(path)
        spoilt = not np.all(np.abs(expected) < 2**32)  # NaN as well
        if said:
            assert spoilt or not len(expected) or not 100 <= sr <= 10_000_000, said
            return "refused"
        assert not spoilt and found[2] == sr
        _assert_close(found[1], expected)
        _check_clip(path, expected, sr, file)
    return "read"


def _assert_close(waveform: np.ndarray, expected: np.ndarray) -> None:
    """Equal within the rounding of a mean in float32."""
    assert waveform.shape == expected.shape, (waveform.shape, expected.shape)
    error = np.abs(waveform - expected).max(initial=0)
    assert error <= 1e-6 * max(1, np.abs(expected).max(initial=0)), error


def _check_clip(path: pathlib.Path, expected: np.ndarray, sr: int, file: File) -> None:
    """A clip has the length that is asked for, and begins as the file does."""
    n_samples = 1 + file.seed % 3000
    for wanted_sr in (sr, 16_000):
        clip, said = refusal(
            read_clip, path, sr=wanted_sr, channels=0, n_samples=n_samples, fit_length=True,
            names=str(path),
        )  # fmt: skip
        assert not said, said
        waveform, seconds = mono(clip[0]), clip[1]
        assert abs(seconds * sr - len(expected)) < 1
        assert waveform.shape == (n_samples,) and np.isfinite(waveform).all()
        if wanted_sr == sr:
            n = min(n_samples, len(expected))
            _assert_close(waveform[:n], expected[:n])
            assert not waveform[n:].any()
    _, said = refusal(
        read_clip, path, sr=sr, channels=0, n_samples=n_samples, names=str(path)
    )  # fmt: skip
    other = abs(len(expected) - n_samples) / sr > LENGTH_TOLERANCE_S
    assert bool(said) == other, (said, len(expected), n_samples, sr)


class Damaged(NamedTuple):
    """An audio file, and what is done to its bytes."""

    file: File
    kind: str
    place: float  # as a share of what is struck
    octets: bytes


# What headers say of sizes where their programs did not know, or lied.
_SIZES = st.sampled_from(
    [0, 1, 2, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x10000, 100, 2**24]
).flatmap(lambda size: st.sampled_from([size.to_bytes(4, "little"), size.to_bytes(4, "big")]))
DAMAGED = st.builds(
    Damaged,
    FILES,
    st.sampled_from(["header byte", "header bytes", "cut", "header cut", "appended", "bytes"]),
    st.floats(0, 1, exclude_max=True),
    st.one_of(_SIZES, st.binary(min_size=1, max_size=16)),
)


def damage(content: bytes, damaged: Damaged) -> bytes:
    """The bytes of a file after one blow."""
    if damaged.kind == "appended":
        return content + damaged.octets * (1 + int(100 * damaged.place))
    where, _, kind = damaged.kind.rpartition(" ")
    size = min(64, len(content)) if where == "header" else len(content)
    return strike(content, kind, int(damaged.place * size), damaged.octets)


def check_damaged(damaged: Damaged) -> str:
    """A damaged file is refused, or gives what libsndfile makes of all that is there."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"clip.{damaged.file.kind[0].lower()}"
        content = encode(damaged.file)
        path.write_bytes(content)
        whole, sr = _of_soundfile(path)
        path.write_bytes(damage(content, damaged))
        found, said = refusal(_decoded, path, names=str(path))
        if said:
            return "refused"
        if damaged.kind in ("cut", "header cut", "appended"):
            # Where frames are independent nothing that is there changes; the end may lack a trifle.
            _, waveform, found_sr = found
            assert found_sr == sr
            n = min(len(waveform), len(whole))
            assert n >= len(whole) - LENGTH_TOLERANCE_S * sr, (n, len(whole))
            _assert_close(waveform[:n], whole[:n])
            if damaged.kind == "appended" and len(whole):  # 0 is what a recorder that died says
                assert len(waveform) - len(whole) <= LENGTH_TOLERANCE_S * sr
            return "read"
        try:
            expected, expected_sr = _of_soundfile(path)
        except Exception:  # libsndfile's wrapper raises all kinds
            return "read"
        assert found[2] == expected_sr
        n = min(len(found[1]), len(expected))
        _assert_close(found[1][:n], expected[:n])
        assert len(found[1]) >= len(expected)
    return "read"
