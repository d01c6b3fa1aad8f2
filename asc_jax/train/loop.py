"""The loop around the classifier's steps: epochs, validation, checkpoints and the log."""

import dataclasses
import pathlib
import sys
import time

import jax
import numpy as np
import tqdm

from asc_jax import run
from asc_jax.config import frontend_config
from asc_jax.data import batches
from asc_jax.data.pool import Pool
from asc_jax.errors import Diverged, Stopped
from asc_jax.statistics import class_wise_accuracy, confusion_matrix
from asc_jax.train import classifier, parallel
from asc_jax.train.checkpoint import Checkpoints
from asc_jax.train.classifier import BestEpoch, ClassifierState, Steps
from asc_jax.train.metrics_log import MetricsLog
from asc_jax.train.stop import StopSignal


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a run consists of, on its devices: made from the config alone.

    Attributes:
      dataset: the development set.
      splits: one per fold.
      test: (n,) indices of labelled clips that no fold trains on.
      mesh: of the devices.
      pool: on the devices.
      steps: compiled for all folds.
      state: before the first step, on the devices.
      steps_per_epoch: the same for all folds.
    """

    dataset: object
    splits: tuple
    test: np.ndarray
    mesh: jax.sharding.Mesh
    pool: Pool
    steps: Steps
    state: ClassifierState
    steps_per_epoch: int


def set_up(config) -> Setup:
    """Reads the data, builds the network and compiles nothing yet.

    Raises:
      InputError: whatever is wrong with the data or the config.
    """
    dataset, splits, test = run.read_data(config)
    host_pool = run.read_pool(config, dataset, dataset.scene_labels)
    steps_per_epoch = run.n_epoch_steps(config, splits)
    network = run.make_network(config, len(dataset.scene_labels))
    optimizer = run.make_run_optimizer(config, config.train.epochs * steps_per_epoch)
    mesh = parallel.make_mesh(len(splits), config.train.batch_size)
    pool = parallel.put(host_pool, mesh, parallel.SHARED)
    state = classifier.init_state(
        network,
        optimizer,
        splits,
        pool,
        seed=config.seed,
        frontend=frontend_config(config),
        n_frames=config.data.n_frames,
    )
    steps = classifier.compile_steps(
        mesh,
        network,
        optimizer,
        features=run.make_features(config),
        augmentation=run.make_augmentation(config),
        label_smoothing=config.train.label_smoothing,
    )
    state = parallel.put(state, mesh, parallel.PER_FOLD)
    return Setup(dataset, splits, test, mesh, pool, steps, state, steps_per_epoch)


def train(config, workdir: pathlib.Path) -> None:
    """Trains all folds of a config, from the start or from where the run folder stands.

    Args:
      config: checked, frozen.
      workdir: the run folder; made if need be.

    Raises:
      InputError: whatever is wrong with the data, the config or the folder.
      Diverged: a loss is not finite; the checkpoints are those of the epochs before.
    """
    run.refuse_foreign_folder(workdir, config)
    setup = set_up(config)
    run.open_run(workdir, config)  # not before: wrong input leaves no folder behind
    n_epochs = config.train.epochs
    with (
        Checkpoints(workdir / "checkpoints", keep=config.train.keep_checkpoints) as checkpoints,
        StopSignal() as stop,
    ):
        state, best, done = restore(setup, checkpoints, choosing=config.train.selection == "inner")
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
                state, metrics = run_epoch(setup, config, state, epoch, bar, stop)
                seconds = time.perf_counter() - started
                refuse_divergence(metrics["loss"], setup, epoch)
                validation = validate(setup, config, state)
                scores = np.array(validation["validation_accuracy"], np.float32)
                if best is not None and epoch > config.train.select_after:
                    epochs = np.full(scores.shape, epoch, np.int32)
                    best = setup.steps.keep_best(best, state, scores, epochs)
                # In this order: a line without its checkpoint is dropped on restart, but a
                # checkpoint without its line would leave a gap in the log.
                log.write(log_line(setup, config, epoch, seconds, metrics) | validation)
                checkpoints.save(epoch, {"state": state, "best": best})
                bar.set_postfix_str(
                    f"loss {metrics['loss'].mean():.3f}, {validation['validation_list']} "
                    f"{scores.mean():.1%} (" + " ".join(f"{s:.0%}" for s in scores) + ")"
                )
        checkpoints.wait()


def log_line(setup: Setup, config, epoch: int, seconds: float, metrics: dict) -> dict:
    """What `metrics.jsonl` says of an epoch's training; metrics are (F, steps) each."""
    n_clips = metrics["loss"].size * config.train.batch_size
    return {
        "epoch": epoch,
        "step": epoch * setup.steps_per_epoch,
        "seconds": seconds,
        "clips_per_second": n_clips / seconds,
        "loss": metrics["loss"].mean(axis=1).tolist(),
        "train_accuracy": metrics["accuracy"].mean(axis=1).tolist(),
    }


def restore(
    setup: Setup, checkpoints: Checkpoints, *, choosing: bool
) -> tuple[ClassifierState, BestEpoch | None, int]:
    """The newest checkpoint, or the beginning.

    Args:
      setup: of the run.
      checkpoints: of its folder.
      choosing: whether each fold's best epoch is kept as well.

    Returns:
      The state, each fold's best epoch (None unless `choosing`), and the epochs done.
    """
    n_folds = len(setup.splits)
    best = None
    if choosing:
        score = np.full(n_folds, -1, np.float32)
        best = BestEpoch(
            jax.tree.map(np.asarray, setup.state.params),
            jax.tree.map(np.asarray, setup.state.batch_stats),
            score,
            np.zeros(n_folds, np.int32),
        )
        best = parallel.put(best, setup.mesh, parallel.PER_FOLD)
    done = checkpoints.latest()
    if done is None:
        return setup.state, best, 0
    tree = checkpoints.restore(done, {"state": setup.state, "best": best})
    return tree["state"], tree["best"], done


def run_epoch(setup: Setup, config, state: ClassifierState, epoch: int, bar, stop: StopSignal):
    """All steps of an epoch.

    Returns:
      The state, and host metrics, (F, steps) each.

    Raises:
      Stopped: a signal asked for it; the epoch's work is dropped.
    """
    indices = batches.epoch_indices(
        setup.splits,
        seed=config.seed,
        epoch=epoch - 1,
        n_steps=setup.steps_per_epoch,
        batch_size=config.train.batch_size,
    )
    per_call = config.train.steps_per_call
    collected = []
    for first in range(0, setup.steps_per_epoch, per_call):
        clips = indices[:, first : first + per_call]
        state, metrics = setup.steps.train(state, setup.pool, clips)
        if collected:  # one call ahead of the device is enough, and keeps the bar honest
            jax.block_until_ready(collected[-1])
        collected.append(metrics)
        bar.update(clips.shape[1])
        if stop.requested:
            kept = f"epoch {epoch - 1} is saved" if epoch > 1 else "no epoch was finished"
            raise Stopped(f"stopped in epoch {epoch}; {kept}; run the same command to go on")
    host = jax.device_get(collected)
    return state, {name: np.concatenate([m[name] for m in host], axis=1) for name in host[0]}


def refuse_divergence(losses: np.ndarray, setup: Setup, epoch: int) -> None:
    """Stops a run whose loss (F, steps) is not finite.

    Raises:
      Diverged: naming the first step and its fold.
    """
    bad = np.argwhere(~np.isfinite(losses.T))
    if len(bad):
        step, fold = bad[0]
        kept = f"epoch {epoch - 1} is saved" if epoch > 1 else "no epoch was finished"
        raise Diverged(
            f"fold {setup.splits[fold].fold}: the loss is {losses[fold, step]} at step "
            f"{(epoch - 1) * setup.steps_per_epoch + step + 1} (epoch {epoch}); {kept}; lower "
            "optimizer.lr or set optimizer.clip_norm"
        )


def validate(setup: Setup, config, state: ClassifierState) -> dict:
    """Scores every fold on its inner clips, or on its held-out clips where it has none.

    Returns:
      The part of a log line that speaks of validation.
    """
    inner = any(len(split.inner) for split in setup.splits)
    lists = [split.inner if inner else split.held_out for split in setup.splits]
    logits = predict(setup, state, lists, config.train.batch_size)
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


def predict(
    setup: Setup, state: ClassifierState, lists: list[np.ndarray], batch_size: int, pool=None
) -> list[np.ndarray]:
    """Logits of every fold on its own list of clips.

    Args:
      setup: of the run.
      state: all folds'.
      lists: one (n_f,) list of indices into the pool per fold.
      batch_size: clips per step and fold.
      pool: on the devices; the run's own by default.

    Returns:
      One (n_f, K) float32 array per fold.
    """
    indices = batches.padded_indices(lists, batch_size)  # (F, S, B)
    pool = setup.pool if pool is None else pool
    logits = [setup.steps.evaluate(state, pool, indices[:, i]) for i in range(indices.shape[1])]
    logits = np.concatenate(jax.device_get(logits), axis=1)  # (F, S * B, K)
    return [fold_logits[: len(clips)] for fold_logits, clips in zip(logits, lists, strict=True)]
