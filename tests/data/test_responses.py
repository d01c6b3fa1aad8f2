"""Impulse responses: one energy, one beginning, whatever the files are."""

import numpy as np
import pytest
import soundfile
from refusals import refused

from asc_jax.augment.waveforms import time_zero
from asc_jax.data.responses import read_responses

FIELD = "augment.impulse_responses"


def decay(sr: int, delay_s: float, seconds: float) -> np.ndarray:
    """A band-limited click after a delay, with an echo of half its level 5 ms later."""
    time = np.arange(round(seconds * sr)) / sr - delay_s
    return np.sinc(4000 * time) + 0.5 * np.sinc(4000 * (time - 0.005))


def test_responses_of_all_kinds_come_to_one_form(tmp_path):
    mono, stereo = 0.5 * decay(16_000, 0.002, 0.02), 0.05 * decay(48_000, 0.3, 2.0)
    soundfile.write(tmp_path / "a.wav", mono, 16_000)
    (tmp_path / "more").mkdir()
    soundfile.write(tmp_path / "more" / "b.flac", np.stack([stereo, stereo], axis=1), 48_000)
    (tmp_path / "LICENSE.txt").write_text("not audio")
    found = read_responses(tmp_path, 16_000)
    assert found.shape == (2, 512) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=1), time_zero(512))
    expected = decay(16_000, time_zero(512) / 16_000, 512 / 16_000)
    expected /= np.linalg.norm(expected)
    assert np.abs(found[0] - expected).max() < 0.05  # the file begins and ends within
    np.testing.assert_allclose(found[1], expected, atol=0.01)


@pytest.mark.parametrize("content", ["none", "no folder", "no audio", "silent"])
def test_what_is_no_response_is_refused(tmp_path, content):
    folder = tmp_path / "responses"
    path = folder
    if content != "no folder":
        folder.mkdir()
    if content == "silent":
        path = folder / "a.wav"
        soundfile.write(path, np.zeros(100), 16_000)
    if content == "no audio":
        path = folder / "a.wav"
        path.write_text("no audio")
    field = "" if content == "no audio" else FIELD
    with refused(path=path, field=field):
        read_responses(folder, 16_000)
