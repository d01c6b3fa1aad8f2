"""Watching a run: steps that are not finite, the time that steps take, the devices' memory."""

import statistics
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from asc_jax.parallel.agreement import TOGETHER
from asc_jax.parallel.arrays import fetch
from asc_jax.runs.checkpoint import Progress
from asc_jax.runtime.errors import Diverged
from asc_jax.train.setup import Setup

# What must be finite.
_NAMES = ("loss", "gradient_norm")

# The folder belongs to its config: the same --workdir would be refused.
_MEND = "lower optimizer.lr or set optimizer.clip_norm, in a new --workdir"
_FIRST = "before any update"
_MEND_FIRST = "look for roots, logarithms and divisions at 0 in the network and the loss"


class StepTimes:
    """Seconds per step, from the end of one call to the end of the next.

    The first call, which may compile, and the first after a pause are not among them.
    """

    def __init__(self):
        self._last = None
        self._seconds = []

    def lap(self, n_steps: int) -> None:
        """A call of so many steps has ended."""
        now = time.perf_counter()
        if self._last is not None:
            self._seconds += [(now - self._last) / n_steps] * n_steps
        self._last = now

    def pause(self) -> None:
        """What comes now, a save say, is no step."""
        self._last = None

    def log_fields(self) -> dict:
        """What `metrics.jsonl` says of them; null where an epoch is a single call."""
        return {
            "seconds_per_step": statistics.median(self._seconds) if self._seconds else None,
            "seconds_of_worst_step": max(self._seconds, default=None),
        }


class Calls:
    """The calls of a run's steps that are under way, and the metrics that they leave.

    One runs on the devices while the next one waits: that keeps them busy, and the progress bar
    honest. Whether it is time to fetch metrics and to ask for signals follows from the number of
    steps alone, so several processes do so after the same one.
    """

    def __init__(self, times: StepTimes):
        """Before the first call, whose time and that of the others goes to `times`."""
        self._times = times
        self._queued = []  # metrics on the devices, and the steps that they are of
        self._every = TOGETHER if jax.process_count() > 1 else 1
        self._n_since = 0

    def add(self, metrics, n_steps: int) -> bool:
        """Takes the metrics of the call that was just queued, and waits for the one before.

        Args:
          metrics: tree of arrays on the devices.
          n_steps: of the call.

        Returns:
          Whether it is time to fetch metrics and to ask for signals: after each call, or, on
          several processes, once there were `TOGETHER` steps more.
        """
        self._wait()
        self._queued.append((metrics, n_steps))
        self._n_since += n_steps
        due = self._n_since >= self._every
        self._n_since = 0 if due else self._n_since
        return due

    def fetch_ended(self) -> list:
        """The metrics of all calls but the last, on the host; those that were not yet fetched."""
        ended, self._queued = self._queued[:-1], self._queued[-1:]
        return fetch([metrics for metrics, _ in ended])

    def fetch_all(self) -> list:
        """The same, once the last call has ended too."""
        self._wait()
        self._times.pause()
        queued, self._queued = self._queued, []
        return fetch([metrics for metrics, _ in queued])

    def _wait(self) -> None:
        if self._queued:
            metrics, n_steps = self._queued[-1]
            jax.block_until_ready(metrics)
            self._times.lap(n_steps)


def epoch_fields(progress: Progress, times: StepTimes, n_clips: int, mesh) -> dict:
    """What `metrics.jsonl` says of every run's epoch, whose steps are all done.

    Args:
      progress: at its last step.
      times: of its steps.
      n_clips: that they have trained on, of all models together.
      mesh: of the devices.
    """
    return {
        "epoch": progress.epochs + 1,
        "step": progress.step,
        "seconds": progress.seconds,
        "clips_per_second": n_clips / progress.seconds,
        **times.log_fields(),
        "peak_memory_bytes": peak_memory(mesh),
    }


def peak_memory(mesh: jax.sharding.Mesh) -> int | None:
    """Bytes in use at most so far, of this process's fullest device; None where none says."""
    stats = [device.memory_stats() or {} for device in mesh.local_devices]
    return max((s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s), default=None)


class EpochSteps:
    """The steps of the epochs between two looks, as their metrics come back from the devices.

    Attributes:
      times: of the steps.
      lost: name of each run that is lost -> where; see `Progress`.
    """

    def __init__(self, progress: Progress, axis: int):
        """Of what is under way; a checkpoint keeps what was seen before a restart.

        Args:
          progress: where the run stands.
          axis: of the metrics' arrays along which the steps lie.
        """
        self.times = StepTimes()
        self.lost = progress.lost
        self._seen = [progress.metrics] if progress.metrics else []
        self._axis = axis

    def see(self, calls: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Takes the metrics of the next calls."""
        self._seen += calls

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """Of all steps that were seen."""
        join = lambda name: np.concatenate([seen[name] for seen in self._seen], self._axis)
        return {name: join(name) for name in self._seen[0]}


class Watch(EpochSteps):
    """The steps of some epochs of classifiers, (F, steps) of each metric.

    A run is lost where a step is not finite, or with skipping where no fold is finite any more.
    One that is alone ends then. In a program of several it trains on for nothing, since the
    others share its steps; they end when all are lost.
    """

    def __init__(self, setup: Setup, progress: Progress):
        super().__init__(progress, axis=1)
        self._setup = setup
        self._skipping = setup.config.train.non_finite == "skip"
        self._epochs, self._first = progress.epochs, progress.epochs * setup.steps_per_epoch
        self._lines = []

    def see(self, calls: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Looks at the metrics of the next calls, (F, steps) each.

        Raises:
          Diverged: no run is left, of which every loss and gradient is finite; not with skipping.
        """
        for metrics in calls:
            if not self._skipping:
                n_seen = sum(seen["loss"].shape[1] for seen in self._seen)
                self._lose(diverged_runs(metrics, self._setup, self._first + n_seen))
            super().see([metrics])

    @property
    def skipped(self) -> np.ndarray:
        """(F, steps) bool."""
        return not_finite(self.metrics)

    def mean(self, name: str, steps: slice = slice(None)) -> list[float | None]:
        """A metric's mean per fold over those steps that were not skipped; None of no step."""
        return [
            float(values[~skipped].mean()) if not skipped.all() else None
            for values, skipped in zip(
                self.metrics[name][:, steps], self.skipped[:, steps], strict=True
            )
        ]

    def report(self, validation_loss: Sequence[float | None] | None) -> list[str]:
        """What to say of them: a line for each run that was lost, or fold that skipped steps.

        Args:
          validation_loss: of each fold at their end; None where it is not finite. None
            instead of them where nothing was validated.

        Raises:
          Diverged: no run is left; see `see`. With skipping, no fold of any with a finite step
            and a finite validation.
        """
        setup, lines, finite = self._setup, [], set()
        skipped_steps = self.skipped
        last = self._first + skipped_steps.shape[1] - 1
        epoch = _epoch(setup, last)
        validated = validation_loss is not None
        if not self._skipping and validated:
            losses = np.array(validation_loss, float)[:, None]  # of None, NaN
            self._lose(diverged_runs({"loss": losses}, setup, last))
        for run, split, skipped, loss in zip(
            setup.runs,
            setup.splits,
            skipped_steps,
            validation_loss if validated else [0.0] * len(setup.runs),
            strict=True,
        ):
            if run in self.lost:
                continue
            fold = f"epoch {epoch}: {_of_run(run)}fold {split.fold}"
            if skipped.any():
                lines.append(
                    f"{fold} skipped {skipped.sum()} of {len(skipped)} steps, whose loss or "
                    "gradient was not finite"
                )
            if loss is None:
                lines.append(f"{fold} is not finite on its validation clips")
            elif not skipped.all():
                finite.add(run)
        if self._skipping:
            where = f"all folds: the loss or the gradient was finite at no step of epoch {epoch}"
            where += ", or its validation was not finite" * validated
            self._lose({run: where for run in setup.runs if run not in finite})
        return self._lines + lines

    def _lose(self, runs: Mapping[str, str]) -> None:
        """Notes where runs are lost; raises `Diverged` when none is left."""
        new = {run: where for run, where in runs.items() if run not in self.lost}
        self.lost = self.lost | new
        self._lines += [f"{_of_run(run)}{where}; the others continue" for run, where in new.items()]
        if self.lost.keys() >= set(self._setup.runs):
            kept = f"epoch {self._epochs} is saved" if self._epochs else "no epoch was saved"
            raise Diverged(say_lost(self.lost, kept))


def not_finite(metrics: Mapping[str, np.ndarray]) -> np.ndarray:
    """(F, steps) bool: the steps of which the loss or the gradient is not finite."""
    return ~np.all([np.isfinite(metrics[name]) for name in _NAMES if name in metrics], axis=0)


def diverged_runs(metrics: Mapping[str, np.ndarray], setup: Setup, n_before: int) -> dict[str, str]:
    """The runs of which a step is not finite.

    Args:
      metrics: of the steps of a call, (F, steps) each; or "loss" alone, of the validation
        after a step, where that step's update shows.
      setup: of the run.
      n_before: steps of the run before these.

    Returns:
      Name of each -> its first such step, the fold and what is not finite.
    """
    runs = {}
    for step, model in np.argwhere(not_finite(metrics).T):
        what = "gradient" if np.isfinite(metrics["loss"][model, step]) else "loss"
        where = (
            f"fold {setup.splits[model].fold}: the {what} is not finite at step "
            f"{n_before + step + 1} (epoch {_epoch(setup, n_before + step)})"
            f"{'' if n_before + step else f', {_FIRST}'}"
        )
        runs.setdefault(setup.runs[model], where)
    return runs


def say_lost(lost: Mapping[str, str], left: str) -> str:
    """A line for each run that is lost.

    Args:
      lost: see `Progress`.
      left: what there is all the same.
    """
    return "\n".join(
        f"{_of_run(run)}{where}; {left}; {_MEND_FIRST if _FIRST in where else _MEND}"
        for run, where in lost.items()
    )


def _of_run(name: str) -> str:
    return f"{name}: " if name else ""


def _epoch(setup: Setup, step: int) -> int:
    return step // setup.steps_per_epoch + 1
