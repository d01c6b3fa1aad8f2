"""Integer samples of WAV files, as the files store them.

Reading them is a copy; libsndfile takes twenty times as long to turn them into floats. That
arithmetic is `asc_jax.data.audio.mono`, which XLA compiles.
"""

import os
import pathlib
import struct
from typing import BinaryIO

import numpy as np

_PCM, _EXTENSIBLE = 1, 0xFFFE
_PCM_SUBFORMAT = bytes.fromhex("0100000000001000800000aa00389b71")
_DTYPES = {16: "<i2", 24: "u1", 32: "<i4"}  # by bits per sample; numpy has none of 24


def read_pcm(path: pathlib.Path) -> tuple[np.ndarray, int] | None:
    """Reads a WAV file of 16, 24 or 32 bits without decoding it.

    Args:
      path: the file.

    Returns:
      (T, channels) int16 or int32, or (T, channels, 3) uint8, the lowest byte first, for 24
      bits; and the sampling rate, Hz. None for every other file and for all that is unusual:
      libsndfile knows more.

    Raises:
      OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(12)
        if header[:4] != b"RIFF" or header[8:] != b"WAVE":
            return None
        form = None
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name == b"data":
                return form and _samples(file, size, *form)
            padded = size + size % 2
            if name == b"fmt ":
                form = _form(file.read(padded))
            else:
                file.seek(padded, os.SEEK_CUR)
    return None


def _form(chunk: bytes) -> tuple[int, int, int] | None:
    """Channels, rate (Hz) and bits per sample from a "fmt " chunk; None unless plain PCM."""
    if len(chunk) < 16:
        return None
    tag, channels, sr, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and chunk[24:40] == _PCM_SUBFORMAT:
        (bits_used,) = struct.unpack_from("<H", chunk, 18)
        tag = _PCM if bits_used == bits else tag
    plain = tag == _PCM and bits in _DTYPES and 8 * frame_bytes == channels * bits
    return (channels, sr, bits) if plain and channels and sr else None


def _samples(file: BinaryIO, size: int, channels: int, sr: int, bits: int):
    """The next `size` bytes of a file, as `read_pcm` returns them."""
    dtype, frame_bytes = np.dtype(_DTYPES[bits]), channels * bits // 8
    # A program that streams a WAV leaves 0 or the largest size in its header.
    left = os.fstat(file.fileno()).st_size - file.tell()
    if size == 0 or size > left or size % frame_bytes:
        return None
    samples = np.fromfile(file, dtype, size // dtype.itemsize)
    return samples.reshape(-1, channels, *([3] if bits == 24 else [])), sr
