"""The feed: wherever the clips are, the steps get the same ones and give the same results."""

import dataclasses
import functools
import os
import types

import jax
import ml_collections
import numpy as np
import pytest
from refusals import refused
from small_model import init_state, make_model

from asc_jax.augment import Augmentation
from asc_jax.data import batches
from asc_jax.data.pool import Pool, as_rows
from asc_jax.parallel.arrays import exchange_rows, put, put_spread
from asc_jax.parallel.mapping import PER_FOLD
from asc_jax.parallel.mesh import make_mesh
from asc_jax.train import classifier, feed
from asc_jax.train.predict import predict

STREAMED = ("sharded", "host")
PLACED = ("device", *STREAMED)
BATCH_SIZE = 8


@pytest.fixture(scope="module")
def stored(small_pool, tmp_path_factory) -> Pool:
    """The small pool as a cache gives it."""
    path = tmp_path_factory.mktemp("stored") / "values.npy"
    np.save(path, small_pool.values)
    return dataclasses.replace(small_pool, values=np.load(path, mmap_mode="r"))


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(2, BATCH_SIZE)


@pytest.fixture(scope="module")
def trained(stored, small_splits, small_model, mesh) -> dict[str, tuple]:
    """By placement: losses and state after one and a half epochs, and logits of two lists."""
    splits = small_splits[:2]
    model = {**small_model, "stage_sizes": (1,), "stage_strides": (2,), "se_ratio": 0}
    model = make_model(model, augmentation=Augmentation(mixup_alpha=0.3, time_roll=0.5))
    initial = init_state(model, splits, stored)
    steps = classifier.compile_steps(mesh, model)
    n_steps = batches.steps_per_epoch(splits, BATCH_SIZE)
    draw = functools.partial(
        batches.epoch_indices, splits, seed=7, n_steps=n_steps, batch_size=BATCH_SIZE
    )
    indices = np.concatenate([draw(epoch=0), draw(epoch=1)[:, : n_steps // 2]], axis=1)
    calls = [indices[:, i : i + 1] for i in range(indices.shape[1])]
    results = {}
    for placement in PLACED:
        clips_feed = feed.make_feed([stored], mesh, placement)
        state, losses = put(initial, mesh, PER_FOLD), []
        for pool, clips in clips_feed.calls(calls):
            # 40 clips, of which a call needs 16 at most: the steps see another pool.
            assert len(pool.targets) == (40 if placement == "device" else 16)
            state, metrics = steps.train(state, pool, clips)
            losses.append(np.asarray(metrics["loss"]))
        config = ml_collections.ConfigDict({"train": {"batch_size": BATCH_SIZE}})
        setup = types.SimpleNamespace(
            config=config, feed=clips_feed, steps=steps, mesh=mesh, model=model
        )
        logits = predict(setup, state, [split.held_out for split in splits])
        results[placement] = np.concatenate(losses, axis=1), jax.device_get(state), logits
    return results


@pytest.mark.parametrize("placement", STREAMED)
def test_results_are_the_same_bit_for_bit(trained, placement):
    losses, state, logits = trained["device"]
    assert losses.shape == (2, 6) and len(np.unique(losses)) == 12
    assert [len(one) for one in logits] == [13, 10]
    jax.tree.map(np.testing.assert_array_equal, trained[placement], (losses, state, logits))


@pytest.mark.parametrize("placement", STREAMED)
def test_a_call_gets_its_own_clips(stored, small_pool, mesh, placement):
    """Of two pools as of one; whatever the order, and -1 for none."""
    clips_feed = feed.make_feed([stored, small_pool], mesh, placement)
    np.testing.assert_array_equal(clips_feed.targets, np.tile(small_pool.targets, 2))
    asked = np.array([[79, 3, 3], [40, -1, 0]], np.int32)
    ((pool, places),) = clips_feed.calls([asked])
    pool = jax.device_get(pool)
    assert places.dtype == np.int32 and len(pool.targets) == 6
    assert pool.shape == small_pool.values.shape[1:]
    rows = jax.tree.leaves(as_rows(small_pool))
    for ours, theirs in zip(jax.tree.leaves(pool), rows, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours[places[asked >= 0]], theirs[asked[asked >= 0] % 40])
    assert ((places >= 0) & (places < 6)).all()


@pytest.mark.parametrize("n_devices", [1, 8])
@pytest.mark.parametrize("shape", [(3, 5), (4,)])  # an odd and an even number of values
def test_exchanged_rows_keep_every_bit(n_devices, shape):
    rng = np.random.default_rng(0)
    words = rng.integers(-(2**31), 2**31, (13, *shape), np.int32)
    words.flat[0] = np.float32(-0.0).view(np.int32)
    with np.errstate(invalid="ignore"):
        tree = {"short": words.astype(np.int16), "float": words.view(np.float32)}
    mesh = make_mesh(2, 4, jax.devices()[:n_devices])

    def read(rows, size):
        fill = ((0, size - len(rows)), *((0, 0),) * len(shape))
        return jax.tree.map(lambda leaf: np.pad(leaf[rows], fill), tree)

    spread = put_spread(read, 13, mesh)
    rows = np.array([12, 0, 7, -1, 6, 0], np.int32)
    exchanged = exchange_rows(mesh)(spread, rows)
    for name, leaf in tree.items():
        assert exchanged[name].sharding.is_fully_replicated
        ours = np.asarray(exchanged[name])
        assert ours.dtype == leaf.dtype
        assert ours[rows >= 0].tobytes() == leaf[rows[rows >= 0]].tobytes()
        assert not ours[3].any()


def test_a_spread_pool_is_nowhere_whole(stored, mesh):
    """A device holds its share; the exchange moves what the call needs, and gathers nothing."""
    read = lambda rows, size: {"values": np.resize(stored.values[rows], (size, 24, 16))}
    spread = put_spread(read, 40, mesh)
    assert {shard.data.shape[0] for shard in spread["values"].addressable_shards} == {5}
    rows = np.arange(6, dtype=np.int32)
    text = exchange_rows(mesh).lower(spread, rows).compile().as_text()
    assert "all-reduce" in text
    assert "all-gather" not in text and "all-to-all" not in text


@pytest.mark.parametrize(
    ("free", "placement"), [(2.0, "device"), (1.9, "sharded"), (0.25, "sharded"), (0.2, "host")]
)
def test_the_first_that_fits_is_taken(stored, mesh, monkeypatch, capsys, free, placement):
    """The pool against half of what is free on a device; eight devices share it."""
    n_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(stored))
    monkeypatch.setattr(feed, "free_bytes", lambda mesh: free * n_bytes)
    assert feed.make_feed([stored], mesh, "auto").placement == placement
    said = capsys.readouterr().err
    if placement == "device":  # what anyone expects needs no words
        assert not said
    else:
        assert said.count("\n") == 1 and "data.placement" in said and placement in said


def test_accelerators_say_what_is_free_and_a_cpu_has_the_hosts_memory(mesh):
    device = lambda **stats: types.SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    full, empty = (device(bytes_limit=100, bytes_in_use=used) for used in (70, 20))
    assert feed.free_bytes(types.SimpleNamespace(local_devices=[empty, full])) == 30
    silent = device(num_allocs=3)
    assert feed.free_bytes(types.SimpleNamespace(local_devices=[empty, silent])) == 0
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < feed.free_bytes(mesh) <= total / mesh.size


def test_a_cache_that_is_cut_short_ends_the_epoch_with_a_line(small_pool, mesh, tmp_path):
    path = tmp_path / "values.npy"
    np.save(path, small_pool.values)
    pool = dataclasses.replace(small_pool, values=np.load(path, mmap_mode="r"))
    calls = feed.make_feed([pool], mesh, "host").calls([np.array([i]) for i in range(40)])
    next(calls)
    os.truncate(path, path.stat().st_size - 1)
    with refused(path=path):
        list(calls)
