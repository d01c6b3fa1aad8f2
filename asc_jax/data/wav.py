"""Integer samples of WAV files, as the files store them.

Reading them is a copy; libsndfile takes twenty times as long to turn them into floats. That
arithmetic is `asc_jax.data.audio.mono`, which XLA compiles.
"""

import os
import pathlib
import struct
from typing import BinaryIO, NamedTuple

import numpy as np

_PCM, _EXTENSIBLE = 1, 0xFFFE
_PCM_SUBFORMAT = bytes.fromhex("0100000000001000800000aa00389b71")
_DTYPES = {16: "<i2", 24: "u1", 32: "<i4"}  # by bits per sample; numpy has none of 24
_MOST_CHANNELS = 1024  # libsndfile's own limit

# Byte order by the first four bytes. The last two have sizes of 64 bits, in a chunk "ds64".
_ORDERS = {b"RIFF": "<", b"RIFX": ">", b"RF64": "<", b"BW64": "<"}

# What programs write as the size of the samples before they know it, and leave there where they
# cannot go back in their output, such as a pipe: sox; arecord, two versions; lame; ffmpeg. Others,
# and a recorder that has died, leave 0.
_UNKNOWN = (0x7FFFF000, 0x7FFFFF00, 0x80000000, 0x7FFFFFFF, 0xFFFFFFFF)


class Samples(NamedTuple):
    """Where the samples of a WAV file are.

    Attributes:
      form: the beginning of its "fmt " chunk, which says how they are stored; b"" without one.
      start: of the samples, bytes from the file's beginning.
      there: bytes from there to the file's end.
      declared: bytes that the header says; None where it says that it does not know.
    """

    form: bytes
    start: int
    there: int
    declared: int | None


def find_samples(file: BinaryIO) -> Samples | None:
    """Finds the samples of a WAV file by its chunks.

    No size that the header says is read or reserved: only seeked over.

    Args:
      file: at its beginning.

    Returns:
      Where they are, or None if it is no WAV file or has no "data" chunk.

    Raises:
      OSError: the file cannot be read.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    header = file.read(12)
    order = _ORDERS.get(header[:4])
    if order is None or header[8:] != b"WAVE":
        return None
    form, long_size = b"", None
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", head)
        if not all(32 <= letter < 127 for letter in name):  # no chunk: nothing leads on from here
            return None
        start = file.tell()
        if name == b"data":
            there = n_bytes - start
            if header[:4] in (b"RF64", b"BW64") and size == 0xFFFFFFFF:
                size = long_size
            elif size > there:
                size = None if size in _UNKNOWN else size
            elif size == 0 and not _is_chunk(file.read(8), there, order):
                size = None
            return Samples(form, start, there, size)
        if name == b"fmt ":
            form = file.read(min(size, 40))
        elif name == b"ds64" and len(sizes := file.read(min(size, 16))) == 16:
            (long_size,) = struct.unpack(f"{order}8xQ", sizes)
        file.seek(start + size + size % 2)
    return None


def _is_chunk(head: bytes, there: int, order: str) -> bool:
    """Whether a file's last `there` bytes are none, or begin with a chunk and not with samples."""
    if len(head) < 8:
        return there == 0
    name, size = struct.unpack(f"{order}4sI", head)
    return 8 + size <= there and all(32 <= letter < 127 for letter in name)


def find_w64_end(file: BinaryIO) -> int:
    """Where the samples of a Wave64 file end, bytes from its beginning; its size without any.

    Raises:
      OSError: the file cannot be read.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    start = 40  # of the first chunk
    while start < n_bytes:
        file.seek(start)
        head = file.read(24)  # name and size, which includes these; the next is at a multiple of 8
        if len(head) < 24:
            break
        name, size = struct.unpack("<4s12xQ", head)
        start += max(24, -(-size // 8) * 8)
        if name == b"data":
            return min(start, n_bytes)
    return n_bytes


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
        found = find_samples(file) if file.read(4) == b"RIFF" and not file.seek(0) else None
        form = _form(found.form) if found else None
        if form is None:
            return None
        channels, sr, bits = form
        frame_bytes = channels * bits // 8
        n_bytes = found.declared
        if n_bytes is None:  # up to the end, where a frame may be torn
            n_bytes = found.there - found.there % frame_bytes
        if n_bytes == 0 or n_bytes > found.there or n_bytes % frame_bytes:
            return None
        file.seek(found.start)
        dtype = np.dtype(_DTYPES[bits])
        samples = np.fromfile(file, dtype, n_bytes // dtype.itemsize)
    return samples.reshape(-1, channels, *([3] if bits == 24 else [])), sr


def _form(chunk: bytes) -> tuple[int, int, int] | None:
    """Channels, rate (Hz) and bits per sample from a "fmt " chunk; None unless plain PCM."""
    if len(chunk) < 16:
        return None
    tag, channels, sr, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and chunk[24:40] == _PCM_SUBFORMAT:
        (bits_used,) = struct.unpack_from("<H", chunk, 18)
        tag = _PCM if bits_used == bits else tag
    plain = tag == _PCM and bits in _DTYPES and 8 * frame_bytes == channels * bits
    return (channels, sr, bits) if plain and 0 < channels <= _MOST_CHANNELS and sr else None
