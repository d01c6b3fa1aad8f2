"""The loop of a run: epochs of steps, checkpoints, the log, and a stop when a signal asks."""

import contextlib
import dataclasses
import pathlib
import sys
import time
from collections.abc import Generator
from typing import Any, Protocol

import jax

from asc_jax.parallel import hosts
from asc_jax.parallel.mesh import describe_mesh
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import Checkpoints, Progress
from asc_jax.runs.curves import Curves
from asc_jax.runs.metrics_log import MetricsLog
from asc_jax.train.progress_bar import StepBar
from asc_jax.train.stop import StopSignal
from asc_jax.train.table import Table
from asc_jax.train.watch import Calls, EpochSteps


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """What some epochs have come to.

    Attributes:
      snapshot: that the next epoch begins with.
      lines: of each epoch, for `metrics.jsonl`.
      results: in short, for the user: a row each, under the task's heading.
      messages: for the user, a line each.
    """

    snapshot: Any
    lines: list[dict]
    results: list[str]
    messages: list[str]


class Task(Protocol):
    """A run, as the loop sees it. A snapshot is the tree that its checkpoints hold.

    Attributes:
      n_epochs: of the run.
      steps_per_epoch: of each epoch.
      look_every: epochs after which the run is looked at and saved.
      mesh: of the devices.
      heading: of the results of looks, lines of equal columns.
    """

    n_epochs: int
    steps_per_epoch: int
    look_every: int
    mesh: jax.sharding.Mesh
    heading: list[str]

    def restore(self, checkpoints: Checkpoints) -> tuple[Any, Progress]:
        """The newest whole checkpoint, or the beginning."""

    def describe_start(self, step: int) -> dict:
        """What this process trains the run by; see `provenance.describe`."""

    def curves(self) -> Curves:
        """Where the log's lines go besides."""

    def prepare(self, snapshot: Any, progress: Progress, log: MetricsLog) -> None:
        """Does what comes before the steps of this process."""

    def begin(self, progress: Progress) -> EpochSteps:
        """What sees the steps up to the next look."""

    def calls(self, progress: Progress) -> Generator[Any]:
        """What each call of the steps up to the next save takes."""

    def step(self, snapshot: Any, call: Any) -> tuple[Any, dict[str, jax.Array], int]:
        """Queues a call: the snapshot after it, its metrics on the devices, its number of steps."""

    def complete(self, snapshot: Any, progress: Progress) -> Any:
        """Adds what a checkpoint needs and no step has made."""

    def conclude(self, snapshot: Any, progress: Progress, steps: EpochSteps) -> Conclusion:
        """Looks at the run after the last step of an epoch, `look_every` after the look before."""

    def is_over(self, snapshot: Any, progress: Progress) -> str:
        """Why nothing is left to train, though epochs are; "" otherwise."""


def run_epochs(
    task: Task, workdir: pathlib.Path, *, keep: int, other_functions: bool
) -> tuple[Any, Progress]:
    """Carries out a run, from its newest checkpoint or the beginning to its end.

    Args:
      task: the run.
      workdir: its folder, held.
      keep: checkpoints that are kept.
      other_functions: continue even if the functions that trained it have changed since.

    Returns:
      The snapshot and the progress at the end.

    Raises:
      InputError: the folder cannot be used or written.
      Diverged: see the task.
      Stopped: by a signal, after a step that is saved.
    """
    with (
        Checkpoints(workdir / "checkpoints", keep=keep) as checkpoints,
        StopSignal() as stop,
    ):
        snapshot, progress = task.restore(checkpoints)
        start = task.describe_start(progress.step)
        how = {"allowed": other_functions, "mend": "use another --workdir"}
        provenance.refuse_another(workdir, start, step=progress.step, **how)
        over = progress.epochs < task.n_epochs and task.is_over(snapshot, progress)
        if over and hosts.is_first():
            print(f"{workdir}: {over}: training has ended", file=sys.stderr)
        if over or progress.epochs >= task.n_epochs:
            return snapshot, progress
        if hosts.is_first():
            print(describe_mesh(task.mesh), file=sys.stderr)
        provenance.add_start(workdir, start)
        # What comes before the first step is written anew where none was saved.
        done = progress.epochs if progress.step else -1
        with (
            MetricsLog(workdir / "metrics.jsonl", n_epochs_done=done, curves=task.curves()) as log,
            StepBar(task.n_epochs * task.steps_per_epoch, progress.step) as bar,
        ):
            task.prepare(snapshot, progress, log)
            steps = task.begin(progress)
            looks = Table(task.heading, task.n_epochs, task.steps_per_epoch)
            while progress.epochs < task.n_epochs:
                epochs = next_look(task, progress)
                bar.describe(f"epoch {epochs}/{task.n_epochs}")
                snapshot, progress = run_steps(task, snapshot, progress, steps, bar, stop)
                snapshot = task.complete(snapshot, progress)
                if progress.step == epochs * task.steps_per_epoch:
                    concluded = task.conclude(snapshot, progress, steps)
                    snapshot = concluded.snapshot
                    for message in concluded.messages if hosts.is_first() else ():
                        bar.write(message)
                    # In this order: a line without its checkpoint is dropped on restart, but a
                    # checkpoint without its line would leave a gap in the log.
                    for line in concluded.lines:
                        log.write(line)
                    looks.add(concluded.lines[-1], concluded.results)
                    progress = Progress(progress.step, epochs, lost=steps.lost)
                    steps = task.begin(progress)
                checkpoints.save(progress, snapshot)
                if over := task.is_over(snapshot, progress):
                    if hosts.is_first():
                        bar.write(f"{over}: training ends here")
                    break
                if progress.epochs < task.n_epochs:
                    stop.leave_if_requested(checkpoints, progress.step)
        checkpoints.wait()
    return snapshot, progress


def next_look(task: Task, progress: Progress) -> int:
    """How many epochs are done when the run is looked at next."""
    return min((progress.epochs // task.look_every + 1) * task.look_every, task.n_epochs)


def run_steps(
    task: Task, snapshot: Any, progress: Progress, steps: EpochSteps, bar, stop: StopSignal
) -> tuple[Any, Progress]:
    """The steps up to the next save, or until a signal.

    Args:
      task: the run.
      snapshot: at `progress`.
      progress: where the run stands.
      steps: up to the next look; sees these.
      bar: of the run.
      stop: a signal ends this after the call under way; see `Calls`.

    Returns:
      The snapshot, and the progress.

    Raises:
      Diverged: see the task.
    """
    started, done = time.perf_counter(), progress.step
    under_way = Calls(steps.times)
    with contextlib.closing(task.calls(progress)) as calls:
        for call in calls:
            snapshot, metrics, n_steps = task.step(snapshot, call)
            due = under_way.add(metrics, n_steps)
            done += n_steps
            bar.update(n_steps)
            if due:
                steps.see(under_way.fetch_ended())
                if stop.requested:
                    break
    steps.see(under_way.fetch_all())
    seconds = progress.seconds + time.perf_counter() - started
    return snapshot, Progress(done, progress.epochs, seconds, steps.metrics, steps.lost)
