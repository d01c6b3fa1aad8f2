"""Stored samples against libsndfile's: every form of PCM, and what is left to libsndfile."""

import pathlib
import struct
import tracemalloc

import jax
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refused

from asc_jax.data import audio, wav

SR = 48_000
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
DTYPES = {16: np.int16, 24: np.uint8, 32: np.int32}


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def form(channels: int, bits: int, *, extensible=False, guid=PCM_GUID, **other) -> bytes:
    """A "fmt " chunk; `other`: its `tag`, the bytes of its frames, its bits in use."""
    frame_bytes = other.get("frame_bytes", channels * bits // 8)
    tag = other.get("tag", 0xFFFE if extensible else 1)
    content = struct.pack("<HHIIHH", tag, channels, SR, SR * frame_bytes, frame_bytes, bits)
    if extensible:
        content += struct.pack("<HHI", 22, other.get("bits_used", bits), 0) + guid
    return chunk(b"fmt ", content)


def write(folder: pathlib.Path, *chunks: bytes, riff: bytes = b"RIFF") -> pathlib.Path:
    content = b"WAVE" + b"".join(chunks)
    path = folder / "a.wav"
    path.write_bytes(riff + struct.pack("<I", len(content)) + content)
    return path


def libsndfiles(path: pathlib.Path) -> np.ndarray:
    """(T,) float32: its channels' mean."""
    samples = soundfile.read(path, dtype="float32", always_2d=True)[0]
    return sum(samples.T[1:], start=samples[:, 0]) / np.float32(samples.shape[1])


def noise(n_frames: int, channels: int, bits: int) -> bytes:
    return np.random.default_rng(0).bytes(n_frames * channels * bits // 8)


def assert_equals_libsndfile(path: pathlib.Path) -> None:
    """Under numpy exactly; compiled, within the last bit (XLA multiplies by a third)."""
    samples, sr = audio.decode(path)
    expected = libsndfiles(path)
    assert sr == SR
    assert audio.mono(samples).dtype == np.float32
    np.testing.assert_array_equal(audio.mono(samples), expected)
    compiled = jax.jit(audio.mono)(samples)
    if samples.shape[1] == 3:
        np.testing.assert_array_max_ulp(np.asarray(compiled), expected, 1)
    else:
        np.testing.assert_array_equal(compiled, expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [16, 24, 32])
def test_mono_equals_libsndfiles(tmp_path, bits, channels):
    content = noise(999, channels, bits)  # odd sizes at 24 bits
    path = write(tmp_path, form(channels, bits, extensible=channels > 2), chunk(b"data", content))
    samples, sr = wav.read_pcm(path)
    assert (len(samples), samples.dtype, sr) == (999, DTYPES[bits], SR)
    assert_equals_libsndfile(path)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_the_ends_of_the_range(tmp_path, bits):
    largest = 2 ** (bits - 1) - 1
    values = [-largest - 1, -largest, -1, 0, 1, largest]
    frames = [(a, b) for a in values for b in values]
    content = b"".join(v.to_bytes(bits // 8, "little", signed=True) for f in frames for v in f)
    path = write(tmp_path, form(2, bits), chunk(b"data", content))
    assert wav.read_pcm(path) is not None
    assert_equals_libsndfile(path)
    assert audio.mono(audio.decode(path)[0]).min() == -1


# Of any chunk but the two that matter; libsndfile guesses at some names it does not know.
OTHER_CHUNKS = st.lists(
    st.tuples(st.sampled_from([b"LIST", b"bext", b"junk", b"PAD "]), st.binary(max_size=30)),
    max_size=3,
).map(lambda chunks: b"".join(chunk(*one) for one in chunks))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    bits=st.sampled_from([16, 24, 32]),
    channels=st.integers(1, 4),
    n_frames=st.integers(1, 20),
    extensible=st.booleans(),
    first=OTHER_CHUNKS,
    between=OTHER_CHUNKS,
    last=OTHER_CHUNKS,
)
def test_chunks_around_the_samples(
    tmp_path, bits, channels, n_frames, extensible, first, between, last
):
    content = noise(n_frames, channels, bits)
    parts = first, form(channels, bits, extensible=extensible), between, chunk(b"data", content)
    path = write(tmp_path, *parts, last)
    samples, _ = wav.read_pcm(path)
    assert samples.tobytes() == content
    np.testing.assert_array_equal(audio.mono(samples), libsndfiles(path))


DATA = chunk(b"data", noise(100, 2, 24))
LEFT_TO_LIBSNDFILE = {
    "8 bits": (form(2, 8), DATA),
    "floats": (form(2, 32, tag=3), chunk(b"data", np.ones(200, np.float32).tobytes())),
    "mu-law": (form(2, 8, tag=7), DATA),
    "extensible floats": (
        form(2, 32, extensible=True, guid=b"\3" + PCM_GUID[1:]),
        chunk(b"data", np.ones(200, np.float32).tobytes()),
    ),
    "20 bits of 24": (form(2, 24, extensible=True, bits_used=20), DATA),
    "half a frame at the end": (form(2, 24), chunk(b"data", noise(101, 1, 24))),
}


@pytest.mark.parametrize("chunks", LEFT_TO_LIBSNDFILE.values(), ids=LEFT_TO_LIBSNDFILE)
def test_what_is_left_to_libsndfile(tmp_path, chunks):
    path = write(tmp_path, *chunks)
    assert wav.read_pcm(path) is None
    assert_equals_libsndfile(path)


STREAMED = {
    "sox": 0x7FFFF000,
    "arecord": 0x7FFFFF00,
    "arecord of old": 0x80000000,
    "lame": 0x7FFFFFFF,
    "ffmpeg": 0xFFFFFFFF,
    "a recorder that died": 0,
}


def streamed(folder: pathlib.Path, declared: int, content: bytes, form_chunk: bytes):
    """A WAV whose writer did not know how many samples would come."""
    chunks = b"WAVE" + form_chunk + b"data" + struct.pack("<I", declared)
    riff = min(declared + len(chunks), 0xFFFFFFFF)
    path = folder / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", riff) + chunks + content)
    return path


@pytest.mark.parametrize("declared", STREAMED.values(), ids=STREAMED)
@pytest.mark.parametrize("torn", [0, 1])
def test_a_streamed_wav_is_read_to_its_end(tmp_path, declared, torn):
    content = noise(100, 2, 24)
    path = streamed(tmp_path, declared, content + content[:torn], form(2, 24))
    samples, sr = audio.decode(path)
    assert sr == SR
    assert samples.tobytes() == content


@pytest.mark.parametrize("declared", [d for d in STREAMED.values() if d])
def test_a_streamed_wav_of_floats_is_read_to_its_end(tmp_path, declared):
    content = np.linspace(-1, 1, 200, dtype=np.float32).tobytes()
    path = streamed(tmp_path, declared, content, form(2, 32, tag=3))
    assert audio.decode(path)[0].tobytes() == content


def test_a_size_of_0_alone_is_a_recorder_that_died(tmp_path):
    """The size of the whole is right, or the file goes on with another chunk."""
    content = noise(100, 2, 16)
    path = write(tmp_path, form(2, 16), chunk(b"data", b"") + content)
    assert audio.decode(path)[0].tobytes() == content
    path = write(tmp_path, form(2, 16), chunk(b"data", b""), chunk(b"LIST", bytes(50)))
    with refused(path=path):
        audio.decode(path)


@pytest.mark.parametrize("declared", [401, 0x7FFFF001, 0x7FFFFFFE, 0xFFFFFFFE])
def test_any_other_size_beyond_the_file_is_truncated(tmp_path, declared):
    path = streamed(tmp_path, declared, noise(100, 2, 16), form(2, 16))
    with refused(path=path):
        audio.decode(path)


@pytest.mark.parametrize("surplus", [16, 1 << 20])
def test_a_size_of_the_whole_decides_nothing_where_all_samples_are_there(tmp_path, surplus):
    content = noise(100, 2, 16)
    path = write(tmp_path, form(2, 16), chunk(b"data", content))
    whole = bytearray(path.read_bytes())
    whole[4:8] = struct.pack("<I", len(whole) - 8 + surplus)
    path.write_bytes(whole)
    assert audio.decode(path)[0].tobytes() == content


def rf64(n_declared: int, content: bytes) -> bytes:
    sizes = chunk(b"ds64", struct.pack("<QQQI", 72 + n_declared, n_declared, 0, 0))
    unknown = struct.pack("<I", 0xFFFFFFFF)
    return b"RF64" + unknown + b"WAVE" + sizes + form(2, 16) + b"data" + unknown + content


def test_an_rf64_file(tmp_path):
    content = noise(100, 2, 16)
    path = tmp_path / "a.wav"
    path.write_bytes(rf64(400, content))
    assert_equals_libsndfile(path)
    path.write_bytes(rf64(404, content))
    with refused(path=path):
        audio.decode(path)


@pytest.mark.parametrize("name", [b"fmt ", b"LIST"])
def test_the_size_of_a_chunk_reserves_no_memory(tmp_path, name):
    """Of 4 GB declared, the few bytes that are there are read."""
    path = tmp_path / "a.wav"
    head = name + struct.pack("<I", 0xFFFFFFF0) + form(2, 16)[8:]
    path.write_bytes(b"RIFF" + struct.pack("<I", 36) + b"WAVE" + head)
    tracemalloc.start()
    try:
        with refused(path=path):
            audio.decode(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


NO_WAV = {
    "another kind of RIFF": b"RIFF\4\0\0\0AVI ",
    "big-endian": b"RIFX" + struct.pack(">I", 4) + b"WAVE" + form(2, 24) + DATA,
    "no chunks": b"RIFF\4\0\0\0WAVE",
    "no samples": b"RIFF\0\0\0\0WAVE" + form(2, 24) + chunk(b"data", b""),
    "samples before their form": b"RIFF\0\0\0\0WAVE" + DATA + form(2, 24),
    "a short form": b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", b"\1\0\2\0") + DATA,
    "no channels": b"RIFF\0\0\0\0WAVE" + form(0, 24) + DATA,
    "padded samples": b"RIFF\0\0\0\0WAVE" + form(2, 24, frame_bytes=8) + DATA,
    "more samples declared than there": b"RIFF\0\0\0\0WAVE" + form(2, 24) + DATA[:-9],
    "cut in a chunk's head": b"RIFF\0\0\0\0WAVE" + form(2, 24) + b"data\1",
    "text": b"<html>404 Not Found</html>",
    "empty": b"",
}


@pytest.mark.parametrize("content", NO_WAV.values(), ids=NO_WAV)
def test_what_holds_no_stored_samples(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    assert wav.read_pcm(tmp_path / "a.wav") is None


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=80))
def test_no_bytes_raise(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + form(1, 24)[:20] + content)
    wav.read_pcm(tmp_path / "a.wav")
