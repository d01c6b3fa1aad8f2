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
from asc_jax.data.pool import Pool, log_mels
from asc_jax.frontend import FrontendConfig
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import make_mesh, one_device
from asc_jax.runs.inputs import read_data
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.scoring.evaluate import evaluate
from asc_jax.scoring.predictions import read_logits
from asc_jax.train import classifier
from asc_jax.train.examples import over_windows, scored_windows
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.loop import train
from asc_jax.train.losses import balanced_weights
from asc_jax.train.setup import epoch_indices, set_up

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


def test_windows_without_a_sound_do_not_score():
    weights = np.array([[1, 0, 1], [1, 1, 1]], np.float32)
    logits = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    found = np.exp(over_windows(logits, weights))
    probabilities = np.asarray(jax.nn.softmax(logits)).reshape(2, 3, 3)
    np.testing.assert_allclose(found[0], probabilities[0, [0, 2]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[1], probabilities[1].mean(axis=0), rtol=1e-5)

    model = dataclasses.replace(with_crops(make_model(SMALL), 4_000, 3), n_classes=3)
    values = np.zeros((2, 12_000), np.int16)
    values[0, :4_000] = 1000  # a sound in the first of three windows; then a clip of silence
    pool = Pool(values, *np.full((2, 2), [[1e-4], [0]], np.float32), np.zeros(2, np.int32),
                lengths=np.full(2, 12_000, np.int32))  # fmt: skip
    _, weights = scored_windows(model, lambda x: x, pool, np.arange(2))
    assert weights.tolist() == [[1, 0, 0], [1, 1, 1]]


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


def test_waveforms_are_augmented_in_the_step(scenes, tmp_path):
    """Alike on one device and on eight, and of clips of two classes each."""
    fields = (
        *FIELDS, "augment.time_scale=1.25", "augment.between_class=True", "augment.gain_db=6.0",
    )  # fmt: skip
    config = small.config(scenes, *fields)
    dataset, splits, test = read_data(config)
    losses = []
    for mesh_shape in ((1, 1), (2, 4)):
        setup = set_up(config, dataset, splits, test, mesh_shape=mesh_shape)
        indices = epoch_indices(setup, epoch=0)[:, :2]
        targets = setup.feed.targets[indices]
        assert (targets[..., 0] != targets[..., 1]).all()
        ((pool, clips),) = setup.feed.calls([indices])
        _, metrics = setup.train_steps(setup.init(), pool, clips)
        losses.append(np.asarray(metrics["loss"]))
    np.testing.assert_allclose(*losses, rtol=1e-4)
    plain = small.config(scenes, *FIELDS, "augment.mixup_alpha=0.0")
    setup = set_up(plain, dataset, splits, test, mesh_shape=(1, 1))
    indices = epoch_indices(setup, epoch=0)[:, :2]
    ((pool, clips),) = setup.feed.calls([indices])
    _, metrics = setup.train_steps(setup.init(), pool, clips)
    assert np.abs(np.asarray(metrics["loss"]) - losses[0]).max() > 1e-2


@pytest.mark.parametrize(
    ("field", "others"),
    [
        ("augment.between_class", ["augment.between_class=True", "data.pool=log_mel"]),
        ("augment.time_scale", ["augment.time_scale=1.25", "train.crop_seconds=0.0"]),
        ("augment.time_scale", ["augment.time_scale=3.0"]),
        ("augment.time_scale", ["augment.time_scale=0.9"]),
        ("data.trim_silence", ["data.trim_silence=True", "data.fit_length=False"]),
        ("train.crop_seconds", ["train.crop_seconds=1.5"]),
        ("ensemble.windows", ["ensemble.windows=3", "train.crop_seconds=0.0"]),
    ],
)
def test_fields_that_contradict_each_other_are_refused(scenes, field, others):
    with refused(field=f"--config.{field}"):
        small.config(scenes, *FIELDS, *others)


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
