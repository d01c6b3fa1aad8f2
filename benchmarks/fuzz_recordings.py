"""Recordings as `predict` streams them: real files of all formats, cut and with bits flipped."""

import contextlib
import functools
import io
import os
import pathlib
import sys
import tempfile
from typing import NamedTuple
from unittest import mock

import numpy as np
import soundfile
from hypothesis import strategies as st

from asc_jax.inference import recordings
from asc_jax.inference.windows import in_windows
from benchmarks.fuzz import refusal, strike

_FORMATS = {
    "wav": ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM"), "flac": ("PCM_16", "PCM_24"),
    "ogg": ("VORBIS", "OPUS"), "mp3": ("MPEG_LAYER_III",), "aiff": ("PCM_16", "FLOAT"),
    "w64": ("PCM_16", "DOUBLE"), "caf": ("PCM_16", "ALAC_16"), "rf64": ("PCM_16",),
}  # fmt: skip
_KINDS = [(form, subtype) for form, subtypes in _FORMATS.items() for subtype in subtypes]
_LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_III", "ALAC_16", "IMA_ADPCM")
_SR, _N_SAMPLES = 48_000, 24_000  # of the windows


class Recording(NamedTuple):
    """A file, what is done to it, and how it is read."""

    kind: tuple[str, str]
    sr: int
    channels: int
    seconds: float  # at most; of silence up to hours
    silent: bool
    blow: str
    place: float
    octets: bytes
    hop: int
    stdin: bool


RECORDINGS = st.builds(
    Recording,
    st.sampled_from(_KINDS),
    st.one_of(st.sampled_from([100, 8000, 16_000, 44_100, 48_000]), st.integers(1, 400_000)),
    st.one_of(st.integers(1, 3), st.sampled_from([8, 64, 255])),
    st.floats(0, 4),
    st.booleans(),
    st.sampled_from(["", "cut", "bit", "bits", "bytes", "front", "inserted"]),
    st.floats(0, 1, exclude_max=True),
    st.binary(min_size=1, max_size=8),
    st.one_of(st.just(_N_SAMPLES), st.integers(2000, 60_000)),
    st.booleans(),
)  # fmt: skip


@functools.lru_cache(200)
def _encoded(kind: tuple[str, str], sr: int, channels: int, n_samples: int, silent: bool) -> bytes:
    """The file of some noise, or of silence; b"" where the format has no such file."""
    noise = np.zeros((n_samples, channels), np.float32)
    if not silent:
        noise += 0.1 * np.random.default_rng(n_samples).standard_normal(noise.shape)
    content = io.BytesIO()
    try:
        soundfile.write(content, noise, sr, format=kind[0].upper(), subtype=kind[1])
    except soundfile.LibsndfileError:
        return b""
    return content.getvalue()


def _damaged(given: Recording, content: bytes) -> bytes:
    if given.blow != "bits":
        at = int(given.place * len(content))
        return strike(content, given.blow, at, given.octets) if given.blow else content
    rng = np.random.default_rng(list(given.octets))
    for place in rng.integers(0, len(content), 1 + len(content) // 2000):
        content = strike(content, "bit", place, rng.bytes(1))
    return content


@contextlib.contextmanager
def _standard_input(path: pathlib.Path):
    """The file is what comes by the standard input."""
    before = sys.stdin
    with path.open() as sys.stdin:
        try:
            yield
        finally:
            sys.stdin = before


@contextlib.contextmanager
def _decoder_quiet():
    """Without what libmpg123 writes by itself, see docs/reliability.md."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def check_recording(given: Recording) -> str:
    """A recording is refused, or cut into windows that lie in it; a whole one is all there."""
    if given.channels > 2 and given.kind[1] in _LOSSY:
        return "refused"  # libsndfile ends the process where it writes some of them
    seconds = given.seconds * (1000 if given.silent and given.sr < 1000 else 1)
    n_samples = min(int(seconds * given.sr), 2_000_000 // given.channels)
    content = _encoded(given.kind, given.sr, given.channels, n_samples, given.silent)
    if not content:
        return "refused"
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, f"a.{given.kind[0]}")
        path.write_bytes(_damaged(given, content))
        place, spare = ("-" if given.stdin else str(path)), pathlib.Path(folder, "spare")
        spare.mkdir()
        ((_, blocks),) = recordings.read([place])
        said = lambda: [
            (w.start, w.end, w.note)
            for w in map(_judged, in_windows(blocks, _SR, _N_SAMPLES, given.hop))
        ]
        quiet, temporary = _decoder_quiet(), mock.patch.object(tempfile, "tempdir", str(spare))
        with _standard_input(path), quiet, temporary:
            windows, refused = refusal(said, names="standard input" if given.stdin else str(path))
        assert not list(spare.iterdir())
        if refused:
            assert given.blow or not n_samples or given.sr < 100, refused
            return "refused"
        starts = [start for start, _, _ in windows]
        assert starts[0] == 0 and (np.diff(starts) > 0).all()
        if not given.blow:
            there = soundfile.info(path).frames * _SR / given.sr
            assert abs(windows[-1][1] - there) <= 0.05 * _SR + max(2, given.hop - _N_SAMPLES), (
                windows, there)  # fmt: skip
    return "read"


def _judged(window):
    """A window, if it is one."""
    waveform = window.waveform
    assert waveform.shape == (_N_SAMPLES,) and waveform.dtype == np.float32
    assert np.isfinite(waveform).all() and 0 <= window.start < window.end
    assert not waveform[window.end - window.start :].any()
    return window
