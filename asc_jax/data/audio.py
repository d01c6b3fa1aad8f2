"""Audio files to mono waveforms, and back."""

import contextlib
import hashlib
import math
import pathlib
import shlex
from collections.abc import Iterator

import numpy as np

from asc_jax.data import wav
from asc_jax.data.class_folders import UNREADABLE
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole

# Lossy codecs pad a clip's end by up to a few frames; more than this is another clip.
LENGTH_TOLERANCE_S = 0.05

# Largest sample of what is called silence, of full scale: -80 dB.
SILENCE = 1e-4

# The largest float sample: what 32-bit integers become if nobody divides them by full scale. Of
# samples up to it no log-mel overflows; beyond it lies no recording, but a damaged file.
_LARGEST_SAMPLE = 2.0**31

# Rates that a recording can have, Hz: below the one and above the other the header is damaged.
_RATES = (100, 10_000_000)

# Samples of the slower of two rates that the resampler's filter can see beyond a clip's end.
_FILTER_REACH = 1000

# Values that libsndfile decodes at a time. The header's number of frames reserves nothing.
_BLOCK = 1 << 22
# Seconds that `stream` yields at most: of a very low rate a block would be hours.
_PIECE_S = 10

_UNKNOWN_FRAMES = (1 << 63) - 1  # what it says of a FLAC file of undeclared length

# The largest page of an Ogg file, bytes, and the mark in the header of its last one.
_OGG_PAGE, _OGG_LAST = 65_307, 4


def decode(path: str | pathlib.Path) -> tuple[np.ndarray, int]:
    """Decodes an audio file of any format that libsndfile reads, at full resolution.

    Args:
      path: the file.

    Returns:
      The samples as `mono` takes them, (T, channels) float32 or, from an integer WAV, as they are
      stored (`wav.read_pcm`); and the sampling rate, Hz.

    Raises:
      InputError: the file is missing, empty, truncated or no audio, or has NaN, samples beyond the
        range of 32 bits or a rate such as 1 Hz.
    """
    path = pathlib.Path(path)
    with _decoding(path):
        _refuse_broken(path)
        samples, sr = wav.read_pcm(path) or _read_blocks(path)
    _refuse_no_recording(samples, sr, path)
    return samples, sr


def stream(path: pathlib.Path, name: str = "") -> Iterator[tuple[np.ndarray, int]]:
    """`decode`, a block after the other: memory does not grow with the file.

    Args:
      path: the file.
      name: what its user calls it, if not that.

    Yields:
      (t, channels) float32, and the sampling rate, Hz.

    Raises:
      InputError: as `decode`, once the block is reached that it is about.
    """
    with _decoding(path, name):
        _refuse_broken(path)
        for block, sr in _blocks(path):
            _refuse_no_recording(block, sr, path)
            for first in range(0, len(block), _PIECE_S * sr):
                yield block[first : first + _PIECE_S * sr], sr


@contextlib.contextmanager
def _decoding(path: pathlib.Path, name: str = "") -> Iterator[None]:
    """Turns what goes wrong within into an `InputError`, with the file's name for its user."""
    try:
        yield
    except InputError as error:
        raise (error.at(path=name) if name else error) from None
    except ImportError:
        raise
    except Exception as error:  # libsndfile and its wrapper raise what a header leads them to
        # soundfile's own errors have the path in their text, and this without it.
        reason = getattr(error, "error_string", None) or str(error) or type(error).__name__
        is_mp4, path = _is_mp4(path), pathlib.PurePath(name or path)
        if is_mp4 or path.suffix.lower().removeprefix(".") in UNREADABLE:
            new = path.with_suffix(".wav")
            new = path.with_stem(f"{path.stem}_converted") if new == path else new
            converted = shlex.join([str(path), str(new)])
            raise InputError(
                f"libsndfile cannot read this format; convert it: ffmpeg -i {converted}", path=path
            ) from None
        raise InputError(
            f"not readable as audio ({reason.strip().rstrip('.')}); replace the file", path=path
        ) from None


def _is_mp4(path: pathlib.Path) -> bool:
    """Whether a file is what telephones write, whatever its name."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(8)[4:] == b"ftyp"
    return False


def _refuse_no_recording(samples: np.ndarray, sr: int, path: pathlib.Path) -> None:
    """Refuses what no recording has."""
    if len(samples) == 0:
        raise InputError("has no samples, or its header says so; replace the file", path=path)
    if not _RATES[0] <= sr <= _RATES[1]:
        raise InputError(
            f"its header gives a sampling rate of {sr} Hz; replace the file", path=path
        )
    if samples.dtype == np.float32:
        if not np.isfinite(samples).all():
            raise InputError("has NaN or infinite samples; replace the file", path=path)
        peak = max(samples.max(), -samples.min())
        if peak > _LARGEST_SAMPLE:
            raise InputError(
                f"has a sample of {peak:.0e}, but full scale is 1; replace the file", path=path
            )


def _read_blocks(path: pathlib.Path) -> tuple[np.ndarray, int]:
    """What libsndfile decodes to the end of a file, (T, channels) float32, and its rate, Hz."""
    blocks, rates = zip(*_blocks(path), strict=True)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), rates[0]


def _blocks(path: pathlib.Path) -> Iterator[tuple[np.ndarray, int]]:
    """The same block after block, one at least."""
    import soundfile

    class Stream(soundfile.SoundFile):
        def seekable(self) -> bool:
            """Says no: soundfile seeks after each read, which fails at some FLAC files' ends."""
            return False

    n_read = 0
    with Stream(path) as file:
        if file.format == "RAW":  # libsndfile takes anything named .au, .vox or .gsm for sound
            raise ValueError("no header of a known format")
        n_frames = max(1, _BLOCK // file.channels)
        sr, declared = file.samplerate, file.frames
        while len(block := file.read(n_frames, dtype="float32", always_2d=True)) or not n_read:
            n_read += len(block)
            yield block, sr
            if not n_read:
                break
    if declared != _UNKNOWN_FRAMES and n_read < declared - LENGTH_TOLERANCE_S * sr:
        raise InputError(
            f"truncated: its header declares {declared} samples, it has {n_read}; replace the file",
            path=path,
        )


def digest(path: pathlib.Path) -> str:
    """16 hexadecimal digits that name a file's content.

    Raises:
      InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror}); make it readable", path=path
        ) from None


def to_float(samples: np.ndarray) -> np.ndarray:
    """What `decode` returns as (T, channels) float32, full scale at 1; see `mono`."""
    if samples.ndim == 3:  # the upper 24 bits of 32
        low, middle, high = (samples[..., i].astype(np.int32) for i in range(3))
        samples = low << 8 | middle << 16 | high << 24
    if samples.dtype != np.float32:
        full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
        samples = samples.astype(np.float32) * np.float32(1 / full_scale)
    return samples


def mono(samples: np.ndarray) -> np.ndarray:
    """Averages the channels of what `decode` returns, with full scale at 1.

    Uses only operators and methods that numpy and JAX arrays share, so that it runs on both
    and inside `jax.jit`.

    Args:
      samples: (T, channels) float32, int16 or int32, or (T, channels, 3) uint8.

    Returns:
      (T,) float32, equal to the mean of what libsndfile decodes.

    Source: paper §2.1 (mono as the average of the channels).
    """
    samples = to_float(samples)
    # Channel by channel: the mean over so short an axis takes ten times as long, in numpy and
    # in XLA.
    return sum(samples.T[1:], start=samples.T[0]) / np.float32(samples.shape[1])


def _refuse_broken(path: pathlib.Path) -> None:
    """What libsndfile reports badly or not at all."""
    if not path.is_file():
        state = "is a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(f"{state}; restore it, or remove it from the table", path=path)
    size = path.stat().st_size
    if size == 0:
        raise InputError("the file is empty; replace it", path=path)
    # libsndfile reads what was cut off as a shorter file, without a word.
    with path.open("rb") as file:
        header = file.read(24)
        file.seek(0)
        found = wav.find_samples(file)
        end_of_sound = wav.find_w64_end(file) if header[:4] == b"riff" else size
        file.seek(max(0, size - _OGG_PAGE))
        end = file.read()
    if found:
        declared, there = found.start + (found.declared or 0), size
    else:  # some programs leave out the byte that pads an odd size
        declared, there = _declared_size(header), size + 1
    if declared > there:
        raise InputError(
            f"truncated: its header declares {declared} bytes, the file has {size}; replace the "
            "file",
            path=path,
        )
    if end_of_sound < size:
        raise InputError(
            "Wave64 with data after the sound, which libsndfile would read as sound; "
            "convert the file to another format",
            path=path,
        )
    last_page = end.rfind(b"OggS")
    if header[:4] == b"OggS" and (last_page < 0 or not end[last_page + 5] & _OGG_LAST):
        raise InputError("truncated: its last Ogg page is missing; replace the file", path=path)


def _declared_size(header: bytes) -> int:
    """What a file's first 24 bytes say of its size; 0 where they say nothing.

    A program that streams its output leaves the largest number of 32 bits.
    """
    little = lambda part: int.from_bytes(header[part], "little")
    big = lambda part: int.from_bytes(header[part], "big")
    match header[:4]:
        case b"RIFF":
            start, size = 8, little(slice(4, 8))
        case b"FORM":  # AIFF
            start, size = 8, big(slice(4, 8))
        case b".snd":  # AU
            start, size = big(slice(4, 8)), big(slice(8, 12))
        case b"riff":  # Wave64
            start, size = 0, little(slice(16, 24))
        case _:
            return 0
    return 0 if size == 0xFFFFFFFF else start + size


def read_clip(
    path: pathlib.Path,
    *,
    sr: int,
    channels: int,
    n_samples: int,
    fit_length: bool = False,
    trim_silence: bool = False,
) -> tuple[np.ndarray, float]:
    """`decode`, held to a data set's form.

    Args:
      path: the file.
      sr: the wanted rate, Hz; a file of another rate is resampled with soxr (HQ).
      channels: how many channels the file must have; 0 for any.
      n_samples: length of a clip at `sr`.
      fit_length: take clips of any length: the end is cut, or filled with zeros.
      trim_silence: leave out what is below `SILENCE` at both ends, unless all of it is.

    Returns:
      What `mono` takes, of `n_samples` samples; and how long the file is, seconds, without what is
      left out.

    Raises:
      InputError: as `decode`, or the file has another number of channels, or the length is
        wrong by more than a codec's padding.
    """
    samples, file_sr = decode(path)
    if trim_silence:
        loud = np.flatnonzero(np.abs(to_float(samples)).max(axis=1) >= SILENCE)
        samples = samples[loud[0] : loud[-1] + 1] if loud.size else samples
    faults, mends = [], []
    if channels and samples.shape[1] != channels:
        faults.append(f"has {samples.shape[1]} channels, not data.channels={channels}")
        mends.append("data.channels=0 to take any number")
    # At the file's own rate: what a header says is not to decide how much work there is.
    seconds = len(samples) / file_sr
    if not fit_length and abs(seconds - n_samples / sr) > LENGTH_TOLERANCE_S:
        wanted = f"data.clip_seconds={n_samples / sr:g}"
        faults.append(f"lasts {seconds:.2f} s, not {wanted}")
        mends.append("data.fit_length=True to cut or zero-fill every clip")
    if faults:
        told, mend = " and ".join(faults), ", and ".join(mends)
        raise InputError(f"{told}; replace the file, or set {mend}", path=path)
    if file_sr != sr:
        import soxr

        needed_s = n_samples / sr + LENGTH_TOLERANCE_S + _FILTER_REACH / min(sr, file_sr)
        samples = mono(samples[: math.ceil(needed_s * file_sr)])
        samples = soxr.resample(samples, file_sr, sr, quality="HQ")[:, None]
    missing = max(0, n_samples - len(samples))
    if missing:
        samples = np.pad(samples, [(0, missing)] + [(0, 0)] * (samples.ndim - 1))
    return samples[:n_samples], seconds


def write_wav(path: pathlib.Path, waveform: np.ndarray, sr: int) -> None:
    """Writes a mono WAV of 24 bits beside its place and renames it into it, folder included.

    Args:
      path: the file.
      waveform: (T,) float in [-1, 1].
      sr: Hz.

    Raises:
      InputError: it cannot be written; what stood there is untouched.
    """
    import io

    import soundfile

    content = io.BytesIO()
    soundfile.write(content, waveform, sr, subtype="PCM_24", format="WAV")
    write_whole(path, content.getvalue())
