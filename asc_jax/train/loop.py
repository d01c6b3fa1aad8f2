"""Training the classifier: its folder, its epochs and their validation."""

import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Callable, Generator, Mapping, Sequence

import jax
import ml_collections
import numpy as np

from asc_jax.config.load import flatten
from asc_jax.data.folds import Split
from asc_jax.data.generated import refuse_other_manifest
from asc_jax.data.splits import refuse_other_splits
from asc_jax.parallel import hosts
from asc_jax.parallel.agreement import read_by_first
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD
from asc_jax.runs.checkpoint import Checkpoints, Progress
from asc_jax.runs.curves import Curves, refuse_missing
from asc_jax.runs.folder import (
    FREE_FIELDS,
    SYNTHETIC,
    hold,
    read_config,
    read_trained_config,
    refuse_foreign_folder,
    refuse_other_sound,
    write_run,
)
from asc_jax.runs.inputs import (
    read_data,
    read_impulse_responses,
    read_synthetic,
    told_of_lengths,
    told_of_silence,
    with_named_precision,
)
from asc_jax.runs.metrics_log import MetricsLog
from asc_jax.runs.sweep_record import RECORD
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import remove
from asc_jax.stats.scores import confusion_matrix
from asc_jax.train import table
from asc_jax.train.best_epoch import BestEpoch
from asc_jax.train.distillation import distil, read_distillation, read_teachers
from asc_jax.train.epochs import Conclusion, next_look, run_epochs
from asc_jax.train.model import make_model
from asc_jax.train.predict import predict, score_fold, validation_lists
from asc_jax.train.restore import snapshot_like
from asc_jax.train.setup import Setup, epoch_indices, set_up
from asc_jax.train.start import describe_start
from asc_jax.train.state import ClassifierState
from asc_jax.train.statistics import make_statistics
from asc_jax.train.trace import trace_steps
from asc_jax.train.watch import Watch, epoch_fields


def train(
    config,
    workdir: pathlib.Path,
    *,
    runs: Mapping[str, ml_collections.FrozenConfigDict] | None = None,
    profile: bool = False,
    other_functions: bool = False,
) -> tuple[Setup, Progress]:
    """Trains all folds of a config, from the start or from the state of the run folder.

    Args:
      config: a checked and frozen config.
      workdir: the run folder; created if it does not exist.
      runs: see `set_up`; `train_together` then makes ordinary runs of the folder.
      profile: first trace some steps into the folder's `profile/`.
      other_functions: continue even if the functions that trained the run have changed since.

    Returns:
      The setup of the run, and its final progress.

    Raises:
      InputError: the data, the config or the folder cannot be used.
      Diverged: a loss or a gradient is not finite, in every run if there are several; the
        checkpoints are those of earlier steps.
    """
    config = with_named_precision(config, workdir)
    refuse_missing(config.train.writers)
    with hold(workdir):
        # By `refuse_other_rates`; the runs of a sweep stay alike.
        swept = any((parent / RECORD).exists() for parent in workdir.absolute().parents)
        free = FREE_FIELDS if swept else FREE_FIELDS | {"train.epochs"}
        refuse_foreign_folder(workdir, config, free=free, other_functions=other_functions)
        source = config.train.init_from
        begins = read_by_first(lambda: not (workdir / "checkpoints").exists())
        if begins and source:
            read_trained_config(pathlib.Path(source), "train.init_from")
        teachers = None
        if begins and config.distillation.run:
            teachers = read_teachers(config.distillation.run)
        dataset, splits, test = read_data(config)
        refuse_other_splits(workdir / "splits.json", dataset, splits, test)
        if begins and dataset.no_identifiers and hosts.is_first():
            print(f"{dataset.root}: {dataset.no_identifiers}", file=sys.stderr)
        synthetic = read_synthetic(config, dataset, splits)
        if synthetic is not None:
            refuse_other_manifest(workdir / SYNTHETIC, synthetic)
        read_impulse_responses(config)  # refused now, and not when a step is traced
        setup = set_up(
            config, dataset, splits, test, synthetic, mesh_shape=config.train.mesh, runs=runs
        )
        refuse_other_sound(workdir, dataset, synthetic, setup.clips.digests)
        if config.distillation.run:
            clips = setup.clips
            distillation = distil(teachers, clips) if begins else read_distillation(workdir, clips)
            setup = dataclasses.replace(setup, clips=distillation.apply(clips, config))
        if begins:
            setup.refuse_unfit()
            told = told_of_lengths(config, setup.clips.seconds), told_of_silence(setup.clips)
            if hosts.is_first():
                for line in filter(None, told):
                    print(f"{dataset.root}: {line}", file=sys.stderr)
        elif hosts.is_first():
            refuse_other_rates(workdir, setup)
        digests = setup.clips.digests
        record = lambda: write_run(workdir, config, dataset, splits, test, synthetic, digests)
        task = Training(setup, workdir, profile=profile, record=record)
        # Not before: wrong input leaves no folder behind. With other functions not before a step
        # is sure to follow: a finished run keeps the copies of those that trained it.
        if begins or not other_functions:
            record()
        if teachers:
            distillation.write(workdir)
        keep = config.train.keep_checkpoints
        _, progress = run_epochs(task, workdir, keep=keep, other_functions=other_functions)
    return setup, progress


class Training:
    """The training of all folds, a task of `run_epochs`."""

    def __init__(
        self,
        setup: Setup,
        workdir: pathlib.Path,
        *,
        profile: bool = False,
        record: Callable[[], None] = lambda: None,
    ):
        """Makes the task; `record` is called before the first step."""
        self.n_epochs, self.steps_per_epoch = setup.config.train.epochs, setup.steps_per_epoch
        self.look_every, self.mesh = setup.config.train.validate_every, setup.mesh
        self.heading = table.heading(setup)
        self._calls = setup.feed.calls  # placed now, while the devices' memory is free
        self._setup, self._workdir, self._record, self._profile = setup, workdir, record, profile

    def restore(self, checkpoints: Checkpoints) -> tuple[dict, Progress]:
        setup = self._setup
        if found := checkpoints.restore(snapshot_like(setup.like, choosing=setup.choosing)):
            return found
        state = setup.init()
        if setup.warm_start:
            setup.warm_start.write(self._workdir)
        return {"state": state, "best": before_the_first(state, setup)}, Progress()

    def describe_start(self, step: int) -> dict:
        return describe_start(self._setup, step=step, training=True)

    def curves(self) -> Curves:
        setup = self._setup
        writers, labels = setup.config.train.writers, setup.clips.dataset.scene_labels
        return make_curves(setup.config, setup.splits, setup.runs, labels, writers=writers)

    def prepare(self, snapshot: dict, progress: Progress, log: MetricsLog) -> None:
        self._record()
        if self._profile:
            trace = trace_steps(self._setup, snapshot["state"], self._workdir / "profile")
            if trace:
                print(f"{trace}: open it at https://ui.perfetto.dev", file=sys.stderr)
        if not hosts.is_first():
            return
        if not progress.step and self._setup.model.averaging:
            kind = f"train.average={self._setup.config.train.average}"
            print(f"{kind}: the averaged network is validated and scored", file=sys.stderr)
        # Of a state that is gone; where the run is resumed, `evaluate` asks the report for more.
        others = () if progress.step else ("report.json", "logits.npz")
        for name in ("report.html", *others):
            remove(self._workdir / name)

    def begin(self, progress: Progress) -> Watch:
        return Watch(self._setup, progress)

    def calls(self, progress: Progress) -> Generator:
        """The pool and the clips of each call, as `Feed.calls` gives them."""
        epochs = range(progress.epochs, next_look(self, progress))
        indices = epoch_indices(self._setup, epochs)
        first = progress.step - progress.epochs * self.steps_per_epoch
        last, save_every = indices.shape[1], self._setup.config.train.save_every
        last = min(last, first + save_every) if save_every else last
        size = self._setup.steps_per_call
        bounds = [*range(first, last, size), last]
        return self._calls(indices[:, i:j] for i, j in itertools.pairwise(bounds))

    def step(self, snapshot: dict, call: tuple) -> tuple[dict, dict, int]:
        pool, clips = call
        state, metrics = self._setup.train_steps(snapshot["state"], pool, clips)
        return snapshot | {"state": state}, metrics, clips.shape[1]

    def complete(self, snapshot: dict, progress: Progress) -> dict:
        """Makes the statistics of the averaged networks anew, if there are any."""
        state = make_statistics(self._setup, snapshot["state"], epoch=progress.epochs)
        return snapshot | {"state": state}

    def conclude(self, snapshot: dict, progress: Progress, steps: Watch) -> Conclusion:
        """Validates the last epoch, and keeps each fold's best one where the config says so.

        Raises:
          Diverged: no run is left of which all is finite; on all processes, for none waits for
            another then.
        """
        setup, state = self._setup, snapshot["state"].scored
        lines = log_lines(setup, progress, steps)
        line, number = lines[-1], lines[-1]["epoch"]
        line |= validate(setup, state, confusion=number == self.n_epochs)
        messages = steps.report(line.get("validation_loss"))
        scored = "validation_accuracy" in line
        if setup.choosing and scored and number > setup.config.train.select_after:
            scores = np.array(line["validation_accuracy"], np.float32)
            epochs = np.full(scores.shape, line["epoch"], np.int32)
            now = put((scores, epochs), setup.mesh, PER_FOLD)
            best = setup.steps.keep_best(snapshot["best"], state, *now)
            snapshot = snapshot | {"best": best}
        results = table.results(line, setup.runs, steps.lost)
        return Conclusion(snapshot, lines, results, messages)

    def is_over(self, snapshot: dict, progress: Progress) -> str:
        return ""


def refuse_other_rates(workdir: pathlib.Path, setup: Setup) -> None:
    """Checks that a run can be resumed with another number of epochs.

    Raises:
      InputError: more steps are done already, or the learning rate or the average depends on the
        length.
    """
    theirs, epochs = read_config(workdir), setup.config.train.epochs
    if theirs.train.epochs == epochs:
        return
    where = {"field": "train.epochs", "value": epochs}
    saved = (path.name for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
    done = max(map(int, saved), default=0) / setup.steps_per_epoch
    if done > epochs:
        raise InputError(f"{workdir} has {done:.3g} epochs already; set at least as many", **where)
    before = make_model(theirs, setup.model.n_classes, theirs.train.epochs * setup.steps_per_epoch)
    then, now = (jax.make_jaxpr(model.schedule)(0) for model in (before, setup.model))
    if str(then) != str(now) or any(map(np.any, map(np.not_equal, then.consts, now.consts))):
        raise InputError(
            f"{workdir} was started with {theirs.train.epochs}, on which its learning rates "
            "depend (optimizer.schedule, optimizer.warmup); keep that number, or train anew in "
            "another --workdir",
            **where,
        )
    if before.averaging != setup.model.averaging:
        raise InputError(
            f"{workdir} was started with {theirs.train.epochs}, on which the start of its "
            "average depends (train.average_after); keep that number, or train anew in another "
            "--workdir",
            **where,
        )


def before_the_first(state: ClassifierState, setup: Setup) -> BestEpoch | None:
    """Each fold's best epoch before there is one; None unless the config chooses one."""
    if not setup.choosing:
        return None
    score, epoch = (np.full(len(setup.splits), one) for one in (np.float32(-1), np.int32(0)))
    params, statistics, others = jax.tree.map(
        lambda leaf: leaf.copy(), (state.params, state.batch_stats, state.collections)
    )
    return BestEpoch(params, statistics, *put((score, epoch), setup.mesh, PER_FOLD), others)


def make_curves(
    config,
    splits: Sequence[Split],
    runs: Sequence[str],
    labels: Sequence[str],
    *,
    writers: Sequence[str],
) -> Curves:
    """The curves of models of one or several runs.

    Args:
      config: what the runs share.
      splits: of each model.
      runs: the name of each model's run; "" of one that is alone.
      labels: of the classes.
      writers: beside the table, of `runs.curves.LIBRARIES`.
    """
    models = [
        f"{run}/fold{split.fold}" if run else f"fold{split.fold}"
        for run, split in zip(runs, splits, strict=True)
    ]
    return Curves(models, writers, flatten(config), labels)


def log_lines(setup: Setup, progress: Progress, watch: Watch) -> list[dict]:
    """What `metrics.jsonl` says of the training in the epochs whose steps are all done."""
    n_steps = setup.steps_per_epoch
    n_epochs = watch.skipped.shape[1] // n_steps
    n_clips = n_steps * len(setup.splits) * setup.config.train.batch_size
    lines = []
    for i in range(n_epochs):
        steps, last = slice(i * n_steps, (i + 1) * n_steps), progress.epochs + i + 1
        # Of epochs that were one dispatch nobody has the time of each.
        until = Progress(last * n_steps, progress.epochs + i, progress.seconds / n_epochs)
        lines.append(
            {
                **epoch_fields(until, watch.times, n_clips, setup.mesh),
                "loss": watch.mean("loss", steps),
                "train_accuracy": watch.mean("accuracy", steps),
                "gradient_norm": watch.mean("gradient_norm", steps),
                "learning_rate": setup.learning_rates(until.step - 1),
                "skipped_steps": watch.skipped[:, steps].sum(axis=1).tolist(),
                "non_finite": setup.config.train.non_finite,
            }
        )
    return lines


def validate(setup: Setup, state: ClassifierState, *, confusion: bool = False) -> dict:
    """Scores every fold on its inner clips, or on its held-out clips where it has none.

    Args:
      setup: of the run.
      state: of all folds.
      confusion: add each fold's confusion matrix, rows true, columns predicted.

    Returns:
      The part of a log line that speaks of validation, empty where there is no such clip; a fold
      whose loss is not finite has no figures: None.
    """
    name, lists = validation_lists(setup.splits)
    if not any(map(len, lists)):
        return {}
    logits = predict(setup, state, lists)
    targets = [setup.feed.targets[clips] for clips in lists]
    losses, scores = zip(*map(score_fold, logits, targets), strict=True)
    finite = np.isfinite(losses)
    or_none = lambda values: [one if ok else None for one, ok in zip(values, finite, strict=True)]
    line = {
        "validation_list": name,
        "validation_loss": or_none(losses),
        "validation_accuracy": or_none(scores),
    }
    if confusion:
        n_classes = setup.model.n_classes
        pairs = zip(targets, logits, strict=True)
        counts = [confusion_matrix(true, own.argmax(-1), n_classes).tolist() for true, own in pairs]
        line["confusion"] = or_none(counts)
    return line
