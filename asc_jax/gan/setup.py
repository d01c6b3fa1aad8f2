"""What a GAN run consists of on its devices, for training it and for synthesis alike."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np

from asc_jax.data.clips import Dataset
from asc_jax.data.decoding import Decoding
from asc_jax.data.pool import Pool, load_pool, take
from asc_jax.frontend import FrontendConfig
from asc_jax.gan.corpora import Corpus, make_corpora
from asc_jax.gan.embedder import Classifier, make_recogniser, open_classifier
from asc_jax.gan.losses import LOSSES
from asc_jax.gan.source import Source, make_sources
from asc_jax.gan.steps import (
    GanSteps,
    Networks,
    WaveGanState,
    compile_steps,
    init_state,
    state_shapes,
)
from asc_jax.models.wavegan import Discriminator, Generator
from asc_jax.parallel.agreement import connect
from asc_jax.parallel.arrays import put, shapes_per_fold
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import DATA, make_mesh, refuse_idle_processes
from asc_jax.runs.inputs import decoding_of
from asc_jax.runtime import precision
from asc_jax.runtime.errors import InputError


@dataclasses.dataclass(frozen=True)
class GanSetup:
    """Everything that follows from a GAN config, its classifier and their data.

    Attributes:
      dataset: the classifier's development set.
      decoding: of its clips, to waveforms at the GAN's rate.
      corpora: one per GAN, in the order of the state's leading axis.
      mesh: of the devices.
      pool: waveforms at the GAN's rate, on the devices.
      source: of all GANs, on the devices.
      networks: that the GANs have in common.
      steps: of all GANs.
      like: shapes and places of the state.
      init: () -> the state before the first step, on the devices. A resumed run needs none.
      recognise: (fold of each GAN, waveforms (G, n, T) at the GAN's rate) -> logits (G, n, K)
        and embeddings (G, n, D) of the classifier of these folds, as host arrays.
      classifier: that the clips are for.
    """

    dataset: Dataset
    decoding: Decoding
    corpora: tuple[Corpus, ...]
    mesh: jax.sharding.Mesh
    pool: Pool
    source: Source
    networks: Networks
    steps: GanSteps
    like: WaveGanState
    init: Callable[[], WaveGanState]
    recognise: Callable
    classifier: Classifier

    @property
    def sr(self) -> int:
        """The GAN's sampling rate, Hz."""
        return self.decoding.frontend.sr

    @property
    def clip_sr(self) -> int:
        """The classifier's sampling rate, Hz."""
        return self.classifier.config.frontend.sr

    @property
    def folds(self) -> list[int]:
        """The fold that each GAN serves."""
        return [corpus.fold for corpus in self.corpora]


def set_up_gan(
    config, mesh_shape: tuple[int, ...] = (), *, other_functions: bool = False
) -> GanSetup:
    """Opens the classifier, decodes its data at the GAN's rate; places no state yet.

    Args:
      config: of a GAN; checked, frozen.
      mesh_shape: see `mesh.make_mesh`; training names the config's `train.mesh`.
      other_functions: see `open_classifier`.

    Raises:
      InputError: no classifier, or one that does not fit, or no such mesh; see
        `make_corpora` too.
    """
    classifier = open_classifier(
        config.gan.classifier, config.data, other_functions=other_functions
    )
    corpora = make_corpora(
        classifier.dataset,
        classifier.splits,
        fold=config.gan.fold,
        scenes=config.gan.scenes,
        conditional=config.gan.conditional,
        unseen_fraction=config.gan.unseen_fraction,
        batch_size=config.train.batch_size,
        seed=config.seed,
    )
    mesh = make_mesh(len(corpora), config.train.batch_size, shape=mesh_shape)
    refuse_idle_processes(mesh, named=bool(mesh_shape))
    decoding = dataclasses.replace(
        decoding_of(classifier.config), kind="waveform", frontend=FrontendConfig(sr=config.gan.sr)
    )
    if decoding.n_samples < config.gan.n_samples:
        raise InputError(
            f"longer than the clips, which have {decoding.n_samples} samples at "
            f"gan.sr={config.gan.sr}; use a smaller one",
            field="gan.n_samples",
            value=config.gan.n_samples,
        )
    loaded = load_pool(
        classifier.dataset,
        classifier.dataset.scene_labels,
        decoding,
        cache_dir=config.data.cache_dir,
        workers=config.data.workers,
    )
    connect(mesh)
    networks = make_networks(config, n_classes=len(classifier.dataset.scene_labels))
    source = make_sources(corpora, loaded.pool)

    return GanSetup(
        dataset=classifier.dataset,
        decoding=decoding,
        corpora=corpora,
        mesh=mesh,
        pool=put(loaded.pool, mesh, SHARED),
        source=put(source, mesh, PER_FOLD),
        networks=networks,
        steps=compile_steps(
            mesh, networks, n_samples=decoding.n_samples, how=config.synthesis.merge
        ),
        like=shapes_per_fold(state_shapes(networks), len(corpora), mesh),
        init=functools.partial(init_state, networks, len(corpora), mesh, seed=config.seed),
        recognise=make_recogniser(classifier, mesh, sr=config.gan.sr),
        classifier=classifier,
    )


def open_screener(setup: GanSetup, config, *, other_functions: bool = False) -> Classifier:
    """The classifier that decides which clips are kept: `synthesis.classifier`, if there is one.

    Args:
      setup: of the run.
      config: the run's.
      other_functions: see `open_classifier`.

    Raises:
      InputError: it is of other folds: what it has learnt of the clips that a fold holds out
        would pass to that fold. Or it takes clips of another length.
    """
    own, name = setup.classifier, config.synthesis.classifier
    if not name:
        return own
    screener = open_classifier(
        name, config.data, field="synthesis.classifier", other_functions=other_functions
    )
    if _folds_of(screener) != _folds_of(own):
        raise InputError(
            f"its folds are not those of {own.workdir}, for which the clips are generated; "
            "train it with the same data.root and folds.*",
            field="synthesis.classifier",
            value=name,
        )
    seconds = [one.config.data.clip_seconds for one in (screener, own)]
    if seconds[0] != seconds[1]:
        raise InputError(
            f"takes clips of {seconds[0]:g} s, but these have {seconds[1]:g} s; train it "
            f"with --config.data.clip_seconds={seconds[1]:g}",
            field="synthesis.classifier",
            value=name,
        )
    return screener


def _folds_of(classifier: Classifier) -> tuple:
    """Its classes, and what each of its folds has learnt from."""
    clips, splits = classifier.dataset.clips, classifier.splits
    trained = [(split.fold, [clips[i].path for i in split.train]) for split in splits]
    return classifier.dataset.scene_labels, trained


def one_by_one(setup: GanSetup, config, screener: Classifier) -> GanSetup:
    """The same run with functions of one GAN at a time, and the screener's of whole clips.

    Screening takes many tries for one scene and few for another: in one program all would
    take as many as the hardest.

    Args:
      setup: of the run.
      config: the run's.
      screener: whose answers `recognise` then gives, for clips at `clip_sr`.
    """
    mesh = make_mesh(1, 1)
    return dataclasses.replace(
        setup,
        mesh=mesh,
        steps=compile_steps(
            mesh,
            setup.networks,
            n_samples=setup.decoding.n_samples,
            how=config.synthesis.merge,
        ),
        recognise=make_recogniser(screener, mesh, sr=setup.clip_sr),
    )


def make_networks(config, *, n_classes: int) -> Networks:
    """The generator, the discriminator and the loss that a config names.

    Args:
      config: of a GAN.
      n_classes: K of a class-conditional GAN.
    """
    gan = config.gan
    shared = {
        "dim": gan.dim,
        "n_samples": gan.n_samples,
        "n_classes": n_classes if gan.conditional else 0,
        "dtype": precision.dtype_of(config.train.precision),
    }
    return Networks(
        Generator(n_latent=gan.n_latent, upsample=gan.upsample, **shared),
        Discriminator(
            phase_shuffle=gan.phase_shuffle,
            shuffle=gan.shuffle,
            axis_name=DATA,
            **shared,
        ),
        LOSSES[gan.loss],
        config.train.batch_size,
        gan.lr,
        precision.products_of(config.train.precision),
    )


def real_clips(setup: GanSetup, indices: np.ndarray) -> np.ndarray:
    """(G, n) indices into the pool -> (G, n, T) waveforms at the GAN's rate, on the host."""
    return np.stack([np.asarray(take(setup.pool, row)) for row in indices])
