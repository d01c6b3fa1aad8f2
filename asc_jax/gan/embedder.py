"""A finished classifier run, and what it makes of waveforms that a GAN generates."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from asc_jax.config.load import frontend_config
from asc_jax.data.clips import Dataset
from asc_jax.data.folds import Split
from asc_jax.data.splits import refuse_other_splits
from asc_jax.frontend import Frontend, frontend_function
from asc_jax.ops.resample import resample
from asc_jax.parallel import hosts
from asc_jax.parallel.arrays import fetch, put
from asc_jax.parallel.mapping import PER_FOLD, map_folds
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import digest_arrays
from asc_jax.runs.folder import fixed_by_content, read_trained_config, refuse_other_sound
from asc_jax.runs.inputs import make_network, read_data, with_data
from asc_jax.runtime import precision
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, reading, write_whole
from asc_jax.train.restore import on_host, restore_chosen
from asc_jax.train.setup import set_up
from asc_jax.train.start import describe_start
from asc_jax.train.state import ClassifierState

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
      state: of all folds, at their chosen epochs, on the host; the optimizer's left out.
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
        return jax.tree.map(lambda leaf: leaf[row], self.state.params)

    def describe(self) -> dict:
        """What its opinion of a clip follows from, as JSON has it; wherever its folder lies."""
        state = self.state
        variables = state.params, state.untrained, state.band_mean, state.band_std
        fields = {
            field: value
            for field, value in fixed_by_content(self.config).items()
            if field.partition(".")[0] in ("frontend", "data", "model")
        }
        described = {"parameters": digest_arrays(variables), "fields": fields}
        return json.loads(json.dumps(described))  # tuples as they are read back


def open_classifier(
    workdir: str, data, *, field: str = "gan.classifier", other_functions: bool = False
) -> Classifier:
    """Opens the classifier run whose folds the generated clips are for.

    Of several processes the first one reads its folder; all of them read its data.

    Args:
      workdir: its run folder.
      data: the GAN config's `data` group: `root` if the data set has moved, `cache_dir`
        and `workers`.
      field: that names it.
      other_functions: use it though the functions that trained it have changed since.

    Raises:
      InputError: no folder is named, it holds no finished epoch, or its data or functions have
        changed.
    """
    if not workdir:
        raise InputError(
            "not set; add --config.gan.classifier=RUN, the run folder of a classifier, for "
            "whose folds the clips are generated",
            field=field,
        )
    workdir = pathlib.Path(workdir)
    config = with_data(read_trained_config(workdir, field), data)
    if config.train.crop_seconds:
        raise InputError(
            "was trained on crops, but generated clips are classified whole; train one "
            "with --config.train.crop_seconds=0",
            path=workdir,
            field="train.crop_seconds",
        )
    dataset, splits, test = read_data(config)
    refuse_other_splits(workdir / "splits.json", dataset, splits, test)
    setup = set_up(config, dataset, splits, test)
    digests = setup.clips.digests
    refuse_other_sound(workdir, dataset, None, digests)
    state, progress, _ = restore_chosen(workdir, config, on_host(setup.like))
    start = describe_start(setup)
    provenance.refuse_another(workdir, start, step=progress.step, allowed=other_functions)
    # Without the optimizer's state, which nobody needs who does not train.
    return Classifier(workdir, config, dataset, splits, test, digests, state.replace(opt_state=()))


def write_classifier(path: pathlib.Path, classifier: Classifier) -> None:
    """Writes which classifier evaluates the GANs; all processes call it, the first writes.

    Raises:
      InputError: the file cannot be written.
    """
    described = classifier.describe()
    if hosts.is_first():
        write_whole(path, json.dumps(described, indent=1, allow_nan=False) + "\n")


def refuse_other_classifier(path: pathlib.Path, classifier: Classifier) -> None:
    """Checks that GANs are resumed with the classifier that they were started with, if it is known.

    Distances in the embeddings of two classifiers cannot be compared: the best generator would
    be chosen by chance.

    Args:
      path: from `write_classifier`; a run of an earlier version has none.
      classifier: the one that evaluates them now.

    Raises:
      InputError: it was another one.
    """
    ours = classifier.describe()
    if not path.exists():
        return
    with reading(path):
        theirs = parse_json(path.read_text(encoding="utf-8"))
        named, fields = theirs["parameters"], dict(theirs["fields"])
    differing = [f for f, value in ours["fields"].items() if fields.get(f, value) != value]
    if differing or named != ours["parameters"]:
        what = differing[0] if differing else "its parameters"
        raise InputError(
            "the GANs of this run were evaluated with another classifier than "
            f"{classifier.workdir} ({what} differ); add --config.gan.classifier=RUN with "
            "the original one, unchanged",
            path=path,
        )


def compile_recogniser(classifier: Classifier, mesh, *, sr: int) -> Callable:
    """Maps `recognise_step` over folds.

    Args:
      classifier: the run.
      mesh: of the GANs.
      sr: of the waveforms, Hz.
    """
    config = classifier.config
    step = functools.partial(
        recognise_step,
        network=make_network(config, len(classifier.dataset.scene_labels)),
        frontend=frontend_config(config),
        sr=sr,
        n_frames=config.data.n_frames,
    )
    return map_folds(
        step,
        mesh,
        in_specs=(PER_FOLD, PER_FOLD),
        out_specs=PER_FOLD,
        products=precision.products_of(config.train.precision),
    )


def make_recogniser(classifier: Classifier, mesh, *, sr: int) -> Callable:
    """Builds `GanSetup.recognise`; arguments as of `compile_recogniser`."""
    compiled = compile_recogniser(classifier, mesh, sr=sr)
    numbers = [split.fold for split in classifier.splits]

    @functools.lru_cache(maxsize=1)  # it stays the same from look to look
    def states(folds: tuple[int, ...]) -> ClassifierState:
        rows = np.array([numbers.index(fold) for fold in folds])
        state = jax.tree.map(lambda leaf: leaf[rows], classifier.state)
        return put(state, mesh, PER_FOLD)

    def recognise(folds: Sequence[int], waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n_clips = waveforms.shape[1]
        answers = []
        for first in range(0, n_clips, CLIPS_PER_CALL):
            # Whole calls only, so that one program serves: the last one repeats a clip.
            place = np.minimum(np.arange(first, first + CLIPS_PER_CALL), n_clips - 1)
            given = put(waveforms[:, place], mesh, PER_FOLD)
            answers.append(fetch(compiled(states(tuple(folds)), given)))
        logits, embeddings = (np.concatenate(part, axis=1) for part in zip(*answers, strict=True))
        return logits[:, :n_clips], embeddings[:, :n_clips]

    return recognise


def recognise_step(
    state: ClassifierState,
    waveforms: jax.Array,
    *,
    network,
    frontend: Frontend,
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
    waveforms = resample(waveforms, sr, frontend.sr)
    log_mels = frontend_function(frontend)(waveforms)[:, : n_frames or None]
    logits, kept = network.apply(
        state.variables,
        state.standardise(log_mels),
        train=False,
        mutable=["intermediates"],
    )
    embedding = kept.get("intermediates", {}).get("embedding")
    if embedding is None:
        raise InputError(
            "the network of that run has no embedding to evaluate GANs with; let it sow "
            "the input x of its last layer: sow('intermediates', 'embedding', x)",
            field="gan.classifier",
        )
    return logits, embedding[0]
