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
from small_model import PLAIN, init_state, make_model

import asc_jax
from asc_jax import models
from asc_jax.augment import Augmentation, augment_waveform
from asc_jax.data import Split, batches
from asc_jax.data.crops import Crops
from asc_jax.data.pool import Pool, log_mels
from asc_jax.frontend import FrontendConfig, frontend_function
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import DATA, make_mesh, one_device
from asc_jax.runs.inputs import read_data
from asc_jax.runs.logits import read_logits
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train import classifier
from asc_jax.train.examples import scored_windows, training_examples
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.loop import train
from asc_jax.train.losses import balanced_weights
from asc_jax.train.predict import _over_windows
from asc_jax.train.recipe import Waveforms
from asc_jax.train.setup import epoch_indices, set_up

SMALL = {
    "name": "resnet", "stage_sizes": (1,), "stage_strides": (1,), "width": 4, "block": "basic",
    "order": "post_activation", "shortcut": "projection", "se_ratio": 0, "max_receptive_field": 0,
    "head": "average", "dropout_rate": 0.0, "pcen": False, "remat": False,
}  # fmt: skip


FRONTEND = FrontendConfig(sr=8_000, n_fft=256, win_length=200, hop_length=100, n_mels=16)
SIZE, LENGTH = 800, 1600  # samples of a crop, and of a clip


def model_of_crops(augmentation=PLAIN, **how):
    model = make_model(SMALL, augmentation=augmentation, **how)
    features = functools.partial(log_mels, frontend=FRONTEND, n_frames=0, size=SIZE)
    crops = Crops(SIZE, hop=SIZE // 2, tolerance=0)
    return dataclasses.replace(model, features=features, crops=crops, input_shape=(9, 16))


@pytest.fixture(scope="module")
def waveforms(small_pool) -> Pool:
    """40 clips of 1600 samples, of which 1200 were recorded; each class has a tone of its own."""
    rng = np.random.default_rng(0)
    tones = np.sin(np.outer(1 + small_pool.targets, np.arange(LENGTH)) / 3)
    values = np.rint(3000 * (tones + rng.normal(size=tones.shape))).astype(np.int16)
    affine = np.full((2, 40), [[1e-4], [0]], np.float32)
    lengths = np.full(40, 1200, np.int32)
    return Pool(values, *affine, small_pool.targets, lengths=lengths)


def trained(model, pool, splits, devices: int = 1, begin=None):
    """The state after two steps, their losses, and what is answered for eight windows.

    `begin` is the pool by which log-mels are standardised, if it is another.
    """
    mesh = make_mesh(len(splits), 8, jax.devices()[:devices])
    clips = batches.epoch_indices(splits, seed=7, epoch=0, n_steps=2, batch_size=8)
    state = put(init_state(model, splits, begin or pool), mesh, PER_FOLD)
    steps = classifier.compile_steps(mesh, model)
    state, metrics = steps.train(state, put(pool, mesh, SHARED), clips)
    windows = np.stack([np.arange(8) % 40, np.tile([0, 400], 4)], axis=1).astype(np.int32)
    logits, loud = steps.evaluate(state, put(pool, mesh, SHARED), np.stack([windows] * len(splits)))
    return jax.device_get((state, metrics["loss"], logits, loud))


def test_steps_hear_crops_of_what_was_recorded(waveforms, small_splits):
    """What lies behind changes nothing, and the devices change nothing."""
    model = model_of_crops(Augmentation(mixup_alpha=0.4))
    state, loss, logits, loud = trained(model, waveforms, small_splits)
    noisy = waveforms.values.copy()
    noisy[:, 1200:] = 30_000
    again = trained(model, waveforms.replace(values=noisy), small_splits, begin=waveforms)
    jax.tree.map(np.testing.assert_array_equal, (state.params, loss, logits),
                 (again[0].params, *again[1:3]))  # fmt: skip
    sharded = trained(model, waveforms, small_splits, 8)
    np.testing.assert_allclose(loss, sharded[1], rtol=1e-4)
    np.testing.assert_allclose(logits, sharded[2], atol=1e-3)
    one = jax.tree.map(lambda leaf: leaf[0], state)
    heard = waveforms.values[1, 400:1200] * np.float32(1e-4)
    x = one.standardise(frontend_function(FRONTEND)(heard[None]))
    expected = model.network.apply(one.variables, x, train=False)
    np.testing.assert_allclose(logits[0, 1], expected[0], atol=1e-4)
    assert loud.all()


def test_steps_are_what_their_parts_give(waveforms, small_splits):
    """Crops by keys of each step's own, mixed with the next example's, weighted by both classes."""
    model = model_of_crops(Augmentation(mixup_alpha=0.4), optimizer="sgd")
    model = dataclasses.replace(model, balanced=True)
    weights, recipe = np.array([0.5, 1.0, 3.0], np.float32), Hyperparameters(lr=1e-30)
    how = {"class_weights": [weights], "recipe": recipe}  # nothing is learnt
    state = init_state(model, small_splits[:1], waveforms, **how)
    one = jax.tree.map(lambda leaf: leaf[0], state)
    clips = np.array([0, 2, 1, 5], np.int32)
    step = classifier.compile_steps(one_device(), model).train
    given = put(state, one_device(), PER_FOLD), put(waveforms, one_device(), SHARED)
    _, metrics = step(*given, np.broadcast_to(clips[:, None], (1, 2, 4, 1)))
    network = models.build(SMALL, 3, axis_name=None)
    fold_in = jax.random.fold_in
    for number in range(2):
        key = fold_in(jax.random.wrap_key_data(one.key_data), number)
        inputs, targets = [], []
        for i in range(len(clips)):
            parts = []
            for place in (i, (i + 1) % len(clips)):
                start = jax.random.randint(fold_in(fold_in(key, 2**32 - 3), place), (), 0, 401)
                heard = jax.lax.dynamic_slice(
                    waveforms.values[clips[place]] * np.float32(1e-4), (start,), (SIZE,)
                )
                parts.append(one.standardise(frontend_function(FRONTEND)(heard)))
                parts.append(jax.nn.one_hot(waveforms.targets[clips[place]], 3))
            mixed, target = model.augment(fold_in(key, i), *parts)
            inputs.append(mixed)
            targets.append(target)
        targets = np.stack(targets)
        logits, _ = network.apply(
            one.variables, np.stack(inputs), train=True, mutable=["batch_stats"]
        )
        losses = model.loss(logits, targets, label_smoothing=one.hyperparameters.label_smoothing)
        expected = np.mean(np.asarray(losses) * (targets @ weights))
        np.testing.assert_allclose(metrics["loss"][0, number], expected, rtol=1e-4)


def test_partners_are_cropped_by_keys_of_their_own_and_mixed_as_waveforms(waveforms):
    """On two shards."""
    cfg = Augmentation(between_class=True)
    mix = functools.partial(augment_waveform, cfg=cfg)
    features = jax.vmap(frontend_function(FRONTEND))
    model = dataclasses.replace(model_of_crops(), waveforms=Waveforms(mix, SIZE, features))
    clips, key = np.array([[0, 1], [2, 0], [1, 3], [5, 4]], np.int32), jax.random.key(3)
    pool = jax.device_put(waveforms)
    draw = functools.partial(training_examples, model, lambda x: x, pool, key=key)
    drawn = jax.vmap(lambda part: draw(clips=part), axis_name=DATA)(clips.reshape(2, -1, 2))
    inputs, targets = (x.reshape(4, *x.shape[2:]) for x in drawn)

    fold_in = jax.random.fold_in
    for i, pair in enumerate(clips):
        parts = []
        for clip, number in zip(pair, (2**32 - 3, 2**32 - 4), strict=True):
            start = jax.random.randint(fold_in(fold_in(key, number), i), (), 0, 401)
            whole = waveforms.values[clip] * np.float32(1e-4)
            parts.append(jax.lax.dynamic_slice(whole, (start,), (SIZE,)))
            parts.append(jax.nn.one_hot(waveforms.targets[clip], 3))
        waveform, target = mix(fold_in(fold_in(key, 2**32 - 5), i), *parts)
        np.testing.assert_allclose(targets[i], target, atol=1e-6)
        np.testing.assert_allclose(inputs[i], features(waveform[None])[0], atol=1e-3)


def test_windows_without_a_sound_do_not_score(waveforms):
    logits = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    place = np.array([0, 0, 0, 1, 1, 2])
    found = np.exp(_over_windows(logits, np.array([1, 0, 1, 0, 0, 1], bool), place, 3))
    probabilities = np.asarray(jax.nn.softmax(logits))
    np.testing.assert_allclose(found[0], probabilities[[0, 2]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[1], probabilities[[3, 4]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[2], probabilities[5], rtol=1e-5)
    quiet = waveforms.values.copy()
    quiet[3, :SIZE] = 0
    windows = np.array([[3, 0], [3, 400]])
    pool = waveforms.replace(values=quiet)
    _, loud = scored_windows(model_of_crops(), lambda x: x, pool, windows)
    assert loud.tolist() == [False, True]


def test_weights_balance_classes_in_parts_of_a_batch_too(waveforms, small_splits):
    splits = small_splits[:1]
    counts = batches.class_counts(splits[0], waveforms.targets, 3)
    np.testing.assert_allclose(
        balanced_weights(counts), counts.mean() / np.bincount(waveforms.targets[splits[0].train])
    )
    plain = dataclasses.replace(model_of_crops(), accumulate=2)
    balanced = dataclasses.replace(plain, balanced=True)
    weights = [np.array([1.0, 1.0, 2.5], np.float32)]
    only = np.flatnonzero(waveforms.targets == 2)[:4].astype(np.int32)
    losses = []
    for model, own in ((plain, ()), (balanced, weights)):
        state = init_state(model, splits, waveforms, class_weights=own)
        step = classifier.compile_steps(one_device(), model).train
        given = put(state, one_device(), PER_FOLD), put(waveforms, one_device(), SHARED)
        _, metrics = step(*given, only[None, None, :, None])
        losses.append(np.asarray(metrics["loss"]))
    np.testing.assert_allclose(losses[1] / losses[0], 2.5, rtol=1e-5)


def test_synthetic_clips_count_where_classes_are_weighed():
    """30 and 10 recorded clips, and 20 of the second class generated: as many of each."""
    targets = np.repeat([0, 1, 1], [30, 10, 20])
    none = np.array([], np.int32)
    split = Split(1, np.arange(40, dtype=np.int32), none, none, np.arange(40, 60, dtype=np.int32))
    np.testing.assert_allclose(batches.class_counts(split, targets, 2), [30, 30])
    np.testing.assert_allclose(batches.class_counts(split, targets, 2, share=0.2), [30, 20])


FIELDS = (
    "train.epochs=1", "train.crop_seconds=0.4", "data.fit_length=True", "data.channels=0",
    "train.class_weights=balanced", "data.pool=waveform", "frontend.name=pcen",
)  # fmt: skip


@pytest.fixture(scope="module")
def uneven(scenes, tmp_path_factory):
    """The data set, with a recording cut to 0.3 s and another to 0.7 s."""
    root = shutil.copytree(scenes, tmp_path_factory.mktemp("uneven") / "set")
    for path, seconds in zip(sorted(root.glob("audio/*.wav"))[:2], (0.3, 0.7), strict=True):
        samples, sr = soundfile.read(path)
        soundfile.write(path, samples[: int(seconds * sr)], sr)
    return root


def assert_asked_as_scored(run, root, clips: dict[int, int]) -> None:
    """Clips, as they are stored, have so many windows, and the answers that were scored."""
    stored = read_logits(run / "logits.npz")[0]["out_of_fold"]
    for i, n_windows in clips.items():
        said = asc_jax.load(run, fold=int(stored.folds[i])).predict(root / stored.clips[i].path)
        assert len(said.times) == n_windows
        np.testing.assert_allclose(said.mean, np.exp(stored.logits[i]), atol=2e-3)


def test_a_run_of_recordings_of_all_lengths_is_scored_and_asked_alike(uneven, tmp_path, capfd):
    """By another hop too, which is of scoring alone: the run needs no training for it."""
    run = tmp_path / "run"
    train(small.config(uneven, *FIELDS), run)
    assert "shorter than train.crop_seconds=0.4" in capfd.readouterr().err
    report = evaluate(run)
    assert report["network"]["input"] == [8, 21]
    assert "windows of 0.4 s" in report["lists"][0]["description"]
    stored = read_logits(run / "logits.npz")[0]["out_of_fold"]
    np.testing.assert_allclose(np.exp(stored.logits).sum(axis=-1), 1, atol=1e-5)
    lengths = [soundfile.info(uneven / clip.path).duration for clip in stored.clips]
    short, longer, whole = map(lengths.index, (0.3, 0.7, 1.0))
    assert_asked_as_scored(run, uneven, {short: 1, longer: 2, whole: 3})
    before = asc_jax.load(run)
    train(small.config(uneven, *FIELDS, "ensemble.hop_seconds=0.2"), run)
    evaluate(run)
    after = asc_jax.load(run)
    assert (before.hop_samples, after.hop_samples) == (0.4 * after.sr, 0.2 * after.sr)
    assert_asked_as_scored(run, uneven, {whole: 4})


def test_partners_are_of_another_class_and_waveforms_of_the_reach_of_their_augmentation(scenes):
    fields = (*FIELDS, "augment.time_scale=1.25", "augment.between_class=True")
    config = small.config(scenes, *fields)
    setup = set_up(config, *read_data(config))
    targets = setup.feed.targets[epoch_indices(setup, [0])]
    assert (targets[..., 0] != targets[..., 1]).all()
    assert setup.model.waveforms.reach == round(1.25 * 0.4 * config.frontend.sr)


@pytest.mark.parametrize(
    ("field", "others"),
    [
        (
            "augment.between_class",
            ["augment.between_class=True", "data.pool=log_mel", "train.crop_seconds=0.0"],
        ),
        ("augment.time_scale", ["augment.time_scale=1.25", "train.crop_seconds=0.0"]),
        ("augment.time_scale", ["augment.time_scale=3.0"]),
        ("augment.time_scale", ["augment.time_scale=0.9"]),
        ("data.trim_silence", ["data.trim_silence=True", "data.fit_length=False"]),
        ("train.crop_seconds", ["train.crop_seconds=1.5"]),
        ("ensemble.hop_seconds", ["ensemble.hop_seconds=0.3", "train.crop_seconds=0.0"]),
        ("ensemble.hop_seconds", ["ensemble.hop_seconds=1e-6"]),
        ("train.crop_seconds", ["data.pool=log_mel"]),
    ],
)
def test_fields_that_contradict_each_other_are_refused(scenes, field, others):
    with refused(field=f"--config.{field}"):
        small.config(scenes, *FIELDS, *others)


def test_a_final_model_of_all_clips_has_no_score_of_its_own(scenes, tmp_path):
    run = tmp_path / "run"
    train(small.config(scenes, "train.epochs=1", "folds.kind=all"), run)
    splits = json.loads((run / "splits.json").read_text())["folds"]
    everything = {f"audio/{path.name}" for path in scenes.glob("audio/*.wav")}
    assert [set(fold["train"]) for fold in splits.values()] == [everything] * 2
    lines = read_metrics(run / "metrics.jsonl")
    assert len(lines) == 1 and "validation_loss" not in lines[0]
    with refused(path=run):
        evaluate(run)
    assert not (run / "report.json").exists()
    said = asc_jax.load(run).predict(scenes / sorted(everything)[0])
    assert said.probabilities.shape == (1, len(said.labels))
