"""The same training on other meshes: trajectories, and what crosses the devices."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_model import init_state, make_model

from asc_jax.augment import Augmentation
from asc_jax.data import batches
from asc_jax.models.resnet import ResNet
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import DATA, make_mesh
from asc_jax.train import classifier
from asc_jax.train.state import ClassifierState

N_STEPS, BATCH_SIZE = 20, 8

AUGMENTATION = Augmentation(mixup_alpha=0.3, time_roll=0.5, mel_masks=1, mel_mask_bands=3)
MESHES = ((1, 1), (2, 4))  # folds x shards of a batch


NETWORK = ResNet(
    3,
    stage_sizes=(1,),
    stage_strides=(1,),
    width=4,
    se_ratio=2,
    dropout_rate=0.5,
    drop_path_rate=0.3,
    axis_name=DATA,
)


@dataclasses.dataclass
class Run:
    """A training of `N_STEPS` on one mesh.

    Attributes:
      losses: (F, steps).
      first: the state after the first step, on the devices.
      last: the state after the last.
      collectives: operation and number of devices of everything that crosses devices.
    """

    losses: np.ndarray
    first: ClassifierState
    last: ClassifierState
    collectives: set[tuple[str, int]]


def collectives(text: str) -> set[tuple[str, int]]:
    """What a compiled program does between devices, and among how many."""
    names = "all-reduce|all-gather|all-to-all|reduce-scatter"
    lines = re.findall(rf" ({names})(?:-start)?\(.*?replica_groups=\{{\{{([\d,]*)\}}", text)
    assert len(lines) == len(re.findall(rf" (?:{names})(?:-start)?\(", text))
    sent = re.findall(r" collective-permute(?:-start)?\(.*?source_target_pairs=\{(.*?)\}\}", text)
    assert len(sent) == len(re.findall(r" collective-permute(?:-start)?\(", text))
    rings = {("collective-permute", len(ring_of_first(pairs))) for pairs in sent}
    return rings | {(name, len(group.split(","))) for name, group in lines}


def ring_of_first(pairs: str) -> list[int]:
    """The devices through which something goes from device 0 until it is back there."""
    onwards = {int(a): int(b) for a, b in re.findall(r"(\d+),(\d+)", pairs)}
    ring = [0]
    while (device := onwards[ring[-1]]) != 0:
        ring.append(device)
    return ring


@pytest.fixture(scope="module")
def on_mesh(small_pool, small_splits):
    """A function that trains on a mesh of the given shape, once."""
    return functools.cache(functools.partial(train, small_pool, small_splits))


def train(pool, splits, shape: tuple[int, int], n_steps=N_STEPS, sync_batch_norm=True) -> Run:
    mesh = make_mesh(4, BATCH_SIZE, shape=shape)
    network = NETWORK.clone(sync_batch_norm=sync_batch_norm)
    # Adam divides a gradient by its own size, and would walk on the rounding of those that are
    # 0 but for rounding: a sum over shards rounds in another order.
    model = make_model(network, optimizer="sgd", schedule="constant", augmentation=AUGMENTATION)
    indices = batches.epoch_indices(splits, seed=7, epoch=0, n_steps=n_steps, batch_size=BATCH_SIZE)
    state = put(init_state(model, splits, pool), mesh, PER_FOLD)
    pool = put(pool, mesh, SHARED)
    steps = classifier.compile_steps(mesh, model)
    step = steps.train.lower(state, pool, indices[:, :1]).compile()
    first, losses = None, []
    for i in range(n_steps):
        state, metrics = step(state, pool, indices[:, i : i + 1])
        first = first or jax.tree.map(jnp.copy, state)  # the next step consumes the state
        losses.append(metrics["loss"])
    losses = np.concatenate(jax.device_get(losses), axis=1)
    return Run(losses, first, jax.device_get(state), collectives(step.as_text()))


def largest_difference(tree, other) -> float:
    differences = jax.tree.map(
        lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), tree, other
    )
    return max(jax.tree.leaves(differences))


def test_another_mesh_gives_the_same_trajectory(on_mesh):
    """Measured after 20 steps: losses within 5e-7, parameters and statistics within 5e-7."""
    one, other = map(on_mesh, MESHES)
    assert one.losses.std(axis=1).min() > 0.01  # it moves
    np.testing.assert_allclose(other.losses, one.losses, rtol=0, atol=5e-6)
    assert largest_difference(other.last.params, one.last.params) < 5e-6
    assert largest_difference(other.last.batch_stats, one.last.batch_stats) < 5e-6
    assert (other.last.step == N_STEPS).all()


@pytest.mark.parametrize("shape", MESHES, ids=str)
def test_only_sums_and_mixups_neighbours_cross_devices_and_only_within_a_batch(on_mesh, shape):
    neighbours = {("collective-permute", shape[1])} if shape[1] > 1 else set()
    assert on_mesh(shape).collectives == {("all-reduce", shape[1])} | neighbours


def test_local_statistics_are_averaged(on_mesh):
    """The mean of shards' means is the whole batch's; that of their variances is smaller."""
    whole, local = on_mesh((2, 4)), on_mesh((2, 4), n_steps=1, sync_batch_norm=False)
    before = 0.9  # momentum times the initial variance
    expected, found = (run.first.batch_stats["stem_norm"] for run in (whole, local))
    np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-4, atol=1e-6)
    assert (np.asarray(found["var"]) < np.asarray(expected["var"])).all()
    assert (np.asarray(found["var"]) > before).all()
    assert largest_difference(whole.losses[:, :1], local.losses) > 1e-3
    for leaf in jax.tree.leaves(local.first.batch_stats):  # the same on all shards
        shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(shards) == 8
        for first in (0, 4):
            assert all(np.array_equal(shards[first], shard) for shard in shards[first : first + 4])
