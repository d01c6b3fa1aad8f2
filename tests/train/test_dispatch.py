"""What a dispatch is made of: its steps, what it takes from the host, what it leaves there."""

import contextlib

import jax
import numpy as np
import pytest
import small
from small_model import init_state, make_model

from asc_jax.data import batches
from asc_jax.data.normalisation import band_moments
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, PER_STEP, SHARED
from asc_jax.parallel.mesh import make_mesh
from asc_jax.runs.inputs import read_data
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.train import classifier
from asc_jax.train import state as train_state
from asc_jax.train.epochs import run_epochs
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.loop import Training
from asc_jax.train.setup import set_up

ONE = jax.numpy.ones(())

MODEL = {"name": "resnet", "stage_sizes": (1,), "stage_strides": (2,), "width": 2}


@pytest.mark.parametrize(
    ("n_steps", "expected"),
    [
        (210, 30),  # seven calls of one program
        (64, 32),
        (33, 11),
        (191, 32),  # a prime number: the last call has 31
        (5, 5),
    ],
)
def test_the_steps_of_a_dispatch_divide_an_epochs_where_they_can(n_steps, expected):
    assert batches.steps_per_call(n_steps) == expected
    assert batches.steps_per_call(n_steps, most=8) <= 8


@pytest.mark.parametrize(
    ("fields", "platform", "expected"),
    [
        ([], "cpu", 1),
        ([], "gpu", 3),  # an epoch has three
        (["train.validate_every=2", "train.epochs=5"], "gpu", 6),  # two epochs at once
        (["train.validate_every=9", "train.epochs=3"], "gpu", 9),
        (["train.save_every=2"], "gpu", 2),
        (["train.save_every=1000"], "gpu", 3),
        (["data.placement=host"], "gpu", 1),  # a call's clips would take memory for each step
        (["data.placement=sharded"], "gpu", 1),
        (["data.placement=host", "train.steps_per_call=2"], "gpu", 2),
    ],
)
def test_several_steps_are_one_dispatch_where_that_costs_no_memory(
    scenes, monkeypatch, fields, platform, expected
):
    config = small.config(scenes, "train.batch_size=16", *fields)
    setup = set_up(config, *read_data(config))
    monkeypatch.setattr("asc_jax.train.setup.platform_of", lambda device: platform)
    assert (setup.steps_per_epoch, setup.steps_per_call) == (3, expected)


class Guarded(Training):
    """A training of which nothing goes between host and devices unless it is asked for by name."""

    def __init__(self, setup, workdir, guard: contextlib.ExitStack):
        super().__init__(setup, workdir)
        self._guard = guard

    def prepare(self, *arguments):
        super().prepare(*arguments)
        self._guard.enter_context(jax.transfer_guard("disallow"))


@contextlib.contextmanager
def nothing_is_read(monkeypatch):
    """A number that is read from a device, which would be waited for, is an error.

    The guard does not see this on a CPU, whose arrays are in the host's memory.
    """

    def read(array, *_, **__):
        raise AssertionError("a value was read")

    with monkeypatch.context() as patch:
        patch.setattr(type(ONE), "_value", property(read))
        yield


@pytest.mark.parametrize("read", [float, bool, str])
def test_a_number_that_is_read_is_seen(monkeypatch, read):
    with nothing_is_read(monkeypatch), pytest.raises(AssertionError):
        read(ONE)
    read(ONE)


@pytest.mark.parametrize("placement", ["device", "sharded", "host"])
def test_no_step_of_an_epoch_waits_for_the_host(scenes, tmp_path, placement, monkeypatch):
    config = small.config(
        scenes, "folds.inner_fraction=0.5", "train.selection=inner", "train.epochs=1",
        "train.steps_per_call=2", f"data.placement={placement}",
    )  # fmt: skip
    workdir = tmp_path / "run"
    workdir.mkdir()
    setup = set_up(config, *read_data(config))
    step = Training.step

    def queue(*arguments):
        with nothing_is_read(monkeypatch):
            return step(*arguments)

    monkeypatch.setattr(Training, "step", queue)
    with contextlib.ExitStack() as guard:
        run_epochs(Guarded(setup, workdir, guard), workdir, keep=1, other_functions=False)
    assert len(read_metrics(workdir / "metrics.jsonl")) == 1


def test_a_state_is_born_where_it_lies(small_pool, small_splits):
    """Each device draws its own folds, with the values that they would have alone."""
    mesh, model = make_mesh(4, 8, shape=(2, 4)), make_model(MODEL)
    moments = band_moments(small_pool, model.features)
    members = [(split, 3, Hyperparameters(lr=0.1)) for split in small_splits]
    state = train_state.init_state(model, members, moments, mesh)
    place = jax.sharding.NamedSharding(mesh, PER_FOLD)
    assert all(leaf.sharding.is_equivalent_to(place, leaf.ndim) for leaf in jax.tree.leaves(state))
    alone = [init_state(model, [split], small_pool, seed=3, recipe=members[0][2])
             for split in small_splits]  # fmt: skip
    alone = jax.tree.map(lambda *leaves: np.concatenate(leaves), *alone)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), alone)


def test_a_step_takes_the_memory_of_the_state_before(small_pool, small_splits):
    mesh, model = make_mesh(4, 8), make_model(MODEL)
    state = put(init_state(model, small_splits, small_pool), mesh, PER_FOLD)
    indices = batches.epoch_indices(small_splits, seed=0, epoch=0, n_steps=1, batch_size=8)
    arguments = state, put(small_pool, mesh, SHARED), put(indices, mesh, PER_STEP)
    step = classifier.compile_steps(mesh, model).train.lower(*arguments).compile()
    on_a_device = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))
    assert step.memory_analysis().alias_size_in_bytes >= 0.9 * on_a_device
    step(*arguments)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
