"""Impulse responses of recording devices, from a folder of audio files."""

import pathlib

import numpy as np

from asc_jax.augment.waveforms import time_zero
from asc_jax.data.audio import SILENCE, decode, mono
from asc_jax.data.class_folders import find_recordings
from asc_jax.runtime.errors import InputError

_FIELD = "augment.impulse_responses"

# What is kept of a response is the power of two of samples that lasts this long or up to twice as
# long: a device's response has died away by then, and a room's is not what is meant.
_LEAST_SECONDS = 0.03


def read_responses(folder: str | pathlib.Path, sr: int) -> np.ndarray:
    """The impulse responses of a folder, each with the same energy and beginning.

    Args:
      folder: of audio files, of any rate, length and number of channels, which are averaged.
      sr: the rate that they are brought to, Hz.

    Returns:
      (n, L) float32, in the order of the files' paths, of energy 1: noise is as loud when it is
      convolved with one. The largest sample stands at `time_zero(L)`; what does not fit around it
      is left out.

    Raises:
      InputError: there is no audio file, or one cannot be read or is silent.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError("is not a folder; name a folder of audio files", path=folder, field=_FIELD)
    paths = find_recordings(folder)
    if not paths:
        raise InputError(
            "holds no audio file; put impulse responses in it", path=folder, field=_FIELD
        )
    return np.stack([_read(path, sr) for path in paths])


def _read(path: pathlib.Path, sr: int) -> np.ndarray:
    import soxr

    samples, file_sr = decode(path)
    response = mono(samples)
    if np.abs(response).max() < SILENCE:
        raise InputError("is silent; remove it from the folder", path=path, field=_FIELD)
    response = soxr.resample(response, file_sr, sr, quality="HQ")
    n_taps = 1 << int(np.ceil(np.log2(_LEAST_SECONDS * sr)))
    before = time_zero(n_taps)
    padded = np.pad(response, (before, n_taps))
    kept = padded[(first := np.abs(response).argmax()) : first + n_taps]
    return (kept / np.linalg.norm(kept)).astype(np.float32)
