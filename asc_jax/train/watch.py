"""Watching a run: steps that are not finite, the time that steps take, the devices' memory."""

import statistics
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from asc_jax.errors import Diverged
from asc_jax.train import parallel
from asc_jax.train.checkpoint import Progress
from asc_jax.train.setup import Setup

# What must be finite.
_NAMES = ("loss", "gradient_norm")

# The folder belongs to its config: the same --workdir would be refused.
_MEND = "lower optimizer.lr or set optimizer.clip_norm, in a new --workdir"


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


def peak_memory(mesh: jax.sharding.Mesh) -> int | None:
    """Bytes in use at most so far, of this process's fullest device; None where none says."""
    stats = [device.memory_stats() or {} for device in mesh.local_devices]
    return max((s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s), default=None)


class Watch:
    """An epoch's steps, as their metrics come back from the devices.

    Attributes:
      times: of the steps.
    """

    def __init__(self, setup: Setup, progress: Progress):
        """Of the epoch that is under way; a checkpoint keeps what was seen before a restart."""
        self.times = StepTimes()
        self._setup = setup
        self._first = progress.epochs * setup.steps_per_epoch
        self._seen = [progress.metrics] if progress.metrics else []

    def see(self, metrics: Mapping[str, jax.Array]) -> None:
        """Waits for the metrics of the next call, (F, steps) each.

        Raises:
          Diverged: a loss or a gradient is not finite, and such steps are not to be skipped.
        """
        metrics = parallel.fetch(metrics)
        if not self._setup.skip_non_finite:
            n_seen = sum(seen["loss"].shape[1] for seen in self._seen)
            refuse_divergence(metrics, self._setup, self._first + n_seen)
        self.times.lap(metrics["loss"].shape[1])
        self._seen.append(metrics)

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """Of all steps that were seen, (F, steps) each."""
        names = self._seen[0]
        return {name: np.concatenate([seen[name] for seen in self._seen], 1) for name in names}

    @property
    def skipped(self) -> np.ndarray:
        """(F, steps) bool."""
        return not_finite(self.metrics)

    def mean(self, name: str) -> list[float | None]:
        """A metric's mean per fold over the steps that were not skipped; None of no step."""
        return [
            float(values[~skipped].mean()) if not skipped.all() else None
            for values, skipped in zip(self.metrics[name], self.skipped, strict=True)
        ]

    def report(self, validation_loss: Sequence[float | None]) -> list[str]:
        """What to say of an epoch with skipping: a line for each fold that was not finite.

        Args:
          validation_loss: of each fold at the epoch's end; None where it is not finite.

        Raises:
          Diverged: no fold is left, with a finite step and a finite validation.
        """
        lines, lost, epoch = [], [], _epoch(self._setup, self._first)
        for split, skipped, loss in zip(
            self._setup.splits, self.skipped, validation_loss, strict=True
        ):
            lost.append(bool(skipped.all()) or loss is None)
            if skipped.any():
                lines.append(
                    f"epoch {epoch}: fold {split.fold} skipped {skipped.sum()} of {len(skipped)} "
                    "steps, whose loss or gradient was not finite"
                )
            if loss is None:
                lines.append(
                    f"epoch {epoch}: fold {split.fold} is not finite on its validation clips"
                )
        if all(lost):
            raise Diverged(
                f"all folds: the loss or the gradient was finite at no step of epoch {epoch}, or "
                f"its validation was not finite; {_kept(epoch)}; {_MEND}"
            )
        return lines


def not_finite(metrics: Mapping[str, np.ndarray]) -> np.ndarray:
    """(F, steps) bool: the steps of which the loss or the gradient is not finite."""
    return ~np.all([np.isfinite(metrics[name]) for name in _NAMES if name in metrics], axis=0)


def refuse_divergence(metrics: Mapping[str, np.ndarray], setup: Setup, n_before: int) -> None:
    """Stops a run before a state that is no longer finite is saved.

    Args:
      metrics: of the steps of a call, (F, steps) each; or "loss" alone, of the validation
        after a step, where that step's update shows.
      setup: of the run.
      n_before: steps of the run before these.

    Raises:
      Diverged: naming the first step and its fold.
    """
    bad = np.argwhere(not_finite(metrics).T)
    if len(bad):
        step, fold = bad[0]
        what = "gradient" if np.isfinite(metrics["loss"][fold, step]) else "loss"
        epoch = _epoch(setup, n_before)
        raise Diverged(
            f"fold {setup.splits[fold].fold}: the {what} is not finite at step "
            f"{n_before + step + 1} (epoch {epoch}); {_kept(epoch)}; {_MEND}"
        )


def _epoch(setup: Setup, n_before: int) -> int:
    return n_before // setup.steps_per_epoch + 1


def _kept(epoch: int) -> str:
    return f"epoch {epoch - 1} is saved" if epoch > 1 else "no epoch was finished"
