"""From a classifier to GANs to screened clips, by the commands, and what they refuse."""

import dataclasses
import hashlib
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import soundfile
from checkout import CONFIGS
from refusals import refused

from asc_jax import cli
from asc_jax.config.load import check_gan_config, load_config, override
from asc_jax.data import read_dataset
from asc_jax.gan import collect, loop, metrics, screen
from asc_jax.gan import steps as wavegan_steps
from asc_jax.gan.bandwidth import told_by_bandwidth
from asc_jax.gan.collect import SceneYield
from asc_jax.gan.embedder import open_classifier, refuse_other_classifier
from asc_jax.gan.loop import describe_start, restore, train
from asc_jax.gan.segments import merge
from asc_jax.gan.setup import one_by_one, open_screener, set_up_gan
from asc_jax.gan.synthesize import synthesize as make_clips
from asc_jax.runs.checkpoint import Checkpoints, Progress
from asc_jax.runs.folder import read_config
from asc_jax.runs.metrics_log import read_metrics, untimed
from asc_jax.runtime.errors import Diverged, Stopped

CLASSIFIER = {
    "data.clip_seconds": 1.0,
    "data.n_frames": 50,
    "frontend.n_mels": 8,
    "model.stage_sizes": (1,),
    "model.stage_strides": (1,),
    "model.width": 2,
    "folds.n_folds": 2,
    "folds.test_fold": 0,
    "train.batch_size": 8,
    "train.epochs": 1,
}
GAN = {
    "gan.scenes": ("bus", "tram"),
    "gan.fold": 0,
    "gan.unseen_fraction": 0.5,
    "gan.dim": 1,
    "gan.n_samples": 256,
    "gan.n_latent": 8,
    "gan.loss": "lsgan",
    "train.batch_size": 2,
    "train.epochs": 2,
    "train.steps_per_epoch": 3,
    "train.watch_clips": 3,
}
SYNTHESIS = {"synthesis.n_clips": 5, "synthesis.rules": ()}

# The commands run in this process.
pytestmark = pytest.mark.usefixtures("process_as_it_was")


def words(fields) -> list[str]:
    return [f"--config.{field}={value}" for field, value in fields.items()]


def asc_jax(command: str, *flags, **fields) -> int:
    return cli.main([command, *map(str, flags), *words(fields)])


@pytest.fixture(scope="module")
def runs(scenes, tmp_path_factory) -> pathlib.Path:
    """A folder with the run folders of a classifier and of its GANs, their clips, and the run
    folder of a classifier that was trained with these."""
    folder = tmp_path_factory.mktemp("runs")
    recorded = {"data.root": scenes} | CLASSIFIER
    augmented = recorded | {"synthetic.root": folder / "clips"}
    config = f"--config={CONFIGS / 'demo.py'}"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(cli, "_start_jax", lambda: None)
        assert asc_jax("train", config, f"--workdir={folder / 'classifier'}", **recorded) == 0
        gan = f"--config={CONFIGS / 'wavegan.py'}", f"--workdir={folder / 'gan'}"
        fields = GAN | {"gan.classifier": folder / "classifier"}
        assert asc_jax("gan", *gan, **fields) == 0
        out = f"--out={folder / 'clips'}"
        assert asc_jax("synthesize", f"--workdir={folder / 'gan'}", out, **SYNTHESIS) == 0
        assert asc_jax("train", config, f"--workdir={folder / 'augmented'}", **augmented) == 0
    return folder


def train_gan(runs, workdir, **changed) -> None:
    """What the command does before it draws figures."""
    fields = GAN | {"gan.classifier": runs / "classifier"} | changed
    train(load_config(CONFIGS / "wavegan.py", words(fields), check=check_gan_config), workdir)


def synthesize(runs, out, **changed) -> None:
    make_clips(runs / "gan", out, words(SYNTHESIS | changed))


@pytest.fixture(scope="module")
def gans(runs):
    """The trained GANs as `synthesize` opens them: their setup, and each one's best generator."""
    config = read_config(runs / "gan", check=check_gan_config)
    setup = set_up_gan(config)
    with Checkpoints(runs / "gan" / "checkpoints", read_only=True) as checkpoints:
        snapshot, _ = restore(setup, checkpoints)
    return one_by_one(setup, config, setup.classifier), snapshot.best


def stopped_at(runs, gans, folder, progress: Progress, change=lambda snapshot: snapshot):
    """A copy of the GANs' run folder whose one checkpoint says this."""
    shutil.copytree(runs / "gan", folder)
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        snapshot, _ = restore(gans[0], checkpoints)
    shutil.rmtree(folder / "checkpoints")
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(progress, change(snapshot))
    return folder


def fill(gans, out: pathlib.Path, **changed) -> list[SceneYield]:
    """What `synthesize` does between its checks."""
    setup, best = gans
    config = read_config(setup.classifier.workdir.parent / "gan", check=check_gan_config)
    config = override(config, words(SYNTHESIS | changed), "", check=check_gan_config)
    return list(collect.fill(out, setup, setup.classifier, best, config))


def manifest(folder: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def digests(folder: pathlib.Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "audio").iterdir()
    }


@pytest.fixture
def clips(runs, tmp_path) -> pathlib.Path:
    """A copy of the clips' folder."""
    return pathlib.Path(shutil.copytree(runs / "clips", tmp_path / "clips"))


def test_a_gan_sees_training_clips_of_its_own_fold_and_scene_alone(runs, scenes):
    corpora = json.loads((runs / "gan" / "corpora.json").read_text())
    folds = json.loads((runs / "classifier" / "splits.json").read_text())["folds"]
    clips = {clip.path: clip for clip in read_dataset(scenes).clips}
    pairs = [(corpus["fold"], corpus["scene_labels"]) for corpus in corpora]
    assert pairs == [(1, ["bus"]), (1, ["tram"]), (2, ["bus"]), (2, ["tram"])]
    for corpus in corpora:
        fold = folds[str(corpus["fold"])]
        seen = {clips[path].location for path in corpus["train"]}
        assert {clips[path].scene_label for path in corpus["train"]} == set(corpus["scene_labels"])
        assert set(corpus["train"]) | set(corpus["unseen"]) <= set(fold["train"])
        assert not seen & {clips[path].location for path in fold["held_out"] + corpus["unseen"]}


def test_the_log_has_every_figure_of_every_gan(runs):
    untrained, *epochs = read_metrics(runs / "gan" / "metrics.jsonl")
    assert [line["epoch"] for line in epochs] == [1, 2]
    for name in ("frechet_distance", "class_score", "memorisation_ratio", "diversity_ratio",
                 "level_db", "spectral_flatness"):  # fmt: skip
        assert len(untrained[name]) == 4
        assert all(np.isfinite(line[name]).all() for line in epochs)
    for name in ("wasserstein", "gradient_penalty", "discriminator_loss", "generator_loss"):
        assert np.shape([line[name] for line in epochs]) == (2, 4)


def test_there_is_something_to_look_at_and_to_listen_to(runs):
    page = (runs / "gan" / "listen.html").read_text()
    for name in ("bus-fold1", "tram-fold2"):
        assert f"{name}-real-0.wav" in page
        assert f"{name}-generated-3.wav" not in page  # train.watch_clips is 3
        assert f"{name}-generated-2.wav" in page
        assert (runs / "gan" / "figures" / f"{name}.svg").exists()


def test_clips_have_the_classifiers_length_and_rate(runs):
    lines = manifest(runs / "clips")
    counts = {}
    for line in lines:
        waveform, sr = soundfile.read(runs / "clips" / line["path"])
        assert (sr, waveform.shape) == (48_000, (48_000,))
        assert np.abs(waveform).max() > 0
        key = line["scene_label"], line["fold"]
        counts[key] = counts.get(key, 0) + 1
    assert counts == {("bus", 1): 3, ("tram", 1): 2, ("bus", 2): 3, ("tram", 2): 2}
    assert len({line["path"] for line in lines}) == 10
    assert all(0 <= line["probability"] <= 1 for line in lines)


@pytest.mark.parametrize("fold", [None, 9])
def test_the_high_band_is_told_of_the_gans_own_clips(gans, scenes, clips, fold):
    """Not of files that no line names, nor of another fold's clips: these here are recordings."""
    own = [clip for clip in read_dataset(scenes).clips if clip.scene_label in ("bus", "tram")]
    others = [f"audio/a{i}.wav" for i in range(2 * len(own))]
    for path, clip in zip(others, own * 2, strict=True):
        shutil.copy(scenes / clip.path, clips / path)
    line = manifest(clips)[0]
    with (clips / "manifest.jsonl").open("a") as file:
        for path in others if fold else ():
            file.write(json.dumps(line | {"path": path, "fold": fold}) + "\n")
    assert 0.9 < told_by_bandwidth(clips, gans[0]) <= 1


def tear_manifest(folder: pathlib.Path) -> None:
    lines = (folder / "manifest.jsonl").read_bytes()
    (folder / "manifest.jsonl").write_bytes(lines[: len(lines) // 2])  # within a line


@pytest.mark.parametrize(
    "damage", [lambda folder: shutil.rmtree(folder / "audio"), shutil.rmtree, tear_manifest]
)
def test_every_file_can_be_made_again(runs, gans, clips, damage):
    """Where wav files are gone, where all of them are, and where a stop has torn a line."""
    damage(clips)
    fill(gans, clips)
    assert digests(clips) == digests(runs / "clips")
    expected = (runs / "clips" / "manifest.jsonl").read_bytes()
    assert (clips / "manifest.jsonl").read_bytes() == expected


def test_a_deleted_line_costs_no_other_clip(gans, clips):
    lines = (clips / "manifest.jsonl").read_text().splitlines(keepends=True)
    (clips / "manifest.jsonl").write_text("".join(lines[:1] + lines[2:]))
    before = digests(clips)
    fill(gans, clips)
    assert len({line["path"] for line in manifest(clips)}) == len(lines)
    assert before.items() <= digests(clips).items()


def test_more_clips_are_added_to_those_that_are_there(runs, gans, clips):
    fill(gans, clips, **{"synthesis.n_clips": 8})
    assert len(manifest(clips)) == 16
    assert digests(runs / "clips").items() <= digests(clips).items()


def test_a_spliced_clip_has_a_high_band(runs, gans, tmp_path):
    fill(gans, tmp_path, **{"synthesis.n_clips": 2, "synthesis.high_band": "splice"})

    def high_band(folder):
        waveform, sr = soundfile.read(folder / manifest(folder)[0]["path"])
        spectrum = np.square(np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)))))
        return spectrum[int(9000 * len(waveform) / sr) :].sum()

    assert high_band(tmp_path) > 100 * high_band(runs / "clips")


@pytest.mark.parametrize(("field", "value"), [("checkpoint", "0123456789abcdef"), ("sr", 44_100)])
def test_clips_of_another_maker_are_not_mixed(gans, clips, field, value):
    lines = [line | {field: value} for line in manifest(clips)]
    (clips / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with refused(path="manifest.jsonl") as caught:
        fill(gans, clips)
    assert field in str(caught.value) and str(value) in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "fields"),
    [("clips", {"synthesis.rules": ("argmax",)}), ("gan", {"gan.fold": 1})],
)
def test_what_a_folder_was_made_with_cannot_be_changed(runs, clips, folder, fields):
    before = digests(clips)
    with refused(path=folder) as caught:
        synthesize(runs, clips, **fields)
    assert next(iter(fields)) in str(caught.value)
    assert digests(clips) == before


def test_clips_for_other_folds_are_not_mixed_in(runs, scenes, clips):
    """A folder serves one set of folds: training checks its clips against splits.json there."""
    splits = json.loads((clips / "splits.json").read_text())
    splits["folds"]["1"], splits["folds"]["2"] = splits["folds"]["2"], splits["folds"]["1"]
    (clips / "splits.json").write_text(json.dumps(splits))
    with refused(path=scenes) as caught:
        synthesize(runs, clips)
    assert str(clips / "splits.json") in str(caught.value)


def test_a_run_that_is_no_gan_is_refused(runs, tmp_path):
    with refused(path=runs / "classifier" / "config.json"):
        make_clips(runs / "classifier", tmp_path / "clips")


def test_clips_longer_than_those_of_the_data_leave_no_folder(runs, tmp_path):
    with refused(field="gan.n_samples"):
        train_gan(runs, tmp_path / "gan", **{"gan.n_samples": 32768})
    assert not (tmp_path / "gan").exists()


@pytest.mark.parametrize("name", ["", "/nowhere"])
def test_a_gan_without_a_classifier_is_refused(gans, name):
    with refused(field="gan.classifier" if not name else "", path=name and f"{name}/config.json"):
        open_classifier(name, gans[0].classifier.config.data)


def test_a_target_that_screening_cannot_reach_is_said(runs, tmp_path):
    fields = {
        "synthesis.rules": ("confidence",),
        "synthesis.threshold": 1.0,
        "synthesis.most_tries": 2,
    }
    with refused(path=tmp_path / "clips") as caught:
        synthesize(runs, tmp_path / "clips", **fields)
    said = str(caught.value)
    assert all(f"{scene}-fold{fold} 0 of " in said for scene in ("bus", "tram") for fold in (1, 2))
    assert "synthesis.most_tries" in said


def test_a_gan_without_a_generator_to_keep_is_named(runs, tmp_path, monkeypatch):
    """More tries would make nothing of it."""

    def collapsed_from_the_first_look(*args):
        snapshot, progress = restore(*args)
        epoch = np.array(snapshot.best.epoch)
        epoch[[0, 3]] = 0
        return snapshot.replace(best=snapshot.best.replace(epoch=epoch)), progress

    monkeypatch.setattr("asc_jax.gan.synthesize.restore", collapsed_from_the_first_look)
    with refused(path=runs / "gan") as caught:
        synthesize(runs, tmp_path / "clips")
    named = [name for name in ("bus-fold1", "tram-fold1", "bus-fold2", "tram-fold2")
             if name in str(caught.value)]  # fmt: skip
    assert named == ["bus-fold1", "tram-fold2"]
    counts = [(line["scene_label"], line["fold"]) for line in manifest(tmp_path / "clips")]
    assert set(counts) == {("tram", 1), ("bus", 2)}  # the others' clips are there


def test_gans_are_looked_at_by_one_classifier_alone(runs, gans, tmp_path):
    """Distances in two embeddings cannot be compared. Its folder may move."""
    gan = pathlib.Path(shutil.copytree(runs / "gan", tmp_path / "gan"))
    before = (gan / "metrics.jsonl").read_bytes()
    other = {"gan.classifier": runs / "augmented"}
    with refused(path=gan / "classifier.json"):
        train_gan(runs, gan, **other, **{"train.epochs": 3})
    with refused(path=gan / "classifier.json"):
        make_clips(gan, tmp_path / "clips", words(other))
    assert not (tmp_path / "clips").exists()
    assert (gan / "metrics.jsonl").read_bytes() == before

    moved = dataclasses.replace(gans[0].classifier, workdir=tmp_path / "moved")
    refuse_other_classifier(gan / "classifier.json", moved)
    wider = override(moved.config, ["--config.model.se_ratio=1"], "")
    with refused(path="classifier.json") as caught:
        refuse_other_classifier(gan / "classifier.json", dataclasses.replace(moved, config=wider))
    assert "model.se_ratio" in str(caught.value)
    (gan / "classifier.json").unlink()  # a run of before has no record
    refuse_other_classifier(gan / "classifier.json", moved)


def test_gans_of_which_none_is_left_have_failed(runs, gans, tmp_path):
    def lost(snapshot):
        nothing = np.zeros(4, np.int32)
        state = snapshot.state.replace(running=nothing.astype(bool))
        return snapshot.replace(state=state, best=snapshot.best.replace(epoch=nothing))

    gan = stopped_at(runs, gans, tmp_path / "gan", Progress(step=3, epochs=1), lost)
    before = (gan / "metrics.jsonl").read_bytes()
    with pytest.raises(Diverged) as caught:
        train_gan(runs, gan)
    assert str(gan) in str(caught.value)
    assert (gan / "metrics.jsonl").read_bytes() == before


def test_clips_are_made_of_a_finished_epoch(runs, gans, tmp_path):
    gan = stopped_at(runs, gans, tmp_path / "gan", Progress(step=2))
    with refused(path=gan):
        make_clips(gan, tmp_path / "clips")


def test_another_classifier_of_the_same_folds_can_screen(runs, tmp_path):
    """And the one that was trained with the GANs' own clips is one."""
    synthesize(runs, tmp_path, **{"synthesis.classifier": runs / "augmented"})
    ours, theirs = (manifest(folder)[0] for folder in (tmp_path, runs / "clips"))
    assert {field for field in ours if ours[field] != theirs[field]} == {
        "classifier", "probability", "margin",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("group", "fields"),
    [("folds", {"seed": 5}), ("data", {"clip_seconds": 0.5, "fit_length": True})],
)
def test_a_classifier_that_cannot_screen_is_named(runs, gans, tmp_path, group, fields):
    """Of other folds it could know what a fold holds out."""
    other = pathlib.Path(shutil.copytree(runs / "classifier", tmp_path / "other"))
    for name in ("splits.json", "starts.jsonl"):  # as if another classifier had been trained there
        (other / name).unlink()
    config = json.loads((other / "config.json").read_text())
    config[group] |= fields
    (other / "config.json").write_text(json.dumps(config))
    config = read_config(runs / "gan", check=check_gan_config)
    screened = [f"--config.synthesis.classifier={other}"]
    with refused(field="synthesis.classifier") as caught:
        open_screener(gans[0], override(config, screened, "", check=check_gan_config))
    assert caught.value.value == repr(str(other))


def test_a_gan_run_that_was_stopped_goes_on_bit_for_bit(runs, tmp_path, stop_at_step, monkeypatch):
    """Within its second epoch, when it has had a look and keeps a best generator.

    No iteration takes anything from the host.
    """
    workdir, step = tmp_path / "gan", loop.Training.step

    def guarded(*arguments):
        with jax.transfer_guard("disallow"):
            return step(*arguments)

    monkeypatch.setattr(loop.Training, "step", guarded)
    stop_at_step(5)
    with pytest.raises(Stopped):
        train_gan(runs, workdir)
    assert max(int(path.name) for path in (workdir / "checkpoints").iterdir()) == 5
    train_gan(runs, workdir)
    again, whole = (
        untimed(read_metrics(folder / "metrics.jsonl")) for folder in (workdir, runs / "gan")
    )
    assert again == whole
    about = pathlib.Path("checkpoints", "6", "about", "metadata")
    assert (workdir / about).read_text() == (runs / "gan" / about).read_text()


def test_another_generator_or_screening_makes_no_clip_among_others(
    runs, clips, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(screen, "margin", lambda logits, labels: screen.probability(logits, labels))
        with refused(path=clips) as caught:
            synthesize(runs, clips)
    assert "screening" in str(caught.value)
    jax.clear_caches()
    monkeypatch.setattr(
        wavegan_steps, "merge", lambda segments, **how: 0.5 * merge(segments, **how)
    )
    with refused(path=runs / "gan") as caught:
        synthesize(runs, clips)
    assert "generate" in str(caught.value)
    # Whoever asks for it may use those GANs so.
    make_clips(runs / "gan", tmp_path / "others", words(SYNTHESIS), other_functions=True)
    jax.clear_caches()


def test_what_trained_a_gan_may_change_before_its_clips_are_made(runs, gans, monkeypatch):
    jax.clear_caches()
    monkeypatch.setattr(wavegan_steps, "discriminator_step", None)  # would fail if it were traced
    describe_start(gans[0])


def test_gans_are_looked_at_in_one_way_alone(runs, tmp_path, monkeypatch):
    """Or the best generator would be chosen between two measures."""
    gan = pathlib.Path(shutil.copytree(runs / "gan", tmp_path / "gan"))
    before = (gan / "metrics.jsonl").read_bytes()
    more = {"train.epochs": 3}
    with refused(path=gan) as caught:
        train_gan(runs, gan, **more, **{"synthesis.merge": "crossfade"})
    assert "synthesis.merge" in str(caught.value)
    monkeypatch.setattr(metrics, "frechet_distance", lambda *_: 1e-3)
    with refused(path=gan) as caught:
        train_gan(runs, gan, **more)
    assert "looks" in str(caught.value)
    assert (gan / "metrics.jsonl").read_bytes() == before


def test_of_the_classifier_only_its_variables_lie_on_the_devices(runs):
    """While GANs train: neither its clips nor its optimizer's state, which take more."""
    before = {id(leaf) for leaf in jax.live_arrays()}
    setup = set_up_gan(read_config(runs / "gan", check=check_gan_config))
    own = {id(leaf) for leaf in jax.tree.leaves((setup.pool, setup.source))}
    beside = lambda: [one for one in jax.live_arrays() if id(one) not in before | own]
    assert sum(one.nbytes for one in beside()) < 100  # keys, say
    waveforms = np.zeros((len(setup.corpora), 1, setup.decoding.n_samples), np.float32)
    setup.recognise(setup.folds, waveforms)
    state = setup.classifier.state
    variables = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    folds = len(setup.folds) / len(setup.classifier.splits)
    assert state.opt_state == ()
    assert sum(one.nbytes for one in beside()) <= folds * variables + 100
