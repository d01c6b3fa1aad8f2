"""Decoding: full resolution, every bad file named, and never much in memory."""

import functools
import pathlib
import sys
import threading
import time

import numpy as np
import pytest
import soundfile
import soxr
from refusals import refused

from asc_jax.data import audio, many_files
from asc_jax.runtime.errors import InputError

SR = 48_000


@pytest.fixture
def stereo() -> np.ndarray:
    """(T, 2): half a second within ±0.5."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, (SR // 2, 2))


def write(path: pathlib.Path, samples: np.ndarray, sr: int = SR, **options) -> pathlib.Path:
    soundfile.write(path, samples, sr, **options)
    return path


def cut(path: pathlib.Path, fraction: float = 0.5) -> pathlib.Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def read_waveform(path: pathlib.Path, **options) -> np.ndarray:
    """(T,) of a clip of half a second, or of what `options` say."""
    options = {"sr": SR, "channels": 0, "n_samples": SR // 2, **options}
    return audio.mono(audio.read_clip(path, **options)[0])


def test_24_bits_are_not_truncated(tmp_path, stereo):
    path = write(tmp_path / "a.wav", stereo, subtype="PCM_24")
    waveform = read_waveform(path)
    exact = soundfile.read(path, dtype="float64")[0].mean(axis=1)
    assert np.abs(waveform - exact).max() <= 2**-24
    rounded = soundfile.read(path, dtype="int16")[0].mean(axis=1) / 2**15
    assert np.abs(waveform - rounded).max() > 2**-17


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.flac", {"subtype": "PCM_24"}, 2**-22),
        ("a.wav", {"subtype": "PCM_16"}, 2**-14),
        ("a.wav", {"subtype": "DOUBLE"}, 2**-23),
        ("a.aiff", {"subtype": "PCM_24"}, 2**-22),
        ("no_ending", {"format": "WAV", "subtype": "PCM_24"}, 2**-22),
    ],
)
def test_lossless_formats(tmp_path, stereo, name, options, tolerance):
    path = write(tmp_path / name, stereo, **options)
    waveform = read_waveform(path, channels=2)
    np.testing.assert_allclose(waveform, stereo.mean(axis=1), atol=tolerance)


@pytest.mark.parametrize("orig_sr", [44_100, 96_000])
def test_another_rate_is_resampled_to_the_exact_sine(tmp_path, orig_sr):
    def sine(sr):
        return 0.5 * np.sin(2 * np.pi * 1000 * np.arange(sr) / sr)

    path = write(tmp_path / "a.wav", sine(orig_sr), orig_sr, subtype="FLOAT")
    waveform = read_waveform(path, n_samples=SR)
    assert waveform.dtype == np.float32
    assert len(waveform) == SR
    middle = slice(SR // 10, -SR // 10)  # a filter sees beyond the ends
    assert np.abs(waveform - sine(SR))[middle].max() < 1e-5


def test_real_clips_equal_soundfiles_mean(tut2018_sample):
    paths = sorted(tut2018_sample.glob("*.wav"))
    assert len(paths) == 3
    for path in paths:
        exact, sr = soundfile.read(path, dtype="float64")
        waveform = read_waveform(path, channels=2, n_samples=10 * SR)
        assert (sr, len(waveform)) == (SR, 10 * SR)
        np.testing.assert_allclose(waveform, exact.mean(axis=1), atol=2**-23)


def flac_of_unknown_length(path: pathlib.Path, stereo: np.ndarray) -> pathlib.Path:
    """As an encoder writes one into a pipe."""
    content = bytearray(write(path, stereo, format="FLAC").read_bytes())
    content[21] &= 0xF0  # of STREAMINFO's number of samples, 36 bits
    content[22:26] = bytes(4)
    path.write_bytes(content)
    return path


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path, stereo):
    path = flac_of_unknown_length(tmp_path / "a.flac", np.tile(stereo, (99, 1)))
    exact = np.tile(soundfile.read(write(tmp_path / "b.flac", stereo))[0], (99, 1))
    np.testing.assert_array_equal(audio.decode(path)[0], exact.astype(np.float32))


def rate(path: pathlib.Path, sr: int) -> pathlib.Path:
    """A WAV file with another rate in its header."""
    content = bytearray(path.read_bytes())
    content[24:28] = sr.to_bytes(4, "little")
    path.write_bytes(content)
    return path


def with_sample(path: pathlib.Path, stereo: np.ndarray, value: float) -> None:
    stereo[123, 1] = value
    write(path, stereo, subtype="FLOAT")


# What makes a file of this name that cannot be used, of the path and half a second of stereo.
BAD = {
    "empty": ("a.wav", lambda path, stereo: path.touch()),
    "gone": ("a.wav", lambda path, stereo: path.symlink_to(path.parent / "gone.wav")),
    "a folder": ("a.wav", lambda path, stereo: path.mkdir()),
    "a page": ("a.wav", lambda path, stereo: path.write_bytes(b"<html>404</html>" * 40)),
    # libsndfile takes anything of such a name for sound.
    "a page named .vox": ("a.vox", lambda path, stereo: path.write_bytes(b"<html>" * 40)),
    "no samples": ("a.wav", lambda path, stereo: write(path, stereo[:0])),
    "cut in its header": ("a.wav", lambda path, stereo: path.write_bytes(
        write(path, stereo).read_bytes()[:20])),
    "24 bits, cut at the end": ("a.wav", lambda path, stereo: cut(
        write(path, stereo, subtype="PCM_24"), 0.999)),
    "a FLAC of unknown length, cut": ("a.flac", lambda path, stereo: cut(
        flac_of_unknown_length(path, stereo))),
    "1 Hz": ("a.wav", lambda path, stereo: rate(write(path, stereo), 1)),
    "4 GHz": ("a.wav", lambda path, stereo: rate(write(path, stereo), 4_000_000_000)),
    "NaN": ("a.wav", lambda path, stereo: with_sample(path, stereo, np.nan)),
    "minus infinity": ("a.wav", lambda path, stereo: with_sample(path, stereo, -np.inf)),
    "beyond 32 bits": ("a.wav", lambda path, stereo: with_sample(path, stereo, 2.2e9)),
    "beyond 32 bits below": ("a.wav", lambda path, stereo: with_sample(path, stereo, -2.2e9)),
}  # fmt: skip


@pytest.mark.parametrize(("name", "make"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, stereo, name, make):
    make(tmp_path / name, stereo)
    with refused(path=tmp_path / name):
        audio.decode(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["a.ogg", "a.wav", "a.aiff", "a.au", "a.w64", "a.rf64", "a.flac", "a.mp3"]
)
def test_a_file_cut_short_is_refused_and_not_a_shorter_one(tmp_path, stereo, name):
    """libsndfile reads most of them without a word."""
    whole = write(tmp_path / name, np.tile(stereo, (4, 1)))
    assert len(audio.decode(whole)[0]) == 4 * len(stereo)
    with refused(path=name):
        audio.decode(cut(whole))


def test_what_stands_behind_the_sound_of_a_wave64_file_is_no_sound(tmp_path, stereo):
    path = write(tmp_path / "a.w64", stereo, subtype="PCM_16")
    n_frames, content = len(audio.decode(path)[0]), path.read_bytes()
    assert n_frames == len(stereo)
    path.write_bytes(content + bytes(4000))
    assert soundfile.info(path).frames == n_frames + 1000  # libsndfile takes it for sound
    with refused(path=path):
        audio.decode(path)


def test_of_a_very_low_rate_no_stream_is_hours_at_once(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(100_000), 100)
    pieces = [(len(block), sr) for block, sr in audio.stream(path)]
    assert sum(n for n, _ in pieces) == 100_000 and max(pieces) == (1000, 100)


def test_whatever_the_decoder_raises_is_one_line(tmp_path, stereo, monkeypatch):
    path = write(tmp_path / "a.flac", stereo)

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with refused(path=path):
        audio.decode(path)


def test_integers_stored_as_floats_are_samples(tmp_path, stereo):
    path = write(tmp_path / "a.wav", 2 * stereo * 2**31, subtype="FLOAT")
    assert np.abs(audio.decode(path)[0]).max() > 0.9 * 2**31


@pytest.mark.parametrize("sr", [100, 10_000_000])
def test_the_length_is_judged_before_anything_is_resampled(tmp_path, stereo, sr, monkeypatch):
    path = rate(write(tmp_path / "a.wav", stereo), sr)
    monkeypatch.setattr(soxr, "resample", None)
    with refused(path=path) as caught:
        read_waveform(path)
    assert f"{len(stereo) / sr:.2f} s" in caught.value.message


@pytest.mark.parametrize("sr", [100, 16_000, 10_000_000])
def test_only_what_a_clip_needs_is_resampled(tmp_path, stereo, sr, monkeypatch):
    path = rate(write(tmp_path / "a.wav", np.tile(stereo, (20, 1)), subtype="FLOAT"), sr)
    waveform = audio.mono(audio.decode(path)[0])
    n_samples = SR // 10
    expected = soxr.resample(waveform[: 30 * sr], sr, SR, quality="HQ")[:n_samples]
    expected = np.pad(expected, (0, n_samples - len(expected)))
    resample, given = soxr.resample, []

    def count(samples, *arguments, **options):
        given.append(len(samples))
        return resample(samples, *arguments, **options)

    monkeypatch.setattr(soxr, "resample", count)
    clip = read_waveform(path, n_samples=n_samples, fit_length=True)
    np.testing.assert_allclose(clip, expected, atol=1e-6)
    assert given[0] <= 0.15 * sr + 1000 * max(1, sr / SR) + 1


# What a data set asks for, the file's rate and channels, and what is told of it.
OTHER_FORMS = {
    "channels": ({"channels": 2}, SR, 1, ["data.channels=2"]),
    "shorter": ({"n_samples": SR * 6 // 10}, SR, 2, ["0.50 s", "data.clip_seconds=0.6"]),
    "longer": ({"n_samples": SR * 4 // 10}, SR, 2, ["0.50 s", "data.clip_seconds=0.4"]),
    "at once": ({"channels": 2, "n_samples": SR}, SR, 1, ["data.channels", "data.clip_seconds"]),
    "half the rate in the header": ({}, SR // 2, 2, ["1.00 s"]),
}


@pytest.mark.parametrize(("asked", "sr", "channels", "told"), OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_a_clip_of_another_form_is_refused_with_what_to_set(
    tmp_path, stereo, asked, sr, channels, told
):
    path = write(tmp_path / "a.wav", stereo[:, :channels], sr)
    with refused(path=path) as caught:
        read_waveform(path, **asked)
    assert all(what in caught.value.message for what in told)
    assert len(read_waveform(path, **asked | {"channels": 0, "fit_length": True}))


@pytest.mark.parametrize("surplus", [-2000, 0, 1, 2000])
def test_a_codecs_padding_is_cut_or_filled(tmp_path, stereo, surplus):
    path = write(tmp_path / "a.wav", stereo)
    n_samples = len(stereo) - surplus
    assert read_waveform(path, n_samples=n_samples).shape == (n_samples,)


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT"])
def test_fit_length_cuts_and_zero_fills(tmp_path, stereo, subtype):
    path = write(tmp_path / "a.wav", stereo, subtype=subtype)
    whole = read_waveform(path)
    short = read_waveform(path, n_samples=1000, fit_length=True)
    np.testing.assert_array_equal(short, whole[:1000])
    long = read_waveform(path, n_samples=SR, fit_length=True)
    assert (long.dtype, long.shape) == (np.float32, (SR,))
    np.testing.assert_array_equal(long[: len(whole)], whole)
    assert not long[len(whole) :].any()


def bad_files(read, paths) -> list[str]:
    """What is said of some files, a line for each kind of fault."""
    with pytest.raises(InputError) as caught:
        list(many_files.map_files(read, paths, workers=2))
    return str(caught.value).splitlines()


def test_all_bad_files_are_listed_at_once(tmp_path, stereo):
    paths = [write(tmp_path / f"{i}.wav", stereo) for i in range(12)]
    paths[2].write_bytes(b"")
    cut(paths[7])
    paths[11].unlink()
    clips = many_files.map_files(read_waveform, paths, workers=2)
    assert next(clips).shape == next(clips).shape
    with pytest.raises(InputError):
        next(clips)  # the caller's work is lost anyway once a file is bad
    named = [line.split(":")[0] for line in bad_files(read_waveform, paths)]
    assert named == [str(paths[i]) for i in (2, 7, 11)]


def test_order_is_kept_whichever_file_is_read_first():
    def read(number):
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number

    assert list(many_files.map_files(read, range(40), workers=4)) == list(range(40))
    assert list(many_files.map_files(read, [], workers=4)) == []


def test_what_differs_in_numbers_alone_is_one_line():
    """Such as clips of many lengths where a few have the right one."""
    paths = [pathlib.Path(f"audio/{number}.wav") for number in range(400)]

    def read(path, right):
        if path != right:
            raise InputError(f"lasts {1 + int(path.stem) / 8:g} s, not 10; replace it", path=path)

    (line,) = bad_files(functools.partial(read, right=paths[7]), paths)
    assert line.startswith(f"{paths[0]}: lasts 1 s")
    assert "398" in line and "400" in line and f"{paths[1]}, {paths[2]}" in line
    (line,) = bad_files(functools.partial(read, right=None), paths[:3])
    assert line.startswith(f"{paths[0]}: ") and "3" in line and str(paths[1]) not in line
    (line,) = bad_files(functools.partial(read, right=paths[0]), paths[:3])
    assert line.startswith(f"{paths[1]}: ") and str(paths[2]) in line


@pytest.mark.parametrize("workers", [1, 3])
def test_few_results_are_in_memory_at_a_time(workers):
    lock, started, most_ahead, taken = threading.Lock(), 0, 0, 0

    def read(number):
        nonlocal started, most_ahead
        with lock:
            started += 1
            most_ahead = max(most_ahead, started - taken)
        return number

    for _ in many_files.map_files(read, range(100), workers=workers):
        time.sleep(0.001)  # a consumer slower than the readers
        taken += 1
    assert started == 100
    assert most_ahead <= 4 * workers + 1  # and the one in the consumer's hands


def test_a_programming_error_is_no_bad_file():
    def read(number):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(many_files.map_files(read, range(3), workers=2))


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_for_a_terminal_and_a_file_has_a_line(capfd, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    for n_files in (3, many_files.MANY):  # a few are read before anyone asks
        list(many_files.map_files(abs, range(n_files), workers=1))
        output = capfd.readouterr()
        said = terminal or n_files == many_files.MANY
        assert ("\r" in output.err) == terminal and (str(n_files) in output.err) == said
        assert output.out == ""


def test_silence_at_both_ends_is_trimmed_and_counted_by_nobody(tmp_path, stereo):
    quiet = np.full((SR // 10, 2), 1e-5)
    path = write(
        tmp_path / "a.wav", np.concatenate([quiet, stereo, quiet, stereo, quiet]), subtype="PCM_24"
    )
    options = {"sr": SR, "channels": 0, "n_samples": 2 * SR, "fit_length": True}
    samples, seconds = audio.read_clip(path, **options, trim_silence=True)
    assert seconds == pytest.approx(1.1, abs=1e-4)
    np.testing.assert_allclose(audio.to_float(samples)[: SR // 2], stereo, atol=1e-4)
    silent = write(tmp_path / "b.wav", quiet, subtype="PCM_24")
    assert audio.read_clip(silent, **options, trim_silence=True)[1] == pytest.approx(0.1)
