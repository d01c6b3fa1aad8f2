"""A recording of any length, rate and number of channels as windows of one length and rate."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from asc_jax.data.audio import LENGTH_TOLERANCE_S, SILENCE, mono
from asc_jax.runtime.errors import InputError

_BLOCK_S = 10  # of a waveform in memory
SILENT = "silence"  # the note of a window
_FILLED = 0.1  # share of a window that is no sound


@dataclasses.dataclass(frozen=True)
class Window:
    """A part of a recording.

    Attributes:
      waveform: (T,) float32, with zeros behind the end of a shorter recording.
      start: first sample of the recording that is in it.
      end: first that is not; `end - start` is below T in a shorter recording alone.
    """

    waveform: np.ndarray
    start: int
    end: int

    @property
    def note(self) -> str:
        """What makes an answer worth less; see `Prediction.notes`."""
        filled = 1 - (self.end - self.start) / len(self.waveform)
        if np.abs(self.waveform).max() < SILENCE:
            return SILENT
        return f"{filled:.0%} filled with zeros" if filled > _FILLED else ""


def of_waveform(waveform: np.ndarray, sr: int) -> Iterator[tuple[np.ndarray, int]]:
    """A waveform in memory, (T,) or (T, channels), as blocks ((t, channels) float32, its rate, Hz).

    Raises:
      InputError: it is empty, not finite, of integers or of more axes, or the rate is none.
    """
    if waveform.ndim not in (1, 2) or not waveform.size:
        raise InputError(
            f"has the shape {waveform.shape}; give (samples,) or (samples, channels)",
            field="waveform",
        )
    if waveform.ndim == 2 and waveform.shape[1] > waveform.shape[0]:
        raise InputError(
            f"has the shape {waveform.shape}, with fewer samples than channels; transpose it",
            field="waveform",
        )
    if not np.issubdtype(waveform.dtype, np.floating):
        raise InputError(
            f"is of {waveform.dtype}; divide it by its full scale, so that samples are "
            "floats from -1 to 1",
            field="waveform",
        )
    if not np.isfinite(waveform).all():
        raise InputError("has NaN or infinite samples; leave them out", field="waveform")
    if sr < 1:
        raise InputError("must be a sampling rate in Hz", field="sr", value=sr)
    waveform = waveform.astype(np.float32).reshape(len(waveform), -1)
    for first in range(0, len(waveform), round(_BLOCK_S * sr)):
        yield waveform[first : first + round(_BLOCK_S * sr)], sr


def in_windows(
    blocks: Iterable[tuple[np.ndarray, int]], sr: int, n_samples: int, hop: int
) -> Iterator[Window]:
    """Cuts a recording into windows; no more of it than a window and a block is in memory.

    The last window ends with the recording, and so overlaps the one before where the length is
    no multiple (by more than a codec's padding); a recording that is shorter than a window has
    zeros behind it.

    Args:
      blocks: ((t, channels) float32, its rate, Hz), one after the other.
      sr: of the windows, Hz; resampled with soxr (HQ).
      n_samples: of a window.
      hop: samples from the beginning of a window to that of the next.

    Raises:
      InputError: there are no samples.
    """
    held = np.zeros(0, np.float32)  # the last samples, from sample `first` of the recording on
    first, start, total = 0, 0, 0
    for samples in _resampled(blocks, sr):
        held = np.concatenate([held, samples])
        total += len(samples)
        while start + n_samples <= total:
            yield Window(held[start - first : start - first + n_samples], start, start + n_samples)
            start += hop
        # A last window may yet reach back from the end by its whole length.
        gone = max(0, min(start, total - n_samples) - first)
        held, first = held[gone:], first + gone
    if not total:
        raise InputError("holds no samples; replace it")
    if total < n_samples:
        yield Window(np.pad(held, (0, n_samples - total)), 0, total)
    elif total - (start - hop + n_samples) > LENGTH_TOLERANCE_S * sr:
        yield Window(held[-n_samples:], total - n_samples, total)


def _resampled(blocks: Iterable[tuple[np.ndarray, int]], sr: int) -> Iterator[np.ndarray]:
    """Mono blocks at one rate."""
    resampler = None
    for block, block_sr in blocks:
        samples = mono(block)
        if block_sr == sr:
            yield samples
            continue
        if resampler is None:
            import soxr

            resampler = soxr.ResampleStream(block_sr, sr, 1, dtype="float32", quality="HQ")
        yield resampler.resample_chunk(samples)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
