"""A finished classifier run, and what it makes of waveforms that a GAN generates."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from asc_jax import hosts, run
from asc_jax.config import from_json, frontend_config, to_json
from asc_jax.data.clips import Dataset
from asc_jax.data.folds import Split
from asc_jax.data.splits import refuse_other_splits
from asc_jax.errors import InputError
from asc_jax.frontend import FrontendConfig, log_mel, resample
from asc_jax.train import parallel
from asc_jax.train.classifier import ClassifierState
from asc_jax.train.setup import refuse_untrained, restore_chosen, set_up

CLIPS_PER_CALL = 16  # clips per GAN in one call


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A finished classifier run.

    Attributes:
      workdir: its run folder.
      config: its config.
      dataset: its development set.
      splits: of its folds.
      test: (n,) indices of labelled clips that no fold trains on.
      digests: of the development set's audio files.
      state: of all folds, at their chosen epochs, on the devices.
    """

    workdir: pathlib.Path
    config: object
    dataset: Dataset
    splits: tuple[Split, ...]
    test: np.ndarray
    digests: tuple[str, ...]
    state: ClassifierState

    def params(self, fold: int) -> dict:
        """The parameters of a fold's network, on the host."""
        row = [split.fold for split in self.splits].index(fold)
        return jax.tree.map(lambda leaf: leaf[row], parallel.fetch(self.state.params))


def open_classifier(workdir: str, data, *, field: str = "gan.classifier") -> Classifier:
    """Opens the classifier run whose folds the generated clips are for.

    Of several processes the first one reads its folder; all of them read its data.

    Args:
      workdir: its run folder.
      data: the GAN config's `data` group: `root` if the data set has moved, `cache_dir`
        and `workers`.
      field: that names it.

    Raises:
      InputError: no folder is named, it holds no finished epoch, or its data has changed.
    """
    if not workdir:
        raise InputError(
            "gan.classifier: not set; add --config.gan.classifier=RUN, a folder that asc-jax "
            "train has made: its folds are what the clips are generated for"
        )
    workdir = pathlib.Path(workdir)
    config = run.with_data(_read_config(workdir, field), data)
    dataset, splits, test = run.read_data(config)
    refuse_other_splits(workdir / "splits.json", dataset, splits, test)
    setup = set_up(config, dataset, splits, test)
    run.refuse_other_sound(workdir, dataset, None, setup.digests)
    state, _, _ = restore_chosen(workdir, config, setup)
    return Classifier(workdir, config, dataset, splits, test, setup.digests, state)


def _read_config(workdir: pathlib.Path, field: str):
    """The config of a run with a checkpoint, as the first process finds it.

    Raises:
      InputError: on all processes, whatever the first one finds wrong.
    """
    text = refusal = ""
    if hosts.is_first():
        try:
            text = to_json(run.read_config(workdir, field=field))
            refuse_untrained(workdir)
        except InputError as error:
            refusal = str(error)
    hosts.wait_for_all()  # one may have started long before the others
    text, refusal = json.loads(parallel.share_text(json.dumps([text, refusal])))
    if refusal:
        raise InputError(refusal)
    return from_json(text, str(workdir / "config.json"))


def make_recogniser(classifier: Classifier, mesh, *, sr: int) -> Callable:
    """Builds `GanSetup.recognise`.

    Args:
      classifier: the run.
      mesh: of the GANs.
      sr: of the waveforms, Hz.
    """
    config = classifier.config
    network = run.make_network(config, len(classifier.dataset.scene_labels))
    step = functools.partial(
        recognise_step,
        network=network,
        frontend=frontend_config(config),
        sr=sr,
        n_frames=config.data.n_frames,
    )
    compiled = parallel.map_folds(
        step,
        mesh,
        in_specs=(parallel.PER_FOLD, parallel.PER_FOLD),
        out_specs=parallel.PER_FOLD,
    )
    numbers = [split.fold for split in classifier.splits]

    @functools.lru_cache(maxsize=1)  # it stays the same from look to look
    def states(folds: tuple[int, ...]) -> ClassifierState:
        rows = np.array([numbers.index(fold) for fold in folds])
        # Without the optimizer's state, which nothing here needs.
        state = classifier.state.replace(opt_state=())
        state = jax.tree.map(lambda leaf: leaf[rows], parallel.fetch(state))
        return parallel.put(state, mesh, parallel.PER_FOLD)

    def recognise(folds: Sequence[int], waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n_clips = waveforms.shape[1]
        answers = []
        for first in range(0, n_clips, CLIPS_PER_CALL):
            # Whole calls only, so that one program serves: the last one repeats a clip.
            place = np.minimum(np.arange(first, first + CLIPS_PER_CALL), n_clips - 1)
            answers.append(parallel.fetch(compiled(states(tuple(folds)), waveforms[:, place])))
        logits, embeddings = (np.concatenate(part, axis=1) for part in zip(*answers, strict=True))
        return logits[:, :n_clips], embeddings[:, :n_clips]

    return recognise


def recognise_step(
    state: ClassifierState,
    waveforms: jax.Array,
    *,
    network,
    frontend: FrontendConfig,
    sr: int,
    n_frames: int,
) -> tuple[jax.Array, jax.Array]:
    """What one fold's classifier makes of waveforms of another rate.

    Args:
      state: the fold's.
      waveforms: (n, T) float32 at `sr`.
      network: the classifier's.
      frontend: the classifier's.
      sr: Hz.
      n_frames: log-mel frames kept, from the first; 0 for all.

    Returns:
      (n, K) float32 logits and (n, D) float32 embeddings, the input of the last layer.
    """
    log_mels = log_mel(resample(waveforms, sr, frontend.sr), frontend)[:, : n_frames or None]
    logits, kept = network.apply(
        {"params": state.params, "batch_stats": state.batch_stats},
        state.standardise(log_mels),
        train=False,
        mutable=["intermediates"],
    )
    return logits, kept["intermediates"]["embedding"][0]
