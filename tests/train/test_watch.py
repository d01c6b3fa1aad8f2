"""Steps that are not finite: seen at once, skipped for one fold alone, counted; the log's times."""

import contextlib
import dataclasses
import functools
import re
import signal
import types

import jax
import numpy as np
import pytest
from checkout import CONFIGS
from jax.experimental import multihost_utils
from small_model import init_state, make_model

from asc_jax.config.load import load_config
from asc_jax.data import batches
from asc_jax.parallel.arrays import fetch, put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import make_mesh
from asc_jax.report.drawing import learning_curves
from asc_jax.report.figures import learning_curves_figure
from asc_jax.runs.checkpoint import Progress
from asc_jax.runtime.errors import Diverged, Stopped
from asc_jax.train import classifier, loop, table, watch
from asc_jax.train.epochs import run_steps
from asc_jax.train.feed import Feed
from asc_jax.train.stop import StopSignal
from asc_jax.train.watch import StepTimes, Watch, diverged_runs

N_STEPS, PER_CALL = 12, 2


@dataclasses.dataclass
class FakeSetup:
    """As much of a `Setup` as an epoch needs, with a step that computes nothing.

    Attributes:
      losses: (F, steps) that the steps give.
      non_finite: as in a config.
      calls: of the step so far.
      done: steps of these.
    """

    splits: tuple
    losses: np.ndarray
    non_finite: str = "stop"
    steps_per_epoch: int = N_STEPS
    steps_per_call: int = PER_CALL
    calls: int = 0
    done: int = 0
    seeds: int = 0
    save_every: int = 0
    mesh: jax.sharding.Mesh = dataclasses.field(default_factory=lambda: make_mesh(1, 1))

    names: tuple = ("",)

    @property
    def model(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(partners=False)

    @property
    def runs(self) -> tuple:
        return tuple(name for name in self.names for _ in range(4 // len(self.names)))

    @functools.cached_property
    def config(self):
        fields = {"epochs": 9, "batch_size": 8}
        fields |= {"save_every": self.save_every, "non_finite": self.non_finite}
        words = [f"--config.train.{name}={value}" for name, value in fields.items()]
        return load_config(CONFIGS / "demo.py", words)

    def learning_rates(self, step: int) -> list[float]:
        return [0.1 * step] * 4

    @property
    def feed(self) -> Feed:
        calls = lambda indices: ((None, clips) for clips in indices)
        return Feed("device", np.zeros(40, np.int32), None, calls)

    def train_steps(self, state, pool, clips):
        first, self.done = self.done, self.done + clips.shape[1]
        self.calls += 1
        losses = self.losses[:, first : self.done]
        return state, {"loss": losses, "accuracy": losses, "gradient_norm": np.abs(losses)}


BAR = types.SimpleNamespace(update=lambda n=1: None)


def run_epoch(setup: FakeSetup, epoch: int = 3, stop=None) -> tuple[Progress, Watch]:
    stop = stop or types.SimpleNamespace(requested=False)
    progress = Progress((epoch - 1) * N_STEPS, epoch - 1)
    task = loop.Training(setup, None)
    watch = task.begin(progress)
    while progress.step < epoch * N_STEPS:
        _, progress = run_steps(task, {"state": None}, progress, watch, BAR, stop)
    return progress, watch


@contextlib.contextmanager
def diverged(*named: str):
    """The block ends with a line for the last run, in which these are named."""
    with pytest.raises(Diverged) as ended:
        yield ended
    line = str(ended.value).splitlines()[-1]
    assert all(re.search(rf"\b{name}\b", line) for name in named), line


def with_bad(*places: tuple[int, int], value=np.nan) -> np.ndarray:
    losses = np.tile(np.arange(1.0, N_STEPS + 1), (4, 1))
    for place in places:
        losses[place] = value
    return losses


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_step_ends_the_run_within_a_call(small_splits, value):
    setup = FakeSetup(small_splits, with_bad((2, 5), (1, 8), value=value))
    with diverged("fold 3", "loss", "step 30", "epoch 3", "epoch 2"):
        run_epoch(setup)
    assert setup.calls == 4  # the step is in the third; the fourth was under way


def test_before_any_update_the_learning_rate_is_no_cause(small_splits):
    for step in (0, 1):
        with diverged("fold 2", f"step {step + 1}") as ended:
            run_epoch(FakeSetup(small_splits, with_bad((1, step))), epoch=1)
        assert ("optimizer.lr" in str(ended.value)) == (step > 0)


@pytest.fixture
def asks(monkeypatch):
    """As one of two processes: what both do together, metrics of so many calls or a signal."""
    asks = []

    def gather(flag):
        asks.append("signal")
        return np.stack([flag, flag])

    def fetch_together(tree):
        asks.extend([len(tree)] if tree else [])
        return fetch(tree)

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", gather)
    monkeypatch.setattr(watch, "fetch", fetch_together)
    return asks


def test_several_processes_ask_one_another_every_eight_steps(small_splits, asks):
    """Between them calls are queued without a word to the others; metrics wait on the devices."""
    setup = FakeSetup(small_splits, with_bad())
    with StopSignal() as stop:
        progress, _ = run_epoch(setup, stop=stop)
    assert asks == [3, "signal", 3]  # of six calls; the fourth was under way
    np.testing.assert_array_equal(progress.metrics["loss"], setup.losses)


@pytest.mark.parametrize(("step", "calls"), [(2, 4), (6, 6), (11, 6)])
def test_several_processes_see_a_bad_step_before_anything_is_saved(small_splits, asks, step, calls):
    setup = FakeSetup(small_splits, with_bad((2, step)))
    with diverged(f"step {25 + step}"):
        run_epoch(setup)
    assert setup.calls == calls


def test_a_signal_to_one_of_several_processes_ends_the_steps_when_all_ask(small_splits, asks):
    setup = FakeSetup(small_splits, with_bad())
    with contextlib.suppress(Stopped), StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        task, progress = loop.Training(setup, None), Progress()
        watch = task.begin(progress)
        _, progress = run_steps(task, {"state": None}, progress, watch, BAR, stop)
        assert progress.step == 8
        raise Stopped("as it was asked to")


def test_a_gradient_and_the_last_validation_are_watched(small_splits):
    setup = FakeSetup(small_splits, with_bad())
    metrics = {"loss": np.ones((4, 2)), "gradient_norm": np.array([[1, 1], [1, np.inf]] * 2)}
    (where,) = diverged_runs(metrics, setup, 0).values()
    assert all(word in where for word in ("fold 2", "gradient", "step 2", "epoch 1"))
    _, watch = run_epoch(setup, epoch=1)
    with diverged("fold 4", "loss", "step 12", "epoch 1"):
        watch.report([1.0, 1.0, 1.0, None])


def test_a_run_of_several_that_diverges_is_lost_and_the_last_one_ends_them(small_splits):
    setup = FakeSetup(small_splits, with_bad((2, 5), (3, 4)), names=("a", "b"))
    progress, watch = run_epoch(setup)
    assert setup.calls == N_STEPS // PER_CALL
    lost = progress.lost
    assert watch.lost == lost and lost.keys() == {"b"}
    assert "fold 4" in lost["b"] and "step 29" in lost["b"]
    (line,) = watch.report([1.0, 1.0, None, 1.0])
    assert line.startswith(f"b: {lost['b']}")
    again = Watch(setup, Progress(36, 3, lost=lost))  # as a checkpoint keeps it
    with diverged("a", "fold 1", "step 37", "epoch 4", "epoch 3") as ended:
        again.see([dict.fromkeys(("loss", "gradient_norm"), np.full((4, 1), np.inf))])
    assert str(ended.value).startswith(f"b: {lost['b']}")


def test_a_run_of_several_without_a_finite_fold_is_lost_with_skipping(small_splits):
    """As it would be alone; one that has a finite fold goes on."""
    bad = [(model, step) for model in (1, 2, 3) for step in range(N_STEPS)]
    setup = FakeSetup(small_splits, with_bad(*bad), non_finite="skip", names=("a", "b"))
    _, watch = run_epoch(setup)
    lost, skipped, *_ = watch.report([1.0, 1.0, None, 1.0])
    assert watch.lost.keys() == {"b"} and lost.startswith("b: ")
    assert "a: fold 2" in skipped and re.findall("12", skipped) == ["12", "12"]


@pytest.mark.parametrize("save_every", [0, 4])
def test_skipped_steps_are_counted_and_left_out_of_the_means(small_splits, save_every):
    bad = with_bad((1, 0), (1, 11))
    setup = FakeSetup(small_splits, bad, non_finite="skip", save_every=save_every)
    progress, watch = run_epoch(setup)
    (message,) = watch.report([1.0] * 4)
    assert re.findall(r"\d+", message) == ["3", "2", "2", "12"]  # epoch, fold, steps, of
    (line,) = loop.log_lines(setup, dataclasses.replace(progress, seconds=2.0), watch)
    assert line["skipped_steps"] == [0, 2, 0, 0] and line["non_finite"] == "skip"
    assert line["loss"] == line["gradient_norm"] == [6.5] * 4
    assert line["learning_rate"] == [0.1 * (3 * N_STEPS - 1)] * 4  # of the last step
    assert line["clips_per_second"] == 4 * N_STEPS * 8 / 2.0
    assert 0 <= line["seconds_per_step"] <= line["seconds_of_worst_step"] < 10


def test_folds_without_a_finite_step_or_validation_are_null_and_the_last_one_ends_the_run(
    small_splits,
):
    bad = [(3, step) for step in range(N_STEPS)]
    setup = FakeSetup(small_splits, with_bad(*bad), non_finite="skip")
    progress, watch = run_epoch(setup)
    (line,) = loop.log_lines(setup, dataclasses.replace(progress, seconds=2.0), watch)
    assert line["loss"] == [6.5, 6.5, 6.5, None]
    lost, skipped = watch.report([1.0, None, 1.0, 1.0])
    assert "fold 2" in lost and "fold 4" in skipped
    with diverged("epoch 3", "epoch 2"):
        watch.report([None, None, None, 1.0])


def test_a_fold_that_is_not_finite_on_its_validation_clips_has_no_figures(
    small_splits, monkeypatch
):
    def predict(setup, state, lists):
        logits = [np.zeros((len(clips), 3)) for clips in lists]
        logits[1][0] = np.nan
        return logits

    monkeypatch.setattr(loop, "predict", predict)
    setup = FakeSetup(small_splits, with_bad())
    progress, watch = run_epoch(setup)
    progress = dataclasses.replace(progress, seconds=1.0)
    line = loop.log_lines(setup, progress, watch)[0] | loop.validate(setup, None)
    for name in ("validation_loss", "validation_accuracy"):
        assert [value is None for value in line[name]] == [False, True, False, False]
    (row,) = table.results(line, setup.runs)
    assert "nan" not in row and len(row.split()) == len(table.heading(setup)[-1].split())
    # The page's curves have that fold's training alone.
    log = [line, line | {"epoch": 4}]
    assert all("<path" in chart.svg for chart in learning_curves(log, []))
    assert "<path" in learning_curves_figure(log)


def test_step_times_are_of_whole_calls_after_the_first(monkeypatch):
    clock = iter([10.0, 10.4, 12.4, 12.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    times = StepTimes()
    times.lap(4)
    assert times.log_fields() == {"seconds_per_step": None, "seconds_of_worst_step": None}
    for n_steps in (4, 4, 1):
        times.lap(n_steps)
    fields = times.log_fields()
    assert fields["seconds_per_step"] == pytest.approx(0.1)
    assert fields["seconds_of_worst_step"] == pytest.approx(0.5)


@pytest.fixture(scope="module")
def train(small_pool, small_splits, small_model):
    """Six steps with skipping, of a pool: the last state and metrics (F, steps)."""
    mesh = make_mesh(4, 8, shape=(1, 1))
    model = make_model({**small_model, "stage_sizes": (1,), "stage_strides": (1,), "se_ratio": 0})
    start = init_state(model, small_splits, small_pool)
    steps = classifier.compile_steps(mesh, model, skip_non_finite=True)
    indices = batches.epoch_indices(small_splits, seed=1, epoch=0, n_steps=6, batch_size=8)

    def train(pool, change=lambda state: state):
        pool = put(pool, mesh, SHARED)
        state = put(change(start), mesh, PER_FOLD)
        collected = []
        for i in range(6):
            state, metrics = steps.train(state, pool, indices[:, i : i + 1])
            collected.append(jax.device_get(metrics))
        metrics = {name: np.concatenate([m[name] for m in collected], 1) for name in collected[0]}
        return jax.device_get(state), metrics

    return types.SimpleNamespace(train=train, start=start, indices=indices)


def assert_equal(tree, other) -> None:
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_a_diverging_fold_stays_and_leaves_the_others_alone(train, small_pool):
    whole, expected = train.train(small_pool)
    assert np.isfinite(expected["loss"]).all()
    means = train.start.band_mean.copy()
    means[1] = np.nan
    spoilt, found = train.train(small_pool, lambda state: state.replace(band_mean=means))
    assert np.isnan(found["loss"][1]).all()
    for fold in (0, 2, 3):
        one = functools.partial(jax.tree.map, lambda leaf, fold=fold: leaf[fold])
        assert_equal(one(found), one(expected))
        assert_equal(one(spoilt), one(whole))
    stays = lambda s: jax.tree.map(lambda x: x[1], (s.params, s.batch_stats, s.opt_state))
    assert_equal(stays(spoilt), stays(train.start))
    assert (spoilt.step == 6).all()


def test_only_the_steps_of_a_bad_clip_are_skipped(train, small_pool):
    clip = int(train.indices[0, 2, 0, 0])  # of the third step of the first fold
    scale = small_pool.scale.copy()
    scale[clip] = np.nan
    state, metrics = train.train(small_pool.replace(scale=scale))
    drawn = (train.indices[..., 0] == clip).any(axis=2)
    assert drawn[0, 2] and not drawn.all(axis=1).any()
    np.testing.assert_array_equal(~np.isfinite(metrics["loss"]), drawn)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
