"""Trains GANs: their folder, their epochs, and evaluations of their clips."""

import json
import pathlib
from collections.abc import Generator, Mapping, Sequence

import flax.struct
import jax
import numpy as np

from asc_jax.config.load import check_gan_config, flatten, to_json
from asc_jax.data import decoding
from asc_jax.gan import monitor
from asc_jax.gan.corpora import refuse_other_corpora, write_corpora
from asc_jax.gan.embedder import (
    Classifier,
    compile_recogniser,
    refuse_other_classifier,
    write_classifier,
)
from asc_jax.gan.setup import GanSetup, set_up_gan
from asc_jax.gan.steps import BestGenerator, WaveGanState, compile_steps
from asc_jax.parallel import hosts
from asc_jax.parallel.agreement import refuse_unlike
from asc_jax.parallel.arrays import fetch, put, shapes_per_fold
from asc_jax.parallel.mapping import PER_FOLD
from asc_jax.parallel.mesh import one_device
from asc_jax.parallel.programs import name_program
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import Checkpoints, Progress
from asc_jax.runs.curves import Curves, refuse_missing
from asc_jax.runs.folder import FREE_FIELDS, hold, refuse_foreign_folder
from asc_jax.runs.inputs import with_named_precision
from asc_jax.runs.metrics_log import MetricsLog
from asc_jax.runtime.errors import Diverged
from asc_jax.runtime.files import write_whole
from asc_jax.train.epochs import Conclusion, run_epochs
from asc_jax.train.watch import EpochSteps, StepTimes, epoch_fields


@flax.struct.dataclass
class Snapshot:
    """All that a GAN run's checkpoint holds.

    Attributes:
      state: of all GANs (G).
      best: each GAN's best generator.
      suspicion: (G,) int32, how many evaluations in a row found each collapsed.
      was_running: (G,) bool, which ran when the epoch began.
    """

    state: WaveGanState
    best: BestGenerator
    suspicion: np.ndarray
    was_running: np.ndarray


def train(config, workdir: pathlib.Path, *, other_functions: bool = False) -> None:
    """Trains all GANs of a config, from the start or from the state of the run folder.

    Args:
      config: a checked and frozen config of a GAN.
      workdir: the run folder; created if it does not exist.
      other_functions: continue even if the functions that trained the GANs, or the classifier, have
        changed since.

    Raises:
      InputError: the classifier, the data, the config or the folder cannot be used.
      Diverged: all GANs have stopped, and no evaluation found a generator to keep.
    """
    config = with_named_precision(config, workdir)
    refuse_missing(config.train.writers)
    with hold(workdir):
        # The evaluations that choose the best generator use merged clips.
        free = free_fields(config) - {"synthesis.merge"}
        refuse_foreign_folder(workdir, config, check=check_gan_config, free=free)
        setup = set_up_gan(config, config.train.mesh, other_functions=other_functions)
        refuse_other_corpora(workdir / "corpora.json", setup.dataset, setup.corpora)
        refuse_other_classifier(workdir / "classifier.json", setup.classifier)
        # Not before: wrong input leaves no folder behind.
        if hosts.is_first():
            write_whole(workdir / "config.json", to_json(config))
            write_corpora(workdir / "corpora.json", setup.dataset, setup.corpora)
        write_classifier(workdir / "classifier.json", setup.classifier)
        task = Training(setup, config, workdir)
        keep = config.train.keep_checkpoints
        now, _ = run_epochs(task, workdir, keep=keep, other_functions=other_functions)
    running, kept = fetch((now.state.running, now.best.epoch))
    if not (running.any() or kept.any()):
        raise Diverged(
            f"{workdir}: all GANs stopped before an evaluation found a generator to keep; "
            "train again with a smaller gan.lr, another gan.loss or another seed, in "
            "another --workdir"
        )


class Training:
    """The training of all GANs, a task of `run_epochs`."""

    def __init__(self, setup: GanSetup, config, workdir: pathlib.Path):
        self.n_epochs, self.steps_per_epoch = config.train.epochs, config.train.steps_per_epoch
        self.look_every, self.mesh = 1, setup.mesh
        self.heading = ["wasserstein  frechet distance"]
        self._setup, self._workdir, self._config = setup, workdir, config
        self._save_every = config.train.save_every
        self._seed, self._n_clips = config.seed, config.train.watch_clips
        self._real = []

    def restore(self, checkpoints: Checkpoints) -> tuple[Snapshot, Progress]:
        return restore(self._setup, checkpoints)

    def describe_start(self, step: int) -> dict:
        return describe_start(self._setup, step=step, training=True)

    def curves(self) -> Curves:
        names = [corpus.name for corpus in self._setup.corpora]
        return Curves(names, self._config.train.writers, flatten(self._config))

    def prepare(self, snapshot: Snapshot, progress: Progress, log: MetricsLog) -> None:
        setup, seed = self._setup, self._seed
        self._real = monitor.embed_real(setup, seed=seed, n_clips=self._n_clips)
        if not progress.step:
            # Untrained generators: what every later distance is to be read against.
            untrained, _ = self._look(snapshot.state)
            monitor.write_samples(
                self._workdir, setup, "real", *monitor.some_real_clips(setup, seed=seed)
            )
            log.write({"epoch": 0, "seconds": 0.0, "clips_per_second": 0.0} | untrained)

    def begin(self, progress: Progress) -> EpochSteps:
        return Iterations(progress)

    def calls(self, progress: Progress) -> Generator:
        """One call per iteration."""
        left = (progress.epochs + 1) * self.steps_per_epoch - progress.step
        yield from range(min(left, self._save_every or left))

    def step(self, snapshot: Snapshot, call: int) -> tuple[Snapshot, dict, int]:
        setup = self._setup
        state, metrics = setup.steps.train(snapshot.state, setup.pool, setup.source)
        return snapshot.replace(state=state), metrics, 1

    def complete(self, snapshot: Snapshot, progress: Progress) -> Snapshot:
        return snapshot

    def conclude(self, snapshot: Snapshot, progress: Progress, steps: EpochSteps) -> Conclusion:
        """Looks at what the GANs generate, stops those that have collapsed, keeps the best."""
        setup = self._setup
        seen, waveforms = self._look(snapshot.state)
        labels = monitor.clip_labels(setup, self._n_clips)
        monitor.write_samples(self._workdir, setup, "generated", waveforms, labels)
        line = log_line(setup, progress, snapshot.was_running, steps.times) | seen
        snapshot, messages = after_look(setup, snapshot, seen, line["epoch"])
        distance = np.mean([monitor.or_nan(d) for d in seen["frechet_distance"]])
        wasserstein = np.mean(progress.metrics["wasserstein"][-1])
        return Conclusion(snapshot, [line], [f"{wasserstein:11.3g}  {distance:16.3g}"], messages)

    def is_over(self, snapshot: Snapshot, progress: Progress) -> str:
        running = progress.metrics or fetch(snapshot.state.running).any()
        return "" if running else "no GAN is left running"

    def _look(self, state: WaveGanState) -> tuple[dict[str, list], np.ndarray]:
        return monitor.look(self._setup, state, self._real, seed=self._seed, n_clips=self._n_clips)


class Iterations(EpochSteps):
    """The iterations of an epoch, (steps, G) of each metric."""

    def __init__(self, progress: Progress):
        super().__init__(progress, axis=0)

    def see(self, calls: Sequence[Mapping[str, np.ndarray]]) -> None:
        super().see([{name: value[None] for name, value in one.items()} for one in calls])


def free_fields(config) -> set[str]:
    """What a GAN's run may change on the way: how long it takes, and what comes after it."""
    later = {field for field in flatten(config) if field.startswith("synthesis.")}
    return FREE_FIELDS | later | {"train.epochs"}


def name_programs(
    setup: GanSetup, classifier: Classifier, *, sr: int, how: str, training: bool = False
) -> dict[str, str | None]:
    """Names what generates a GAN's clips and recognises them; see `provenance`.

    Args:
      setup: of the run.
      classifier: that recognises.
      sr: of the waveforms that it is given, Hz.
      how: see `asc_jax.gan.segments.merge`.
      training: whether to name what trains the GAN, too.
    """
    mesh = one_device()
    array = jax.ShapeDtypeStruct
    of_one = lambda tree: shapes_per_fold(
        jax.tree.map(lambda leaf: array(leaf.shape[1:], leaf.dtype), tree), 1, mesh
    )
    steps = compile_steps(mesh, setup.networks, n_samples=setup.decoding.n_samples, how=how)
    like = of_one(setup.like)
    source = of_one(setup.source).replace(clips=array((1, 1), np.int32))
    key_data, labels = array((1, 2), np.uint32), array((1, 1), np.int32)
    recognise = compile_recogniser(classifier, mesh, sr=sr)
    waveforms = array((1, 1, round(classifier.config.data.clip_seconds * sr)), np.float32)
    programs = {
        "generate": name_program(steps.generate, like.generator, source, key_data, labels),
        "recognise": name_program(recognise, of_one(classifier.state), waveforms),
    }
    if training:
        clip = jax.tree.map(lambda leaf: array((1, *leaf.shape[1:]), leaf.dtype), setup.pool)
        chosen = array((1,), np.float32), array((1,), np.int32)
        best = BestGenerator(like.generator, *chosen)
        programs["train"] = name_program(steps.train, like, clip, source)
        programs["keep_best"] = name_program(steps.keep_best, best, like.generator, *chosen)
    return programs


def describe_start(setup: GanSetup, *, step: int = 0, training: bool = False) -> dict:
    """What this process trains GANs by, or takes them up by; see `asc_jax.runs.provenance`.

    Args:
      setup: of the run.
      step: the step from which it is resumed.
      training: whether it trains and evaluates the GANs.

    Raises:
      InputError: several processes would not compute the same.
    """
    # Segments one after the other: how they are merged may change after training.
    programs = name_programs(
        setup, setup.classifier, sr=setup.sr, how="concatenate", training=training
    )
    answers = {"decoding": decoding.answer(setup.decoding)}
    if training:
        answers["looks"] = monitor.answer()
    refuse_unlike(json.dumps(programs, sort_keys=True))
    return provenance.describe(setup.mesh, programs, answers, step=step)


def after_look(
    setup: GanSetup, now: Snapshot, seen: dict, epoch: int
) -> tuple[Snapshot, list[str]]:
    """Stops GANs that have collapsed, and keeps each one's best generator.

    Args:
      setup: of the run.
      now: at the end of the epoch.
      seen: figures, from `look`.
      epoch: from 1.

    Returns:
      What the next epoch begins with, and messages for the user.
    """
    state, suspicion, messages = monitor.stop_collapsed(
        setup, now.state, now.was_running, seen, now.suspicion
    )
    distances = np.array([monitor.or_nan(d) for d in seen["frechet_distance"]], np.float32)
    # A collapsed generator near the middle of the real clips is not the best.
    running = np.array(fetch(state.running))
    distances[~running | (suspicion > 0)] = np.nan
    epochs = np.full(distances.shape, epoch, np.int32)
    this = put((distances, epochs), setup.mesh, PER_FOLD)
    best = setup.steps.keep_best(now.best, state.generator, *this)
    return Snapshot(state, best, suspicion, running), messages


def restore(setup: GanSetup, checkpoints: Checkpoints) -> tuple[Snapshot, Progress]:
    """The newest whole checkpoint, or the beginning."""
    n_gans = len(setup.corpora)
    before_any = np.float32(np.inf), np.int32(0)  # distance and number of the best epoch
    on_host = np.zeros(n_gans, np.int32), np.ones(n_gans, bool)
    shapes = shapes_per_fold(before_any, n_gans, setup.mesh)
    best = BestGenerator(setup.like.generator, *shapes)
    if found := checkpoints.restore(Snapshot(setup.like, best, *on_host)):
        return found
    state = setup.init()
    copy = jax.tree.map(lambda leaf: leaf.copy(), state.generator)
    rest = [np.full(n_gans, value) for value in before_any]
    rest = put(rest, setup.mesh, PER_FOLD)
    return Snapshot(state, BestGenerator(copy, *rest), *on_host), Progress()


def log_line(
    setup: GanSetup, progress: Progress, was_running: np.ndarray, times: StepTimes
) -> dict:
    """What `metrics.jsonl` says of an epoch's training; its metrics are (steps, G) each.

    A GAN that was stopped before has no figures: null.
    """
    n_clips = progress.metrics["wasserstein"].size * setup.networks.batch_size
    return {
        **epoch_fields(progress, times, n_clips, setup.mesh),
        **{
            name: [
                monitor.number(float(value))
                for value in np.where(was_running, values.mean(axis=0), np.nan)
            ]
            for name, values in progress.metrics.items()
        },
    }
