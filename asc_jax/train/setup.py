"""What a run consists of on its devices, for training it and for scoring it alike."""

import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping

import jax
import ml_collections
import numpy as np

from asc_jax.augment import Augmentation
from asc_jax.config.load import PER_MODEL_FIELDS, flatten, frontend_config
from asc_jax.data import batches, normalisation, pool
from asc_jax.data.clips import Dataset
from asc_jax.data.folds import Split
from asc_jax.data.generated import Synthetic, add_to_splits
from asc_jax.data.normalisation import band_moments, refuse_not_finite
from asc_jax.data.pool import log_mels
from asc_jax.parallel import agreement
from asc_jax.parallel.arrays import fetch, put, shapes_per_fold
from asc_jax.parallel.mapping import PER_FOLD
from asc_jax.parallel.mesh import make_mesh, one_device, refuse_idle_processes
from asc_jax.parallel.programs import name_program
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import Checkpoints, Progress
from asc_jax.runs.inputs import make_network, read_pool
from asc_jax.runtime.errors import InputError
from asc_jax.stats.scores import class_wise_accuracy, confusion_matrix
from asc_jax.train import classifier
from asc_jax.train.classifier import BestEpoch, ClassifierState, Steps
from asc_jax.train.feed import Feed, make_feed
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.optimizer import Optimizer, make_optimizer

# Score and number of a fold's best epoch, before any.
_BEFORE_THE_FIRST = np.float32(-1), np.int32(0)


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything that follows from a config and its data.

    Attributes:
      dataset: the development set.
      splits: one per fold; where several runs are one program, those of each in turn.
      runs: the name of each split's run; "" of one that is alone.
      digests: of the audio files in `feed`.
      programs: of what makes features of audio files, by name; see `pool.computed_by`.
      answers: of what decodes, by name; see `pool.answer`.
      test: (n,) indices of labelled clips that no fold trains on.
      mesh: of the devices.
      feed: of the development set's clips, and of the synthetic ones behind them.
      steps: of all folds.
      steps_of_one: the same of one fold on one device, by which it is known what they compute.
      like: shapes and places of the state.
      name_init: () -> the name of what draws initial values; see `programs.name_program`.
      init: () -> the state before the first step, on the devices. A run that goes on needs none.
      seed: of the batches, one per split.
      batch_size: clips per step and fold.
      share: of a batch's examples that are synthetic; see `batches.pass_sizes`.
      partners: whether the examples have mixup partners.
      steps_per_epoch: the same for all folds.
      skip_non_finite: see `classifier.train_step`; if not, a run with such a step is lost.
    """

    dataset: Dataset
    splits: tuple[Split, ...]
    runs: tuple[str, ...]
    digests: tuple[str, ...]
    programs: Mapping[str, str | None]
    answers: Mapping[str, np.ndarray]
    test: np.ndarray
    mesh: jax.sharding.Mesh
    feed: Feed
    steps: Steps
    steps_of_one: Steps
    like: ClassifierState
    name_init: Callable[[], str | None]
    init: Callable[[], ClassifierState]
    seed: tuple[int, ...]
    batch_size: int
    share: float
    partners: bool
    steps_per_epoch: int
    skip_non_finite: bool


def set_up(
    config,
    dataset: Dataset,
    splits: tuple[Split, ...],
    test: np.ndarray,
    synthetic: Synthetic | None = None,
    *,
    mesh_shape: tuple[int, ...] = (),
    runs: Mapping[str, ml_collections.FrozenConfigDict] | None = None,
) -> Setup:
    """Decodes the data, builds the network; compiles no step and places no state yet.

    Args:
      config: checked, frozen; with `runs`, what is common to them.
      dataset: and what follows: from `run.read_data`.
      splits: one per fold.
      test: indices of the test clips.
      synthetic: clips to train on as well, from `run.read_synthetic`. Scoring needs none.
      mesh_shape: see `mesh.make_mesh`. Training names the config's `train.mesh`; scoring
        takes the devices that it finds.
      runs: name -> config of runs that train as one program; they differ from `config` in
        `PER_MODEL_FIELDS` and titles alone. One of `config` itself by default.

    Raises:
      InputError: bad audio files, all of them named, a network that the clips do not fit, or
        a mesh that cannot be.
    """
    batch_size, share = config.train.batch_size, config.synthetic.share
    runs = runs or {"": config}
    mesh = make_mesh(len(splits) * len(runs), batch_size, shape=mesh_shape)
    refuse_idle_processes(mesh, named=bool(mesh_shape))
    loaded = [read_pool(config, dataset, dataset.scene_labels)]
    if synthetic is not None:
        splits = add_to_splits(splits, synthetic, len(dataset.clips))
        loaded.append(read_pool(config, synthetic.dataset, dataset.scene_labels, channels=0))
    pools, digests = zip(*loaded, strict=True)
    agreement.connect(mesh)
    names, per_model = zip(*[named for named in runs.items() for _ in splits], strict=True)
    seed = tuple(one.seed for one in per_model)
    splits = tuple(splits) * len(runs)
    steps_per_epoch = batches.steps_per_epoch(splits, batch_size, share)
    network = make_network(config, len(dataset.scene_labels))
    optimizer = _optimizer(config.optimizer, config.train.epochs * steps_per_epoch)
    shape = {"frontend": frontend_config(config), "n_frames": config.data.n_frames}
    moments = band_moments(pools[0], **shape)
    refuse_not_finite(moments, [dataset.audio_path(clip) for clip in dataset.clips])
    recipe = {"normalisation": config.data.normalisation, **shape}
    one_model = classifier.state_shapes(network, optimizer, pools[0], **recipe)
    models = list(zip(splits, seed, map(hyperparameters, per_model), strict=True))
    init = functools.partial(
        classifier.init_state,
        network,
        optimizer,
        models,
        pools[0],
        moments=moments,
        mask_above=config.synthetic.mask_above,
        **recipe,
    )
    skip_non_finite = config.train.non_finite == "skip"
    compile_steps = functools.partial(
        classifier.compile_steps,
        network=network,
        optimizer=optimizer,
        features=functools.partial(log_mels, **shape),
        augmentation=Augmentation(**config.augment),
    )
    return Setup(
        dataset,
        splits,
        names,
        sum(digests, ()),
        pool.computed_by(config.data.pool, shape["frontend"]),
        {"decoding": pool.answer(config.data.pool, shape["frontend"])},
        test,
        mesh,
        make_feed(pools, mesh, config.data.placement),
        compile_steps(mesh, skip_non_finite=skip_non_finite),
        compile_steps(one_device()),  # what is done about lost steps may change
        like=shapes_per_fold(one_model, len(models), mesh),
        name_init=functools.partial(classifier.name_init, network, optimizer, pools[0], **recipe),
        init=lambda: put(jax.tree.map(agreement.share, init()), mesh, PER_FOLD),
        seed=seed,
        batch_size=batch_size,
        share=share,
        partners=config.augment.mixup_alpha > 0,
        steps_per_epoch=steps_per_epoch,
        skip_non_finite=skip_non_finite,
    )


def hyperparameters(config) -> Hyperparameters:
    """A model's own numbers: those of `PER_MODEL_FIELDS`, but for the seed."""
    fields = flatten(config)
    own = [field for field in PER_MODEL_FIELDS if field != "seed"]
    return Hyperparameters(**{field.partition(".")[2]: fields[field] for field in own})


def _optimizer(group, n_steps: int) -> Optimizer:
    """The optimizer of a config's group, but for the hyperparameters of a model."""
    return functools.partial(
        make_optimizer,
        name=group.name,
        schedule=group.schedule,
        n_steps=n_steps,
        clip_norm=group.clip_norm,
    )


def restore(
    setup: Setup, checkpoints: Checkpoints, *, choosing: bool
) -> tuple[ClassifierState, BestEpoch | None, Progress]:
    """The newest whole checkpoint, or the beginning.

    Args:
      setup: of the run.
      checkpoints: of its folder.
      choosing: whether each fold's best epoch is kept as well.

    Returns:
      The state, each fold's best epoch (None unless `choosing`), and the progress.
    """
    found = checkpoints.restore(like(setup, choosing=choosing))
    if found:
        tree, progress = found
        return tree["state"], tree["best"], progress
    state, best = setup.init(), None
    if choosing:
        score, epoch = (np.full(len(setup.splits), value) for value in _BEFORE_THE_FIRST)
        copies = jax.tree.map(lambda leaf: leaf.copy(), (state.params, state.batch_stats))
        best = BestEpoch(*copies, *put((score, epoch), setup.mesh, PER_FOLD))
    return state, best, Progress()


def like(setup: Setup, *, choosing: bool) -> dict:
    """Shapes and places of what a checkpoint holds; see `restore`."""
    n_folds = len(setup.splits)
    best = None
    if choosing:
        best = BestEpoch(
            setup.like.params,
            setup.like.batch_stats,
            *shapes_per_fold(_BEFORE_THE_FIRST, n_folds, setup.mesh),
        )
    return {"state": setup.like, "best": best}


def describe_start(
    setup: Setup, *, step: int = 0, training: bool = False, choosing: bool = False
) -> dict:
    """What this process computes a run by, but for its config and its data; see `provenance`.

    Args:
      setup: of the run.
      step: that it goes on from.
      training: whether it trains, or scores alone.
      choosing: whether it chooses each fold's best epoch.

    Raises:
      InputError: several processes would not compute the same.
    """
    one_fold = lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)
    shapes = classifier.shapes_of_one(
        jax.tree.map(one_fold, setup.like),
        setup.feed.one_clip,
        batch_size=setup.batch_size,
        partners=setup.partners,
    )
    programs, answers = dict(setup.programs), dict(setup.answers)
    programs["evaluate"] = name_program(setup.steps_of_one.evaluate, *shapes["evaluate"])
    if training:
        programs["init"] = setup.name_init()
        programs["train"] = name_program(setup.steps_of_one.train, *shapes["train"])
        answers["batches"] = batches.answer()
        answers["normalisation"] = normalisation.answer()
        if choosing:
            choose = setup.steps_of_one.keep_best
            programs["keep_best"] = name_program(choose, *shapes["keep_best"])
            logits = np.random.default_rng(0).standard_normal((100, 5))
            answers["validation"] = score_fold(logits, np.arange(100) % 5)
    agreement.refuse_unlike(json.dumps(programs, sort_keys=True))
    files = pool.written_in()
    return provenance.describe(setup.mesh, programs, answers, step=step, files=files)


def epoch_indices(setup: Setup, *, epoch: int) -> np.ndarray:
    """The clips of an epoch's batches; see `batches.epoch_indices`."""
    return batches.epoch_indices(
        setup.splits,
        seed=setup.seed,
        epoch=epoch,
        n_steps=setup.steps_per_epoch,
        batch_size=setup.batch_size,
        share=setup.share,
        partners=setup.partners,
    )


def refuse_untrained(workdir: pathlib.Path, command: str = "train") -> None:
    """Refuses a run without a checkpoint, before any data is decoded for it.

    Args:
      workdir: the run folder.
      command: that makes one.

    Raises:
      InputError: no epoch is finished.
    """
    folder = workdir / "checkpoints"
    if not folder.is_dir() or not any(folder.iterdir()):
        raise InputError(
            f"{workdir}: no epoch is finished; run asc-jax {command} with this --workdir"
        )


def restore_chosen(
    workdir: pathlib.Path, config, setup: Setup
) -> tuple[ClassifierState, Progress, list[int]]:
    """The state to score: the newest that is saved, also within an epoch.

    A fold's chosen epoch, where the config chooses one, is a whole one all the same.

    Args:
      workdir: the run folder.
      config: the run's.
      setup: of the run.

    Returns:
      The state with the variables of each fold's chosen epoch, where training
      stands, and the chosen epoch of each fold.

    Raises:
      InputError: no epoch that could be scored is finished.
    """
    choosing = config.train.selection == "inner"
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        state, best, progress = restore(setup, checkpoints, choosing=choosing)
    done = progress.epochs
    if not done:
        raise InputError(f"{workdir}: no epoch is finished; run asc-jax train with this --workdir")
    if not choosing:
        return state, progress, [done] * len(setup.splits)
    epochs = fetch(best.epoch).tolist()
    if min(epochs) == 0:
        raise InputError(
            f"{workdir}: epoch {done} is not beyond train.select_after="
            f"{config.train.select_after}; train on before evaluating"
        )
    return state.replace(params=best.params, batch_stats=best.batch_stats), progress, epochs


def score_fold(logits: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """A fold's loss and class-wise accuracy, by which its best epoch is chosen.

    Args:
      logits: (n, K).
      targets: (n,) class indices.
    """
    log_probabilities = np.asarray(jax.nn.log_softmax(logits))
    loss = -log_probabilities[np.arange(len(targets)), targets].mean()
    confusion = confusion_matrix(targets, logits.argmax(-1), logits.shape[-1])
    return float(loss), float(class_wise_accuracy(confusion))


def predict(
    setup: Setup, state: ClassifierState, lists: list[np.ndarray], feed: Feed | None = None
) -> list[np.ndarray]:
    """Logits of every fold on its own list of clips.

    Args:
      setup: of the run.
      state: all folds'.
      lists: one (n_f,) list of clips per fold.
      feed: of the clips; the run's own by default.

    Returns:
      One (n_f, K) float32 array per fold.
    """
    indices = batches.padded_indices(lists, setup.batch_size)  # (F, S, B)
    logits = []
    with contextlib.closing((feed or setup.feed).calls(np.moveaxis(indices, 1, 0))) as calls:
        for clips_pool, clips in calls:
            if logits:  # one call ahead of the device, so that no more pools wait for it
                jax.block_until_ready(logits[-1])
            logits.append(setup.steps.evaluate(state, clips_pool, clips))
    logits = np.concatenate(fetch(logits), axis=1)  # (F, S * B, K)
    return [fold_logits[: len(clips)] for fold_logits, clips in zip(logits, lists, strict=True)]
