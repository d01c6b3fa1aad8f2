"""The clips that one GAN generates, batch by batch, at its classifier's rate.

Batch `b` of a GAN is a function of the run's seed, its fold, the scene and `b` alone.
"""

import dataclasses
import functools

import jax
import numpy as np

from asc_jax.data.decoding import Decoding, clip_reader
from asc_jax.gan.embedder import Classifier
from asc_jax.gan.setup import GanSetup
from asc_jax.gan.source import SYNTHESIS
from asc_jax.gan.steps import BestGenerator
from asc_jax.ops.resample import resample
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD
from asc_jax.runs.checkpoint import digest_arrays
from asc_jax.runs.inputs import decoding_of

BATCH = 16  # clips per call and GAN: part of what a file's batch and row mean


class Generated:
    """What one GAN generates, batch by batch.

    Attributes:
      setup: of one GAN at a time.
      corpus: of the GAN.
      seed: of the run.
      maker: what every clip of the GAN has in common, for the manifest: digests of the
        generator's parameters and of the screening classifier's, rate (Hz), length (samples).
      most_tries: clips per clip wanted.
    """

    def __init__(
        self, setup: GanSetup, screener: Classifier, best: BestGenerator, gan: int, config
    ):
        """Takes one GAN's best generator."""
        self.setup, self.corpus = setup, setup.corpora[gan]
        self.seed, self.most_tries = config.seed, config.synthesis.most_tries
        self._sr, self._high_band = config.gan.sr, config.synthesis.high_band
        one = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf)[gan : gan + 1], tree)
        params = one(best.params)
        self.maker = {
            "checkpoint": digest_arrays(params),
            "classifier": digest_arrays(screener.params(self.corpus.fold)),
            "sr": setup.clip_sr,
            "n_samples": waveforms_of(setup).n_samples,
        }
        place = functools.partial(put, mesh=setup.mesh, spec=PER_FOLD)
        self._params, self._source = place(params), place(one(setup.source))

    def batch(self, label: str, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The clips of a batch, (BATCH, T) at the classifier's rate, and their logits."""
        k = self.setup.dataset.scene_labels.index(label)
        key = jax.random.key(self.seed)
        for value in (SYNTHESIS, self.corpus.fold, k, number):
            key = jax.random.fold_in(key, value)
        labels = np.full((1, BATCH), k, np.int32)
        key_data = np.asarray(jax.random.key_data(key))[None]
        given = put((key_data, labels), self.setup.mesh, PER_FOLD)
        clips = self.setup.steps.generate(self._params, self._source, *given)[0]
        clips = np.asarray(resample(clips, self._sr, self.setup.clip_sr))
        if self._high_band == "splice":
            clips = clips + self._high_bands(label, number)
        clips = np.clip(clips, -1, 1)
        logits, _ = self.setup.recognise([self.corpus.fold], clips[None])
        return clips, logits[0]

    def _high_bands(self, label: str, number: int) -> np.ndarray:
        """What real training clips of the scene hold above the GAN's band, (BATCH, T)."""
        dataset, clip_sr = self.setup.dataset, self.setup.clip_sr
        own = [i for i in self.corpus.train if dataset.clips[i].scene_label == label]
        k = dataset.scene_labels.index(label)
        rng = np.random.default_rng([self.seed, self.corpus.fold, k, number])
        chosen = rng.choice(own, BATCH)
        read = clip_reader(waveforms_of(self.setup))
        real = np.stack([read(dataset.audio_path(dataset.clips[i]))[0] for i in chosen])
        low = resample(resample(real, clip_sr, self._sr), self._sr, clip_sr)
        return real - np.asarray(low)[:, : real.shape[1]]


def waveforms_of(setup: GanSetup) -> Decoding:
    """Of the classifier's clips, to waveforms at its rate."""
    return dataclasses.replace(decoding_of(setup.classifier.config), kind="waveform")
