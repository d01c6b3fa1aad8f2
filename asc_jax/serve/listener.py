"""What the page shows of a recording: answers by window and fold, and a picture."""

import base64
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from asc_jax.data.audio import stream
from asc_jax.frontend import FrontendConfig, frontend_function
from asc_jax.inference.asking import Prediction, Recogniser, over_windows
from asc_jax.inference.model import TrainedModel
from asc_jax.inference.windows import in_windows
from asc_jax.serve.picture import draw


class Listener:
    """A model that is asked one window at a time, for its folds and its features as well.

    Attributes:
      model: that is asked.
      systems: the ensemble's name, and the folds' where there are several.
      frontend: of the picture: the run's; the default one for an exported file, whose own is within
        its program.
    """

    def __init__(self, model: Recogniser):
        trained = isinstance(model, TrainedModel)
        folds = model.folds if trained and len(model.folds) > 1 else ()
        self.model = model
        self.systems = ("Ensemble", *(f"Fold {number}" for number in folds))
        self.frontend = model.frontend if trained else FrontendConfig(sr=model.sr)
        # (1, T) -> (1 + F, 1, K), (1, N, M)
        probabilities = jax.jit(model.by_fold) if trained else lambda one: model.answer(one)[None]
        features = jax.jit(frontend_function(self.frontend))
        self._ask = lambda waveform: (probabilities(waveform), features(waveform))

    def warm_up(self) -> None:
        """Compiles, so that the first recording waits for nothing."""
        jax.block_until_ready(self._ask(np.zeros((1, self.model.n_samples), np.float32)))

    def answer(
        self, path: pathlib.Path, name: str, *, n_windows: int, go_on: Callable[[], None]
    ) -> dict:
        """What the page shows of a recording, as JSON has it.

        Args:
          path: its file.
          name: what its user calls it.
          n_windows: the most that are asked for; what follows is left out.
          go_on: called from time to time; what it raises ends the work.

        Returns:
          `name`, `label`, the ensemble's for the whole recording (null of silence), `labels`,
          `seconds` that are answered, `whole` (whether these are all), `times`
          and `notes` of windows as in `Prediction`, `systems` with the name of each, its
          `probabilities` (n, K) and their `mean`, and `picture`, a PNG as a data URL.

        Raises:
          InputError: it is cut off or no audio.
        """
        model = self.model
        blocks = _as_long_as(go_on, stream(path, name))
        windows = in_windows(blocks, model.sr, model.n_samples, model.hop_samples)
        heard, probabilities, features = [], [], []
        for window in itertools.islice(windows, n_windows):
            go_on()
            of_systems, picture = self._ask(window.waveform[None])
            probabilities.append(np.asarray(of_systems)[: len(self.systems), 0])
            features.append(np.asarray(picture)[0])
            heard.append(window)
        by_system = np.stack(probabilities, axis=1)
        notes = [window.note for window in heard]
        times = np.array([(window.start, window.end) for window in heard]) / model.sr
        drawn = draw(features, times[:, 0], model.n_samples / model.sr, times[-1, 1])
        told = Prediction(model.labels, times, by_system[0], tuple(notes))
        return {
            "name": name,
            "label": told.label,
            "labels": list(model.labels),
            "seconds": times[-1, 1],
            "whole": next(windows, None) is None,
            "times": times.round(3).tolist(),
            "notes": notes,
            "systems": [
                {
                    "name": system,
                    "probabilities": _rounded(rows),
                    "mean": _rounded(over_windows(rows, notes)),
                }
                for system, rows in zip(self.systems, by_system, strict=True)
            ],
            "picture": f"data:image/png;base64,{base64.b64encode(drawn).decode()}",
        }


def _as_long_as(
    go_on: Callable[[], None], blocks: Iterable[tuple[np.ndarray, int]]
) -> Iterator[tuple[np.ndarray, int]]:
    for block in blocks:
        go_on()
        yield block


def _rounded(probabilities: np.ndarray) -> list:
    return probabilities.astype(float).round(4).tolist()
