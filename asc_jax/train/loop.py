"""The loop around the classifier's steps: epochs, validation, checkpoints and the log."""

import pathlib
import sys
import time

import jax
import numpy as np
import tqdm

from asc_jax import run
from asc_jax.data import batches
from asc_jax.data.splits import refuse_other_splits
from asc_jax.data.synthetic import refuse_other_manifest
from asc_jax.statistics import class_wise_accuracy, confusion_matrix
from asc_jax.train import parallel
from asc_jax.train.checkpoint import Checkpoints
from asc_jax.train.classifier import ClassifierState
from asc_jax.train.metrics_log import MetricsLog
from asc_jax.train.setup import Setup, predict, restore, set_up
from asc_jax.train.stop import StopSignal
from asc_jax.train.trace import trace_steps
from asc_jax.train.watch import Watch, peak_memory, refuse_divergence


def train(config, workdir: pathlib.Path, *, profile: bool = False) -> None:
    """Trains all folds of a config, from the start or from where the run folder stands.

    Args:
      config: checked, frozen.
      workdir: the run folder; made if need be.
      profile: trace some steps into the folder's `profile/` before going on.

    Raises:
      InputError: whatever is wrong with the data, the config or the folder.
      Diverged: a loss or a gradient is not finite; the checkpoints are those of the epochs
        before.
    """
    with run.hold(workdir):
        run.refuse_foreign_folder(workdir, config)
        dataset, splits, test = run.read_data(config)
        refuse_other_splits(workdir / "splits.json", dataset, splits, test)
        synthetic = run.read_synthetic(config, dataset, splits)
        if synthetic is not None:
            refuse_other_manifest(workdir / run.SYNTHETIC, synthetic)
        setup = set_up(config, dataset, splits, test, synthetic, config.train.mesh)
        # Not before: wrong input leaves no folder behind.
        run.write_run(workdir, config, dataset, splits, test, synthetic)
        _run_epochs(
            setup,
            workdir,
            n_epochs=config.train.epochs,
            per_call=config.train.steps_per_call,
            keep=config.train.keep_checkpoints,
            choosing=config.train.selection == "inner",
            choose_after=config.train.select_after,
            profile=profile,
        )


def _run_epochs(
    setup: Setup,
    workdir: pathlib.Path,
    *,
    n_epochs: int,
    per_call: int,
    keep: int,
    choosing: bool,
    choose_after: int,
    profile: bool,
) -> None:
    """From the newest checkpoint, or the beginning, to the last epoch; see `configs/default.py`."""
    with (
        Checkpoints(workdir / "checkpoints", keep=keep) as checkpoints,
        StopSignal() as stop,
    ):
        state, best, done = restore(setup, checkpoints, choosing=choosing)
        if done >= n_epochs:
            print(f"{workdir}: all {n_epochs} epochs are done", file=sys.stderr)
            return
        print(parallel.describe(setup.mesh), file=sys.stderr)
        if profile:
            trace = trace_steps(setup, state, workdir / "profile", per_call=per_call)
            print(f"{trace}: open it at https://ui.perfetto.dev", file=sys.stderr)
        log = MetricsLog(workdir / "metrics.jsonl", n_epochs_done=done)
        with tqdm.tqdm(
            total=n_epochs * setup.steps_per_epoch,
            initial=done * setup.steps_per_epoch,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 10,  # s; logs stay readable
        ) as bar:
            for epoch in range(done + 1, n_epochs + 1):
                bar.set_description(f"epoch {epoch}/{n_epochs}")
                started = time.perf_counter()
                state, watch = run_epoch(setup, state, epoch, per_call, bar, stop)
                seconds = time.perf_counter() - started
                for message in watch.report_skipped():
                    bar.write(message, sys.stderr)
                validation = validate(setup, state)
                losses = np.array(validation["validation_loss"])[:, None]
                refuse_divergence({"loss": losses}, setup, epoch * setup.steps_per_epoch - 1)
                scores = np.array(validation["validation_accuracy"], np.float32)
                if best is not None and epoch > choose_after:
                    epochs = np.full(scores.shape, epoch, np.int32)
                    best = setup.steps.keep_best(best, state, scores, epochs)
                # In this order: a line without its checkpoint is dropped on restart, but a
                # checkpoint without its line would leave a gap in the log.
                line = log_line(setup, epoch, seconds, watch) | validation
                log.write(line)
                checkpoints.save(epoch, {"state": state, "best": best})
                bar.set_postfix_str(
                    f"loss {np.mean(line['loss']):.3f}, {validation['validation_list']} "
                    f"{scores.mean():.1%} (" + " ".join(f"{s:.0%}" for s in scores) + ")"
                )
        checkpoints.wait()


def log_line(setup: Setup, epoch: int, seconds: float, watch: Watch) -> dict:
    """What `metrics.jsonl` says of an epoch's training."""
    return {
        "epoch": epoch,
        "step": epoch * setup.steps_per_epoch,
        "seconds": seconds,
        "clips_per_second": watch.not_finite.size * setup.batch_size / seconds,
        **watch.times.log_fields(),
        "peak_memory_bytes": peak_memory(setup.mesh),
        "loss": watch.mean("loss"),
        "train_accuracy": watch.mean("accuracy"),
        "gradient_norm": watch.mean("gradient_norm"),
        "skipped_steps": watch.not_finite.sum(axis=1).tolist(),
    }


def run_epoch(
    setup: Setup, state: ClassifierState, epoch: int, per_call: int, bar, stop: StopSignal
) -> tuple[ClassifierState, Watch]:
    """All steps of an epoch, `per_call` steps in a dispatch.

    Returns:
      The state, and what was seen of the steps.

    Raises:
      Diverged: a loss or a gradient is not finite, and such steps are not to be skipped.
      Stopped: a signal asked for it; the epoch's work is dropped.
    """
    indices = batches.epoch_indices(
        setup.splits,
        seed=setup.seed,
        epoch=epoch - 1,
        n_steps=setup.steps_per_epoch,
        batch_size=setup.batch_size,
        share=setup.share,
    )
    watch, pending = Watch(setup, (epoch - 1) * setup.steps_per_epoch), None
    for first in range(0, setup.steps_per_epoch, per_call):
        clips = indices[:, first : first + per_call]
        state, metrics = setup.steps.train(state, setup.pool, clips)
        if pending:  # one call ahead of the device is enough, and keeps the bar honest
            watch.see(pending)
        pending = metrics
        bar.update(clips.shape[1])
        stop.leave_if_requested(epoch)
    watch.see(pending)
    return state, watch


def validate(setup: Setup, state: ClassifierState) -> dict:
    """Scores every fold on its inner clips, or on its held-out clips where it has none.

    Returns:
      The part of a log line that speaks of validation.
    """
    inner = any(len(split.inner) for split in setup.splits)
    lists = [split.inner if inner else split.held_out for split in setup.splits]
    logits = predict(setup, state, lists)
    n_classes = len(setup.dataset.scene_labels)
    targets = np.asarray(setup.pool.targets)
    losses, scores = [], []
    for clips, fold_logits in zip(lists, logits, strict=True):
        log_probabilities = np.asarray(jax.nn.log_softmax(fold_logits))
        losses.append(float(-log_probabilities[np.arange(len(clips)), targets[clips]].mean()))
        confusion = confusion_matrix(targets[clips], fold_logits.argmax(-1), n_classes)
        scores.append(float(class_wise_accuracy(confusion)))
    return {
        "validation_list": "inner" if inner else "held_out",
        "validation_loss": losses,
        "validation_accuracy": scores,
    }
