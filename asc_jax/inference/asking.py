"""Asking a model for recordings: whatever it is, it takes waveforms of one rate."""

import abc
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np

from asc_jax.data.audio import stream
from asc_jax.inference.windows import SILENT, Window, in_windows, of_waveform
from asc_jax.runtime.errors import InputError

WINDOWS_PER_CALL = 16
_CALL_S = 480  # of windows in a call, at most; of longer ones there are fewer
_LONGEST_S = 600  # a window, or a hop

Blocks = Iterable[tuple[np.ndarray, int]]  # ((t, channels) float32, its rate, Hz)
Part = Window | InputError | None  # of a recording: a window, or its end


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Holds the probabilities of a recording, window by window.

    Attributes:
      labels: the classes, in the order of the probabilities.
      times: (n, 2) float64, start and end of each window in seconds.
      probabilities: (n, K) float32, each row with a sum of 1.
      notes: (n) what makes a window unreliable: "silence", or how much of it is filled with
        zeros; else "".
    """

    labels: tuple[str, ...]
    times: np.ndarray
    probabilities: np.ndarray
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        best = ", ".join(f"{label} {share:.1%}" for label, share in self.top(3)) or SILENT
        return f"<Prediction: {best}; windows: {len(self.times)}>"

    @property
    def mean(self) -> np.ndarray:
        """(K,) probabilities for the whole recording, see `over_windows`."""
        return over_windows(self.probabilities, self.notes)

    @property
    def note(self) -> str:
        """What makes the result for the whole recording unreliable; see `notes`."""
        noted = [note for note in self.notes if note]
        alike = len(noted) == len(self.notes) and len(set(noted)) == 1
        if alike or not noted:
            return noted[0] if alike else ""
        return f"{len(noted)} of {len(self.notes)} windows are silent and left out"

    @property
    def label(self) -> str | None:
        """The most probable class of the whole recording; None of silence."""
        return label_of(self.labels, self.mean, self.note)

    def top(self, k: int) -> list[tuple[str, float]]:
        """Returns the k most probable classes of the whole recording, with their probabilities.

        Of silence there are none.
        """
        if self.note == SILENT:
            return []
        best = np.argsort(-self.mean, kind="stable")[:k]
        return [(self.labels[i], float(self.mean[i])) for i in best]


def label_of(labels: Sequence[str], probabilities: np.ndarray, note: str) -> str | None:
    """Returns the most probable class of (K,) probabilities; None if the note is silence."""
    return None if note == SILENT else labels[int(probabilities.argmax())]


def over_windows(probabilities: np.ndarray, notes: Sequence[str]) -> np.ndarray:
    """Averages the probabilities of a recording's windows.

    Args:
      probabilities: (n, K).
      notes: of the windows, see `Prediction`; silence counts only where all is silent.

    Returns:
      (K,).
    """
    sounding = [note != SILENT for note in notes]
    return probabilities[sounding if any(sounding) else slice(None)].mean(axis=0)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Recogniser(abc.ABC):
    """Classifies recordings with a trained model.

    Attributes:
      labels: the classes, sorted.
      sr: sampling rate of the waveforms that it takes, Hz.
      n_samples: length of a window at that rate, as in training.
      hop_samples: samples from the start of a window to that of the next.
      card: the description in an exported file, see `export.describe`; empty for a run folder.
    """

    labels: tuple[str, ...]
    sr: int
    n_samples: int
    hop_samples: int
    card: dict = dataclasses.field(default_factory=dict, kw_only=True)

    def __repr__(self) -> str:
        kind, seconds = type(self).__name__, self.n_samples / self.sr
        return f"{kind}({len(self.labels)} classes, windows of {seconds:g} s at {self.sr} Hz)"

    @abc.abstractmethod
    def answer(self, waveforms: np.ndarray) -> jax.Array | np.ndarray:
        """Computes the probabilities of the classes.

        Args:
          waveforms: (B, T) float32 at `sr`, full scale at 1; T of `n_samples`, or of another
            number that the network takes.

        Returns:
          (B, K) float32, in the order of `labels`.

        Raises:
          TypeError: the network does not take T samples.
        """

    def __call__(
        self, waveform: np.ndarray, sr: int, *, window: float = 0.0, hop: float = 0.0
    ) -> Prediction:
        """What it says of a waveform.

        Args:
          waveform: (T,) or (T, channels) float, full scale at 1; channels are averaged.
          sr: its rate, Hz; resampled to the model's.
          window: seconds; 0 for what the network heard at once in training.
          hop: seconds from a window's beginning to the next one's; 0 for the run's, or for the
            length of a window that is named.

        Raises:
          InputError: it is empty, not finite or of more axes, or the network takes no such window.
        """
        return self._one(of_waveform(np.asarray(waveform), sr), window, hop)

    def predict(
        self, path: str | os.PathLike, *, window: float = 0.0, hop: float = 0.0
    ) -> Prediction:
        """Classifies an audio file of any length, any rate and any format that libsndfile reads.

        The file is read in blocks, so that only the result grows with its length.

        Args:
          path: the file.
          window: see `__call__`, as the next.
          hop: in seconds.

        Raises:
          InputError: it is missing, empty, cut off or no audio; or see `__call__`.
        """
        return self._one(stream(pathlib.Path(path)), window, hop)

    def _one(self, blocks: Blocks, window: float, hop: float) -> Prediction:
        ((_, said),) = self.predict_all([("", blocks)], window=window, hop=hop)
        if isinstance(said, InputError):
            raise said
        return said

    def predict_all(
        self,
        recordings: Iterable[tuple[str, Blocks]],
        *,
        window: float = 0.0,
        hop: float = 0.0,
    ) -> Iterator[tuple[str, Prediction | InputError]]:
        """Classifies many recordings, with their windows in common batches.

        Args:
          recordings: the name of each, and its blocks: ((t, channels) float32, its rate, Hz).
          window: see `__call__`, as the next.
          hop: in seconds.

        Yields:
          The name of each recording, in their order, and its `Prediction`, or the error if it
          cannot be read.

        Raises:
          InputError: the window or the hop is not possible.
        """
        n_samples = round(window * self.sr) if window else self.n_samples
        usual = n_samples if window else self.hop_samples
        hop_samples = round(hop * self.sr) if hop else usual
        for field, value in (("window", n_samples), ("hop", hop_samples)):
            if not 1 <= value <= _LONGEST_S * self.sr:
                raise InputError(f"must be above 0 and at most {_LONGEST_S} seconds", field=field)
        parts = _parts(recordings, self.sr, n_samples, hop_samples)
        times, rows, notes = [], [], []  # of the recording that is under way
        for some, answers in self._asked(parts, n_samples, window):
            answers = iter(answers)
            for name, part in some:
                if isinstance(part, Window):
                    times.append((part.start / self.sr, part.end / self.sr))
                    rows.append(next(answers))
                    notes.append(part.note)
                    continue
                yield (
                    name,
                    part or Prediction(self.labels, np.array(times), np.stack(rows), tuple(notes)),
                )
                times, rows, notes = [], [], []

    def _asked(
        self, parts: Iterable[tuple[str, Part]], n_samples: int, window: float
    ) -> Iterator[tuple[list, np.ndarray]]:
        """The parts again, some at a time, and the answers to the windows among them.

        While the device answers, the next ones are read.
        """
        under_way = None
        per_call = max(1, min(WINDOWS_PER_CALL, _CALL_S * self.sr // n_samples))
        for some in _with_windows(parts, per_call):
            waveforms = [part.waveform for _, part in some if isinstance(part, Window)]
            answers = np.zeros((0, len(self.labels)), np.float32)
            if waveforms:
                # One or a whole call, so that two programs serve.
                n = 1 if len(waveforms) == 1 else per_call
                filled = waveforms + waveforms[:1] * (n - len(waveforms))
                try:
                    answers = self.answer(np.stack(filled))
                except TypeError as error:
                    if n_samples == self.n_samples:
                        raise
                    raise InputError(
                        f"the network cannot take a window of {window:g} s ({error}); leave it out",
                        field="window",
                    ) from error
            if under_way:
                yield under_way[0], np.asarray(under_way[1])
            under_way = some, answers
        if under_way:
            yield under_way[0], np.asarray(under_way[1])


class JaxRecogniser(Recogniser):
    """One that is a function for `jax.jit`, `jax.grad` and the like."""

    @abc.abstractmethod
    def apply(self, waveforms: jax.Array) -> jax.Array:
        """The probabilities, as `answer`."""

    @functools.cached_property
    def _compiled(self):
        return jax.jit(self.apply)

    def answer(self, waveforms: np.ndarray) -> jax.Array:
        """See `Recogniser.answer`."""
        return self._compiled(waveforms)


def _parts(
    recordings: Iterable[tuple[str, Blocks]], sr: int, n_samples: int, hop: int
) -> Iterator[tuple[str, Part]]:
    """The windows of each recording, and at its end None, or what is wrong with it."""
    for name, blocks in recordings:
        end = None
        try:
            for window in in_windows(blocks, sr, n_samples, hop):
                yield name, window
        except InputError as error:
            end = error
        yield name, end


def _with_windows(
    parts: Iterable[tuple[str, Part]], n_windows: int
) -> Iterator[list[tuple[str, Part]]]:
    """Neighbours among the parts, with at most so many windows at a time."""
    some, n = [], 0
    for part in parts:
        some.append(part)
        n += isinstance(part[1], Window)
        if n == n_windows:
            yield some
            some, n = [], 0
    yield some
