"""Averaged weights: what is in the mean, statistics made anew, and which network is scored."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from refusals import refused
from small_model import init_state, make_model

import asc_jax
from asc_jax.data import batches
from asc_jax.experiments.together import train_together
from asc_jax.models.resnet import ResNet
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import DATA, make_mesh
from asc_jax.runs.checkpoint import Checkpoints
from asc_jax.runs.folder import read_config
from asc_jax.runs.inputs import read_data
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runtime.errors import Stopped
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train import classifier
from asc_jax.train.averaging import Averaging, of_batch
from asc_jax.train.loop import refuse_other_rates, train
from asc_jax.train.restore import restore_chosen, snapshot_like
from asc_jax.train.setup import set_up
from asc_jax.train.start import describe_use
from asc_jax.train.statistics import make_statistics
from benchmarks.fault_subjects import end_of_training

N_STEPS, BATCH_SIZE = 6, 8
NETWORK = ResNet(3, stage_sizes=(1,), stage_strides=(2,), width=4, axis_name=DATA)


class Own(nn.Module):
    """A user's network: flax's normalisation, and collections of its own."""

    n_classes: int

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.99)(x)
        count = self.variable("counts", "steps", jnp.zeros, (), jnp.int32)
        peak = self.variable("peaks", "peak", jnp.ones, ())
        if train:
            count.value += 1
            peak.value = 0.5 * peak.value + 0.5 * x.max()
        return nn.Dense(self.n_classes)(x.mean(1))


@pytest.fixture
def fold(small_pool, small_splits):
    """A function: trains two folds; every state, the last with statistics, and more."""

    def train(network, averaging, *, shape=(1, 1), accumulate=1):
        mesh = make_mesh(2, BATCH_SIZE // accumulate, shape=shape)
        model = make_model(network, optimizer="sgd", schedule="constant")
        model = dataclasses.replace(model, averaging=averaging, accumulate=accumulate)
        splits = small_splits[:2]
        steps = classifier.compile_steps(mesh, model)
        states = [init_state(model, splits, small_pool)]
        clips = batches.epoch_indices(
            splits, seed=7, epoch=0, n_steps=N_STEPS, batch_size=BATCH_SIZE
        )
        pool, state = put(small_pool, mesh, SHARED), put(states[0], mesh, PER_FOLD)
        for i in range(N_STEPS):
            state, _ = steps.train(state, pool, clips[:, i : i + 1])
            states.append(jax.device_get(state))
        made = lambda: steps.statistics(state, pool, clips, np.arange(N_STEPS, dtype=np.int32))
        return states, made, clips, model

    return train


@pytest.mark.parametrize("averaging", [Averaging(0.8), Averaging(1.0, after=3)], ids=str)
def test_the_average_is_that_of_the_steps_parameters(fold, averaging):
    states, *_ = fold(Own(3), averaging)
    for n in range(1, N_STEPS + 1):
        first = averaging.after + 1 if n > averaging.after else n
        steps = np.arange(first, n + 1)
        weights = averaging.decay ** (n - steps)
        expected = jax.tree.map(
            lambda *leaves, w=weights: np.average(np.float64(leaves), axis=0, weights=w),
            *(states[i].params for i in steps),
        )
        found = states[n].average.params
        close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
        jax.tree.map(close, found, expected)
    kernel = lambda params: params["Dense_0"]["kernel"]
    assert abs(kernel(found) - kernel(states[-1].params)).max() > 1e-4


def test_steps_that_are_left_out_are_in_no_average():
    averaging, zeros = Averaging(0.9), {"a": jnp.zeros(2)}
    average = averaging.begin({"a": jnp.full(2, 5.0)}, {})
    # The first step was not finite, so nothing has been taken in before the second.
    average = averaging.update(average, zeros, jnp.int32(1))
    np.testing.assert_array_equal(average.params["a"], 0)


def inputs_of(model, state, pool, clips):
    """(F, S, B, N, M) what the network is given in training, without augmentation."""
    log_mels = pool.values[clips[..., 0]] * np.float32(1e-3) - 5
    mean, std = (x[:, None, None, None] for x in (state.band_mean, state.band_std))
    return (log_mels - mean) / std


@pytest.mark.parametrize(
    ("network", "accumulate"), [(NETWORK, 1), (Own(3), 2)], ids=["ours", "own"]
)
def test_statistics_are_the_mean_over_batches_of_each_ones(fold, small_pool, network, accumulate):
    """Computed directly: with a momentum of 0 a statistic is that of the last batch."""
    states, made, clips, model = fold(network, Averaging(0.8), accumulate=accumulate)
    last = jax.device_get(made())
    inputs = inputs_of(model, last, small_pool, clips)[0]
    parts = inputs.reshape(-1, BATCH_SIZE // accumulate, *inputs.shape[2:])
    params = jax.tree.map(lambda leaf: leaf[0], last.average.params)
    own = jax.tree.map(lambda leaf: leaf[0], last.untrained)
    plain = network.clone(axis_name=None) if network is NETWORK else network

    @jax.jit
    def updated(part):
        return plain.apply({"params": params} | own, part, train=True, mutable=list(own))[1]

    momentum = {"batch_stats": 0.9 if network is NETWORK else 0.99, "peaks": 0.5}
    each = [dict(updated(part)) for part in parts]
    found = jax.tree.map(lambda leaf: leaf[0], last.average.untrained)
    for name, m in momentum.items():
        if name not in own:
            continue
        alone = [
            jax.tree.map(
                lambda new, old, m=m: (np.float64(new) - m * old) / (1 - m), one[name], own[name]
            )
            for one in each
        ]
        expected = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *alone)
        close = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5)
        jax.tree.map(close, found[name], expected)
    if network is not NETWORK:
        assert found["counts"]["steps"] == own["counts"]["steps"] + 1
    assert not np.allclose(jax.tree.leaves(found)[0], jax.tree.leaves(own)[0], rtol=1e-3)
    jax.tree.map(np.testing.assert_array_equal, last.replace(average=None),
                 states[-1].replace(average=None))  # fmt: skip


def test_what_is_no_moving_average_is_taken_as_it_is():
    before = {"a": jnp.float32(1e4), "total": jnp.float32(3), "unit": jnp.array([0.6, 0.8])}

    def update(now):
        direction = jnp.array([[2.0, 1.0], [1.0, 2.0]]) @ now["unit"]
        return {
            "a": 0.99 * now["a"] + 0.01 * 2e4,
            "total": now["total"] + 1,
            "unit": direction / jnp.linalg.norm(direction),
        }

    found = of_batch(update, before)
    np.testing.assert_allclose(found["a"], 2e4, rtol=1e-5)
    assert found["total"] == 4 and of_batch(lambda none: none, {}) == {}


def test_no_mesh_changes_the_average_or_its_statistics(fold):
    train = functools.partial(fold, NETWORK, Averaging(0.8))
    one, other = (jax.device_get(train(shape=shape)[1]().average) for shape in ((1, 1), (2, 4)))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, other, one)


def test_nothing_is_averaged_unless_it_is_asked_for(small_pool, small_splits):
    model = make_model(NETWORK)
    with_average = dataclasses.replace(model, averaging=Averaging(0.9))
    plain, averaged = (init_state(one, small_splits, small_pool) for one in (model, with_average))
    assert len(jax.tree.leaves(plain)) == len(jax.tree.leaves(averaged.scored))
    assert plain.average is None and plain.scored is plain
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, plain, averaged.scored)


FIELDS = (
    "optimizer.name=sgd", "optimizer.lr=0.01", "optimizer.schedule=constant", "train.epochs=3",
    "train.mesh=(1, 1)",
)  # fmt: skip
EMA, SWA = ("train.average=ema", "train.ema_decay=0.9"), ("train.average=swa",)


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    """A run whose averaged network is scored."""
    folder = tmp_path_factory.mktemp("averaged") / "run"
    train(small.config(scenes, *FIELDS, *EMA), folder)
    return folder


def opened(folder):
    """A run's newest checkpoint, and what is scored of it."""
    config = read_config(folder)
    setup = set_up(config, *read_data(config), mesh_shape=config.train.mesh)
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        snapshot, _ = checkpoints.restore(snapshot_like(setup.like, choosing=setup.choosing))
    state = restore_chosen(folder, config, setup.like)[0]
    return jax.device_get(snapshot), jax.device_get(state), setup


def assert_equal(a, b) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_run_that_was_stopped_ends_with_the_same_average(scenes, run, tmp_path, stop_at_step):
    """And what was saved within an epoch is a whole averaged network."""
    config, folder = small.config(scenes, *FIELDS, *EMA), tmp_path / "run"
    stop_at_step(7)
    with pytest.raises(Stopped):
        train(config, folder)
    report = evaluate(folder)
    assert "step 7" in report["training"]["note"] and "(ema)" in report["training"]["note"]
    snapshot, state, setup = opened(folder)
    average = snapshot["state"].average
    assert (average.count == 7).all()
    of_now = make_statistics(setup, put(snapshot["state"], setup.mesh, PER_FOLD), epoch=1)
    assert_equal(average, jax.device_get(of_now.average))
    assert_equal((state.params, state.untrained), (average.params, average.untrained))
    train(config, folder)
    assert end_of_training(folder) == end_of_training(run)
    assert_equal(opened(folder)[0], opened(run)[0])


def test_the_averaged_network_is_validated_scored_and_asked(scenes, run, tmp_path):
    snapshot, state, setup = opened(run)
    trained, average = snapshot["state"], snapshot["state"].average
    assert_equal(state.params, average.params)
    assert not np.allclose(average.params["stem"]["kernel"], trained.params["stem"]["kernel"])
    report = evaluate(run)
    found = report["lists"][0]["per_fold"]
    last = read_metrics(run / "metrics.jsonl")[-1]
    scores = [one["class_wise_accuracy"]["value"] for one in found]
    np.testing.assert_allclose(scores, last["validation_accuracy"], atol=1e-6)
    model = asc_jax.load(run)
    assert_equal(jax.device_get(model.state.variables), state.variables)
    plain = dataclasses.replace(setup.model, averaging=None)
    asked_by = describe_use(small.config(scenes, *FIELDS), plain, setup.clips.decoding)
    assert model.made_by["programs"] == asked_by["programs"]


def test_weights_written_for_others_are_the_averaged_ones(run, tmp_path, process_as_it_was):
    from asc_jax import cli

    path = tmp_path / "model.safetensors"
    assert cli.main(["export", str(run), str(path)]) == 0
    expected, found = asc_jax.load(run), asc_jax.load(path)
    assert_equal(jax.device_get(found.state.variables), jax.device_get(expected.state.variables))


def test_a_run_begins_with_the_averaged_weights_of_another(scenes, run):
    _, scored, _ = opened(run)
    config = small.config(scenes, *FIELDS, *SWA, f"train.init_from={run}")
    begun = jax.device_get(set_up(config, *read_data(config)).init())
    assert_equal((begun.params, begun.untrained), (scored.params, scored.untrained))
    assert_equal((begun.average.params, begun.average.untrained), (begun.params, begun.untrained))


def test_runs_of_one_program_have_averages_of_their_own(scenes, tmp_path):
    """The best epoch by inner clips is one of the averaged network."""
    inner = ("folds.inner_fraction=0.5", "train.selection=inner", "train.average_after=0.5")
    fields = (*FIELDS, *SWA, *inner)
    configs = {f"seed{seed}": small.config(scenes, *fields, f"seed={seed}") for seed in (0, 1)}
    train_together(configs["seed0"], small.CONFIG, configs, tmp_path / "runs")
    alone = tmp_path / "alone"
    train(configs["seed1"], alone)
    (one, scored, _), (other, *_) = opened(alone), opened(tmp_path / "runs" / "seed1")
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(close, other["state"].average, one["state"].average)
    assert_equal(scored.params, one["best"].params)
    with refused(field="train.epochs"):  # when the average begins depends on it
        train(small.config(scenes, *fields, "seed=1", "train.epochs=4"), alone)


def test_a_run_that_averages_all_steps_may_go_on_for_longer(scenes, run):
    config = small.config(scenes, *FIELDS, *EMA, "train.epochs=4")
    refuse_other_rates(run, set_up(config, *read_data(config), mesh_shape=config.train.mesh))
