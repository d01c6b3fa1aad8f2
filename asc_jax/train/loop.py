"""The loop around the classifier's steps: epochs, validation, checkpoints and the log."""

import contextlib
import pathlib
import sys
import time
from collections.abc import Mapping

import ml_collections
import numpy as np

from asc_jax.data.generated import refuse_other_manifest
from asc_jax.data.splits import refuse_other_splits
from asc_jax.parallel import hosts
from asc_jax.parallel.mesh import describe_mesh
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import Checkpoints, Progress
from asc_jax.runs.folder import (
    SYNTHETIC,
    hold,
    refuse_foreign_folder,
    refuse_other_sound,
    write_run,
)
from asc_jax.runs.inputs import read_data, read_synthetic
from asc_jax.runs.metrics_log import MetricsLog
from asc_jax.runtime.files import remove
from asc_jax.train.classifier import ClassifierState
from asc_jax.train.progress_bar import StepBar
from asc_jax.train.setup import (
    Setup,
    describe_start,
    epoch_indices,
    predict,
    restore,
    score_fold,
    set_up,
)
from asc_jax.train.stop import StopSignal
from asc_jax.train.trace import trace_steps
from asc_jax.train.watch import Calls, Watch, peak_memory


def train(
    config,
    workdir: pathlib.Path,
    *,
    runs: Mapping[str, ml_collections.FrozenConfigDict] | None = None,
    profile: bool = False,
    other_functions: bool = False,
) -> tuple[Setup, Progress]:
    """Trains all folds of a config, from the start or from where the run folder stands.

    Args:
      config: checked, frozen.
      workdir: the run folder; made if need be.
      runs: see `set_up`; `train_together` makes ordinary runs of the folder then.
      profile: trace some steps into the folder's `profile/` before going on.
      other_functions: go on though the functions that trained the run have changed since.

    Returns:
      What it consisted of, and where it stands: at its end.

    Raises:
      InputError: whatever is wrong with the data, the config or the folder.
      Diverged: a loss or a gradient is not finite, of each run if there are several; the
        checkpoints are those of the steps before.
    """
    with hold(workdir):
        refuse_foreign_folder(workdir, config)
        dataset, splits, test = read_data(config)
        refuse_other_splits(workdir / "splits.json", dataset, splits, test)
        synthetic = read_synthetic(config, dataset, splits)
        if synthetic is not None:
            refuse_other_manifest(workdir / SYNTHETIC, synthetic)
        setup = set_up(
            config, dataset, splits, test, synthetic, mesh_shape=config.train.mesh, runs=runs
        )
        refuse_other_sound(workdir, dataset, synthetic, setup.digests)
        # Not before: wrong input leaves no folder behind.
        write_run(workdir, config, dataset, splits, test, synthetic, setup.digests)
        progress = _run_epochs(
            setup,
            workdir,
            n_epochs=config.train.epochs,
            per_call=config.train.steps_per_call,
            save_every=config.train.save_every,
            keep=config.train.keep_checkpoints,
            choosing=config.train.selection == "inner",
            choose_after=config.train.select_after,
            profile=profile,
            other_functions=other_functions,
        )
    return setup, progress


def _run_epochs(
    setup: Setup,
    workdir: pathlib.Path,
    *,
    n_epochs: int,
    per_call: int,
    save_every: int,
    keep: int,
    choosing: bool,
    choose_after: int,
    profile: bool,
    other_functions: bool,
) -> Progress:
    """From the newest checkpoint, or the beginning, to the last epoch; see `configs/default.py`."""
    with (
        Checkpoints(workdir / "checkpoints", keep=keep) as checkpoints,
        StopSignal() as stop,
    ):
        state, best, progress = restore(setup, checkpoints, choosing=choosing)
        start = describe_start(setup, step=progress.step, training=True, choosing=choosing)
        provenance.refuse_another(workdir, start, step=progress.step, allowed=other_functions)
        if progress.epochs >= n_epochs:
            return progress
        if hosts.is_first():
            print(describe_mesh(setup.mesh), file=sys.stderr)
        if profile:
            trace = trace_steps(setup, state, workdir / "profile", per_call=per_call)
            if trace:
                print(f"{trace}: open it at https://ui.perfetto.dev", file=sys.stderr)
        provenance.add_start(workdir, start)
        if not progress.step:
            remove_scores(workdir)
        log = MetricsLog(workdir / "metrics.jsonl", n_epochs_done=progress.epochs)
        with StepBar(n_epochs * setup.steps_per_epoch, progress.step) as bar:
            watch = Watch(setup, progress)
            while progress.epochs < n_epochs:
                bar.describe(f"epoch {progress.epochs + 1}/{n_epochs}")
                state, progress = run_steps(
                    setup, state, progress, watch, per_call=per_call, save_every=save_every,
                    bar=bar, stop=stop,
                )  # fmt: skip
                if progress.step == (progress.epochs + 1) * setup.steps_per_epoch:
                    line = log_line(setup, progress, watch)
                    line |= validate(setup, state)
                    # It may raise: on all processes, for none waits for another then.
                    messages = watch.report(line["validation_loss"])
                    for message in messages if hosts.is_first() else ():
                        bar.write(message)
                    scores = np.array(line["validation_accuracy"], np.float32)
                    if best is not None and line["epoch"] > choose_after:
                        epochs = np.full(scores.shape, line["epoch"], np.int32)
                        best = setup.steps.keep_best(best, state, scores, epochs)
                    # In this order: a line without its checkpoint is dropped on restart, but a
                    # checkpoint without its line would leave a gap in the log.
                    log.write(line)
                    bar.conclude(in_short(line))
                    progress = Progress(progress.step, line["epoch"], lost=watch.lost)
                    watch = Watch(setup, progress)
                checkpoints.save(progress, {"state": state, "best": best})
                if progress.epochs < n_epochs:
                    stop.leave_if_requested(checkpoints, progress.step)
        checkpoints.wait()
    return progress


def remove_scores(workdir: pathlib.Path) -> None:
    """Removes what was scored of a state that is no longer there."""
    if hosts.is_first():
        for name in ("report.html", "report.json", "logits.npz"):
            remove(workdir / name)


def in_short(line: dict) -> str:
    """A log line for the bar; means are of the folds that are finite, "-" is one that is not."""
    mean = lambda values: np.mean([value for value in values if value is not None] or [np.nan])
    scores = line["validation_accuracy"]
    folds = " ".join("-" if score is None else f"{score:.0%}" for score in scores)
    return f"loss {mean(line['loss']):.3f}, {line['validation_list']} {mean(scores):.1%} ({folds})"


def log_line(setup: Setup, progress: Progress, watch: Watch) -> dict:
    """What `metrics.jsonl` says of the training in an epoch whose steps are all done."""
    n_clips = watch.skipped.size * setup.batch_size
    return {
        "epoch": progress.epochs + 1,
        "step": progress.step,
        "seconds": progress.seconds,
        "clips_per_second": n_clips / progress.seconds,
        **watch.times.log_fields(),
        "peak_memory_bytes": peak_memory(setup.mesh),
        "loss": watch.mean("loss"),
        "train_accuracy": watch.mean("accuracy"),
        "gradient_norm": watch.mean("gradient_norm"),
        "skipped_steps": watch.skipped.sum(axis=1).tolist(),
        "non_finite": "skip" if setup.skip_non_finite else "stop",
    }


def run_steps(
    setup: Setup,
    state: ClassifierState,
    progress: Progress,
    watch: Watch,
    *,
    per_call: int,
    save_every: int,
    bar,
    stop: StopSignal,
) -> tuple[ClassifierState, Progress]:
    """The steps up to the next save: of the epoch, `save_every` of them, or until a signal.

    Args:
      setup: of the run.
      state: at `progress`.
      progress: where the run stands.
      watch: of the epoch; sees these steps.
      per_call: steps in a dispatch.
      save_every: steps between two saves, to the next whole dispatch; 0 for all of the epoch.
      bar: of the run.
      stop: a signal ends this after the dispatch under way; see `Calls`.

    Returns:
      The state, and the progress.

    Raises:
      Diverged: a loss or a gradient is not finite, and such steps are not to be skipped.
    """
    started = time.perf_counter()
    n_steps, first_of_epoch = setup.steps_per_epoch, progress.epochs * setup.steps_per_epoch
    indices = epoch_indices(setup, epoch=progress.epochs)
    begin = progress.step - first_of_epoch
    end = min(n_steps, begin + save_every) if save_every else n_steps
    of_calls = (indices[:, i : min(i + per_call, n_steps)] for i in range(begin, end, per_call))
    under_way = Calls(watch.times)
    with contextlib.closing(setup.feed.calls(of_calls)) as calls:
        for pool, clips in calls:
            state, metrics = setup.steps.train(state, pool, clips)
            due = under_way.add(metrics, clips.shape[1])
            bar.update(clips.shape[1])
            if due:
                watch.see(under_way.fetch_ended())
                if stop.requested:
                    break
    watch.see(under_way.fetch_all())
    seconds = progress.seconds + time.perf_counter() - started
    metrics = watch.metrics
    done = first_of_epoch + metrics["loss"].shape[1]
    return state, Progress(done, progress.epochs, seconds, metrics, watch.lost)


def validate(setup: Setup, state: ClassifierState) -> dict:
    """Scores every fold on its inner clips, or on its held-out clips where it has none.

    Args:
      setup: of the run.
      state: to score.

    Returns:
      The part of a log line that speaks of validation; a fold whose loss is not finite has no
      figures: None.
    """
    inner = any(len(split.inner) for split in setup.splits)
    lists = [split.inner if inner else split.held_out for split in setup.splits]
    logits = predict(setup, state, lists)
    each = [
        score_fold(fold_logits, setup.feed.targets[clips])
        for clips, fold_logits in zip(lists, logits, strict=True)
    ]
    losses, scores = zip(*each, strict=True)
    finite = np.isfinite(losses)
    or_none = lambda values: [one if ok else None for one, ok in zip(values, finite, strict=True)]
    return {
        "validation_list": "inner" if inner else "held_out",
        "validation_loss": or_none(losses),
        "validation_accuracy": or_none(scores),
    }
