"""The loop around the classifier's steps: epochs, validation, checkpoints and the log."""

import pathlib
import sys
import time
from collections.abc import Sequence

import jax
import numpy as np
import tqdm

from asc_jax import run
from asc_jax.data import batches
from asc_jax.data.splits import refuse_other_splits
from asc_jax.data.synthetic import refuse_other_manifest
from asc_jax.errors import Diverged
from asc_jax.statistics import class_wise_accuracy, confusion_matrix
from asc_jax.train.checkpoint import Checkpoints
from asc_jax.train.classifier import ClassifierState
from asc_jax.train.metrics_log import MetricsLog
from asc_jax.train.setup import Setup, predict, restore, set_up
from asc_jax.train.stop import StopSignal


def train(config, workdir: pathlib.Path, *, seeds: Sequence[int] = ()) -> None:
    """Trains all folds of a config, from the start or from where the run folder stands.

    Args:
      config: checked, frozen.
      workdir: the run folder; made if need be.
      seeds: see `set_up`; `train_together` makes ordinary runs of the folder then.

    Raises:
      InputError: whatever is wrong with the data, the config or the folder.
      Diverged: a loss is not finite; the checkpoints are those of the epochs before.
    """
    with run.hold(workdir):
        run.refuse_foreign_folder(workdir, config)
        dataset, splits, test = run.read_data(config)
        refuse_other_splits(workdir / "splits.json", dataset, splits, test)
        synthetic = run.read_synthetic(config, dataset, splits)
        if synthetic is not None:
            refuse_other_manifest(workdir / run.SYNTHETIC, synthetic)
        setup = set_up(config, dataset, splits, test, synthetic, seeds=seeds)
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
                state, metrics = run_epoch(setup, state, epoch, per_call, bar, stop)
                seconds = time.perf_counter() - started
                refuse_divergence(metrics["loss"], setup, epoch)
                validation = validate(setup, state)
                refuse_divergence(np.array(validation["validation_loss"])[:, None], setup, epoch)
                scores = np.array(validation["validation_accuracy"], np.float32)
                if best is not None and epoch > choose_after:
                    epochs = np.full(scores.shape, epoch, np.int32)
                    best = setup.steps.keep_best(best, state, scores, epochs)
                # In this order: a line without its checkpoint is dropped on restart, but a
                # checkpoint without its line would leave a gap in the log.
                log.write(log_line(setup, epoch, seconds, metrics) | validation)
                checkpoints.save(epoch, {"state": state, "best": best})
                bar.set_postfix_str(
                    f"loss {metrics['loss'].mean():.3f}, {validation['validation_list']} "
                    f"{scores.mean():.1%} (" + " ".join(f"{s:.0%}" for s in scores) + ")"
                )
        checkpoints.wait()


def log_line(setup: Setup, epoch: int, seconds: float, metrics: dict) -> dict:
    """What `metrics.jsonl` says of an epoch's training; metrics are (F, steps) each."""
    n_clips = metrics["loss"].size * setup.batch_size
    return {
        "epoch": epoch,
        "step": epoch * setup.steps_per_epoch,
        "seconds": seconds,
        "clips_per_second": n_clips / seconds,
        "loss": metrics["loss"].mean(axis=1).tolist(),
        "train_accuracy": metrics["accuracy"].mean(axis=1).tolist(),
    }


def run_epoch(
    setup: Setup, state: ClassifierState, epoch: int, per_call: int, bar, stop: StopSignal
) -> tuple[ClassifierState, dict[str, np.ndarray]]:
    """All steps of an epoch, `per_call` steps in a dispatch.

    Returns:
      The state, and host metrics, (F, steps) each.

    Raises:
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
    collected = []
    for first in range(0, setup.steps_per_epoch, per_call):
        clips = indices[:, first : first + per_call]
        state, metrics = setup.steps.train(state, setup.pool, clips)
        if collected:  # one call ahead of the device is enough, and keeps the bar honest
            jax.block_until_ready(collected[-1])
        collected.append(metrics)
        bar.update(clips.shape[1])
        stop.leave_if_requested(epoch)
    host = jax.device_get(collected)
    return state, {name: np.concatenate([m[name] for m in host], axis=1) for name in host[0]}


def refuse_divergence(losses: np.ndarray, setup: Setup, epoch: int) -> None:
    """Stops a run before a state that is no longer finite is saved.

    Args:
      losses: (F, steps) of the epoch's steps, or (F, 1) of its validation: the last step's
        update shows only there.
      setup: of the run.
      epoch: from 1.

    Raises:
      Diverged: naming the first step and its fold.
    """
    bad = np.argwhere(~np.isfinite(losses.T))
    if len(bad):
        step, fold = bad[0]
        if losses.shape[1] == 1:
            step = setup.steps_per_epoch - 1
        kept = f"epoch {epoch - 1} is saved" if epoch > 1 else "no epoch was finished"
        raise Diverged(
            f"fold {setup.splits[fold].fold}: the loss is not finite at step "
            f"{(epoch - 1) * setup.steps_per_epoch + step + 1} (epoch {epoch}); {kept}; lower "
            "optimizer.lr or set optimizer.clip_norm"
        )


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
