"""Training on crops, scoring by windows, classes of other sizes; a final model of all clips."""

import dataclasses
import functools
import json
import shutil

import jax
import numpy as np
import pytest
import small
import soundfile
from refusals import refused
from small_model import init_state, make_model

import asc_jax
from asc_jax.data import batches
from asc_jax.data.crops import Crops
from asc_jax.data.pool import log_mels
from asc_jax.frontend import FrontendConfig
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import make_mesh, one_device
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.scoring.evaluate import evaluate
from asc_jax.scoring.predictions import read_logits
from asc_jax.train import classifier
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.loop import train
from asc_jax.train.losses import balanced_weights

SMALL = {
    "name": "resnet", "stage_sizes": (1,), "stage_strides": (1,), "width": 4, "block": "basic",
    "order": "post_activation", "shortcut": "projection", "se_ratio": 0, "max_receptive_field": 0,
    "head": "average", "dropout_rate": 0.0, "pcen": False, "remat": False,
}  # fmt: skip


def with_crops(model, size: int, n_windows: int = 3):
    features = functools.partial(
        log_mels, frontend=FrontendConfig(n_mels=16), n_frames=0, size=size
    )
    crops = Crops(size, n_windows)
    return dataclasses.replace(model, features=features, crops=crops, input_shape=(size, 16))


def trained(model, pool, splits, devices: int, n_steps: int = 2):
    """The state after some steps, their losses, and logits of some clips."""
    mesh = make_mesh(len(splits), 8, jax.devices()[:devices])
    clips = batches.epoch_indices(splits, seed=7, epoch=0, n_steps=n_steps, batch_size=8)
    state = put(init_state(model, splits, pool, targets=pool.targets), mesh, PER_FOLD)
    steps = classifier.compile_steps(mesh, model)
    on_devices = put(pool, mesh, SHARED)
    state, metrics = steps.train(state, on_devices, clips)
    logits = steps.evaluate(state, on_devices, np.tile(np.arange(8, dtype=np.int32), (4, 1)))
    return jax.device_get((state, metrics["loss"], logits))


def test_steps_hear_crops_alone_and_scores_average_their_windows(small_pool, small_splits):
    """What lies behind a clip's recorded part changes nothing; on any number of devices."""
    pool = small_pool.replace(lengths=np.full(40, 14, np.int32))
    model = with_crops(make_model(SMALL), 10)
    state, loss, logits = trained(model, pool, small_splits, 1)
    noisy = pool.values.copy()
    noisy[:, 14:] = 30_000
    again, loss_of_noisy, _ = trained(model, pool.replace(values=noisy), small_splits, 1)
    np.testing.assert_array_equal(loss, loss_of_noisy)
    jax.tree.map(np.testing.assert_array_equal, state.params, again.params)
    sharded, sharded_loss, _ = trained(model, pool, small_splits, 8)
    np.testing.assert_allclose(loss, sharded_loss, rtol=1e-4)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4),
                 state.params, sharded.params)  # fmt: skip

    # Windows of 10 in 14 frames begin at 0, 2 and 4.
    one = jax.tree.map(lambda leaf: leaf[0], state)
    values = pool.values[:8] * np.float32(1e-3) - 5
    windows = np.stack([values[:, start : start + 10] for start in (0, 2, 4)])
    apply = lambda x: model.network.apply(one.variables, one.standardise(x), train=False)
    probabilities = np.stack([jax.nn.softmax(apply(x)) for x in windows]).mean(axis=0)
    np.testing.assert_allclose(np.exp(logits[0]), probabilities, atol=1e-5)


def test_another_place_in_each_step(small_pool, small_splits):
    """The same clip twice, without any other randomness: two losses."""
    pool = small_pool.replace(lengths=np.full(40, 24, np.int32))
    model = with_crops(make_model(SMALL, optimizer="sgd"), 6)
    mesh = one_device()
    recipe = Hyperparameters(lr=1e-30)
    state = put(init_state(model, small_splits[:1], pool, recipe=recipe), mesh, PER_FOLD)
    clips = np.full((1, 3, 8, 1), 5, np.int32)
    _, metrics = classifier.compile_steps(mesh, model).train(state, put(pool, mesh, SHARED), clips)
    assert len(np.unique(metrics["loss"])) == 3


def test_balanced_weights_are_those_of_each_folds_training_clips(small_pool, small_splits):
    weights = balanced_weights(np.array([0, 0, 0, 1, 2, 2]), 3)
    np.testing.assert_allclose(weights, [6 / 9, 6 / 3, 6 / 6])
    plain = make_model(SMALL)
    balanced = dataclasses.replace(plain, balanced=True)
    few = small_pool.replace(targets=np.where(np.arange(40) % 5 == 0, 1, 0).astype(np.int32))
    few.targets[::7] = 2
    state = init_state(balanced, small_splits, few, targets=few.targets)
    for split, own in zip(small_splits, state.class_weights, strict=True):
        np.testing.assert_allclose(own, balanced_weights(few.targets[split.train], 3))
    # Of a batch of one class the loss is that class's weight times the other's loss.
    only = np.flatnonzero(few.targets == 2)[:4].astype(np.int32)
    losses = []
    for model in (plain, balanced):
        start = init_state(model, small_splits[:1], few, targets=few.targets)
        step = classifier.compile_steps(one_device(), model).train
        start = put(start, one_device(), PER_FOLD)
        _, metrics = step(start, put(few, one_device(), SHARED), only[None, None, :, None])
        losses.append(float(metrics["loss"][0, 0]))
    assert losses[1] / losses[0] == pytest.approx(float(state.class_weights[0, 2]), rel=1e-5)


FIELDS = (
    "train.epochs=2", "train.crop_seconds=0.4", "data.n_frames=0", "data.fit_length=True",
    "train.class_weights=balanced", "data.channels=0", "data.pool=waveform",
)  # fmt: skip


@pytest.fixture
def uneven(scenes, tmp_path):
    """The data set, with a recording cut to 0.3 s and another to 0.7 s."""
    root = shutil.copytree(scenes, tmp_path / "uneven")
    for path, seconds in zip(sorted(root.glob("audio/*.wav"))[:2], (0.3, 0.7), strict=True):
        samples, sr = soundfile.read(path)
        soundfile.write(path, samples[: int(seconds * sr)], sr)
    return root


def test_a_run_of_recordings_of_all_lengths_is_scored_and_used_by_windows(uneven, tmp_path, capfd):
    run = tmp_path / "run"
    train(small.config(uneven, *FIELDS), run)
    assert "shorter than train.crop_seconds=0.4" in capfd.readouterr().err
    report = evaluate(run)
    assert report["network"]["input"] == [8, 21]
    assert "3 windows of 0.4 s" in report["lists"][0]["description"]
    model = asc_jax.load(run)
    assert model.n_samples == round(0.4 * model.sr)
    stored = read_logits(run / "logits.npz")[0]["out_of_fold"]
    np.testing.assert_allclose(np.exp(stored.logits).sum(axis=-1), 1, atol=1e-5)
    lengths = {c.path: soundfile.info(uneven / c.path).duration for c in stored.clips}
    # The three windows of a clip of 1 s begin at 0, 0.3 and 0.6 s; of one of 0.3 s at 0.
    whole = next(i for i, clip in enumerate(stored.clips) if lengths[clip.path] == 1)
    for i, n_windows in ((whole, 3), (list(lengths.values()).index(0.3), 1)):
        fold = asc_jax.load(run, fold=int(stored.folds[i]))
        said = fold.predict(uneven / stored.clips[i].path, hop=0.3)
        assert len(said.times) == n_windows
        np.testing.assert_allclose(said.mean, np.exp(stored.logits[i]), atol=2e-3)


def test_a_final_model_of_all_clips_has_no_score_of_its_own(scenes, tmp_path):
    run = tmp_path / "run"
    train(small.config(scenes, "train.epochs=2", "folds.kind=all"), run)
    splits = json.loads((run / "splits.json").read_text())["folds"]
    everything = {f"audio/{path.name}" for path in scenes.glob("audio/*.wav")}
    assert [set(fold["train"]) for fold in splits.values()] == [everything] * 2
    lines = read_metrics(run / "metrics.jsonl")
    assert len(lines) == 2 and not any("validation_loss" in line for line in lines)
    with refused(path=run):
        evaluate(run)
    assert not (run / "report.json").exists()
    said = asc_jax.load(run).predict(scenes / sorted(everything)[0])
    assert said.probabilities.shape == (1, len(said.labels))
