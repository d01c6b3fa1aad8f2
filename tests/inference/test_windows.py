"""Recordings as windows: nothing is lost, and blocks are of no account."""

import numpy as np
import pytest
from refusals import refused

from asc_jax.inference.windows import in_windows, of_waveform

SR = 100


def ramp(n: int) -> np.ndarray:
    return np.arange(1, n + 1, dtype=np.float32) / n


def blocks(waveform: np.ndarray, size: int, sr: int = SR):
    for first in range(0, len(waveform), size):
        yield waveform[first : first + size, None], sr


@pytest.mark.parametrize("size", [1, 7, 20, 1000])
@pytest.mark.parametrize(
    ("n", "hop", "starts"),
    [
        (20, 20, [0]),
        (60, 20, [0, 20, 40]),
        (75, 20, [0, 20, 40, 55]),  # the last one ends with the recording
        (60, 10, [0, 10, 20, 30, 40]),
        (65, 10, [0, 10, 20, 30, 40]),  # what is left, 50 ms, is a codec's padding
        (66, 10, [0, 10, 20, 30, 40, 46]),
        (100, 45, [0, 45, 80]),  # with gaps, as asked for
        (12, 20, [0]),  # zeros behind it
    ],
)
def test_windows_are_those_of_the_recording(n, hop, starts, size):
    waveform = ramp(n)
    found = list(in_windows(blocks(waveform, size), SR, 20, hop))
    assert [one.start for one in found] == starts
    for one in found:
        part = waveform[one.start : one.start + 20]
        np.testing.assert_array_equal(one.waveform, np.pad(part, (0, 20 - len(part))))
        assert one.end == min(one.start + 20, n)


def test_another_rate_is_resampled_as_one_piece():
    seconds = np.arange(3 * 8000) / 8000
    tone = np.sin(2 * np.pi * 440 * seconds).astype(np.float32)
    expected = np.sin(2 * np.pi * 440 * np.arange(3 * 16000) / 16000)
    (one,) = in_windows(blocks(tone, 999, sr=8000), 16000, 3 * 16000, 3 * 16000)
    assert (one.start, one.end) == (0, 3 * 16000)
    np.testing.assert_allclose(one.waveform[1000:-1000], expected[1000:-1000], atol=2e-3)


def test_only_a_window_and_a_block_are_in_memory():
    """An hour, of which each block is made when it is asked for."""
    alive = []

    def hour():
        for i in range(3600):
            block = np.full((SR, 1), i, np.float32)
            alive.append(i)
            yield block, SR

    for one in in_windows(hour(), SR, 10 * SR, 10 * SR):
        assert len(alive) * SR <= one.end + SR
        assert one.waveform[0] == one.start // SR and len(one.waveform) == 10 * SR


@pytest.mark.parametrize(
    ("waveform", "sr", "field"),
    [
        (np.zeros(0), 100, "waveform"),
        (np.zeros((2, 100)), 100, "waveform"),
        (np.zeros((4, 4, 4)), 100, "waveform"),
        (np.zeros(100, np.int16), 100, "waveform"),
        (np.full(100, np.nan), 100, "waveform"),
        (np.zeros(100), 0, "sr"),
    ],
)
def test_what_is_no_waveform_is_a_line(waveform, sr, field):
    with refused(field=field):
        list(of_waveform(waveform, sr))


def test_channels_are_averaged():
    stereo = np.stack([np.ones(20), np.zeros(20)], axis=1)
    (one,) = in_windows(of_waveform(stereo, SR), SR, 20, 20)
    np.testing.assert_array_equal(one.waveform, 0.5)
