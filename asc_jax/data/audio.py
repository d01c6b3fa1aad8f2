"""Audio files to float32 mono waveforms, many at a time, with every bad file named."""

import collections
import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from asc_jax.errors import InputError

# Lossy codecs pad a clip's end by up to a few frames; more than this is another clip.
LENGTH_TOLERANCE_S = 0.05


def read_waveform(path: str | pathlib.Path, *, sr: int, channels: int = 0) -> np.ndarray:
    """Decodes an audio file to mono at the wanted rate.

    Args:
      path: any format that libsndfile reads; 24-bit and float files keep their resolution.
      sr: the wanted rate, Hz; a file of another rate is resampled with soxr (HQ).
      channels: how many channels the file must have; 0 for any.

    Returns:
      (T,) float32: the mean of the channels.

    Raises:
      InputError: the file is missing, empty, truncated, no audio, holds NaN, or has
        another number of channels.

    Source: report §2.1 (mono as the average of the channels).
    """
    import soundfile

    path = pathlib.Path(path)
    _refuse_broken(path)
    try:
        samples, file_sr = soundfile.read(path, dtype="float32", always_2d=True)  # (T, channels)
    except (soundfile.LibsndfileError, OSError) as error:
        reason = str(getattr(error, "error_string", None) or error).strip().rstrip(".")
        raise InputError(f"{path}: not readable as audio ({reason}); replace the file") from None
    if len(samples) == 0:
        raise InputError(f"{path}: holds no samples; replace the file")
    if channels and samples.shape[1] != channels:
        raise InputError(
            f"{path}: has {samples.shape[1]} channels, not {channels}; replace the file, "
            f"or set data.channels={samples.shape[1]} (0 takes any)"
        )
    waveform = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(waveform).all():
        raise InputError(f"{path}: holds NaN or infinite samples; replace the file")
    if file_sr != sr:
        import soxr

        waveform = soxr.resample(waveform, file_sr, sr, quality="HQ")
    return waveform


def _refuse_broken(path: pathlib.Path) -> None:
    """What libsndfile reports badly or not at all."""
    if not path.is_file():
        state = "is a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {state}; restore it, or delete its row from the table")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path}: the file is empty; replace it")
    # libsndfile reads a WAV that was cut off as a shorter one, without a word.
    with path.open("rb") as file:
        header = file.read(8)
    declared = int.from_bytes(header[4:8], "little") + 8
    # Programs that stream a WAV leave 0 or the largest size in its header.
    if header[:4] == b"RIFF" and size < declared < 0xFFFFFFFF:
        raise InputError(
            f"{path}: truncated: its header declares {declared} bytes, the file has {size}; "
            "replace the file"
        )


def read_clip(
    path: pathlib.Path, *, sr: int, channels: int, n_samples: int, fit_length: bool = False
) -> np.ndarray:
    """`read_waveform`, held to a clip's length.

    Args:
      path: as for `read_waveform`.
      sr: the wanted rate, Hz.
      channels: how many channels the file must have; 0 for any.
      n_samples: length of a clip at `sr`.
      fit_length: take clips of any length: the end is cut, or filled with zeros.

    Returns:
      (n_samples,) float32.

    Raises:
      InputError: as `read_waveform`, or the length is wrong by more than a codec's padding.
    """
    waveform = read_waveform(path, sr=sr, channels=channels)
    if not fit_length and abs(len(waveform) - n_samples) > LENGTH_TOLERANCE_S * sr:
        raise InputError(
            f"{path}: lasts {len(waveform) / sr:.2f} s, not data.clip_seconds="
            f"{n_samples / sr:g}; replace the file, or set data.fit_length=True to cut or "
            "zero-fill every clip"
        )
    return np.pad(waveform[:n_samples], (0, max(0, n_samples - len(waveform))))


def read_clips(
    paths: Sequence[pathlib.Path],
    *,
    sr: int,
    channels: int,
    n_samples: int,
    fit_length: bool = False,
    workers: int = 0,
    title: str = "decoding",
) -> Iterator[np.ndarray]:
    """Decodes many clips in parallel, in order, with a progress bar.

    Threads suffice: libsndfile and soxr release the interpreter's lock. Only a few clips
    per worker are ever in memory.

    Args:
      paths: the files.
      sr: the wanted rate, Hz.
      channels: how many channels every file must have; 0 for any.
      n_samples: length of a clip at `sr`.
      fit_length: cut or zero-fill clips of another length instead of refusing them.
      workers: number of threads; 0 for one per core.
      title: the progress bar's.

    Yields:
      (n_samples,) float32 per path, in their order.

    Raises:
      InputError: after the last file, with a line for every bad one.
    """
    import tqdm

    workers = workers or os.cpu_count() or 1
    pending: collections.deque[concurrent.futures.Future] = collections.deque()
    bad: list[str] = []
    todo = iter(paths)
    decode = functools.partial(
        read_clip, sr=sr, channels=channels, n_samples=n_samples, fit_length=fit_length
    )
    with (
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
        tqdm.tqdm(total=len(paths), desc=title, unit="clip", leave=False) as bar,
    ):
        while True:
            while len(pending) < 4 * workers and (path := next(todo, None)) is not None:
                pending.append(pool.submit(decode, path))
            if not pending:
                break
            try:
                waveform = pending.popleft().result()
            except InputError as error:
                bad.append(str(error))
            else:
                if not bad:  # the caller's work is lost anyway once a file is bad
                    yield waveform
            bar.update()
    if bad:
        raise InputError("\n".join(bad))
