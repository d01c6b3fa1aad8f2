"""From a classifier to GANs to screened clips, by the commands, and what they refuse."""

import hashlib
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import soundfile
from checkout import CONFIGS

from asc_jax import cli
from asc_jax.data import read_dataset
from asc_jax.gan import metrics, screen
from asc_jax.gan import steps as wavegan_steps
from asc_jax.gan.loop import restore
from asc_jax.gan.segments import merge
from asc_jax.runs.metrics_log import read_metrics, untimed

CLASSIFIER = {
    "data.clip_seconds": 1.0,
    "data.n_frames": 50,
    "frontend.n_mels": 16,
    "model.stage_sizes": (1,),
    "model.stage_strides": (1,),
    "model.width": 4,
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
    "gan.n_samples": 4096,
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


def asc_jax(command: str, *flags, **fields) -> int:
    words = [f"--config.{field}={value}" for field, value in fields.items()]
    return cli.main([command, *map(str, flags), *words])


@pytest.fixture(scope="module")
def runs(scenes, tmp_path_factory) -> pathlib.Path:
    """A folder with the run folders of a classifier and of its GANs, and their clips."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(cli, "_start_jax", lambda: None)
        config = f"--config={CONFIGS / 'demo.py'}"
        fields = {"data.root": scenes} | CLASSIFIER
        assert asc_jax("train", config, f"--workdir={folder / 'classifier'}", **fields) == 0
        assert train_gan(folder, folder / "gan") == 0
        assert synthesize(folder, folder / "clips") == 0
    return folder


def train_gan(runs, workdir, **changed) -> int:
    fields = {"gan.classifier": runs / "classifier"} | GAN | changed
    return asc_jax("gan", f"--config={CONFIGS / 'wavegan.py'}", f"--workdir={workdir}", **fields)


def synthesize(runs, out, *flags, **changed) -> int:
    return asc_jax(
        "synthesize", f"--workdir={runs / 'gan'}", f"--out={out}", *flags, **SYNTHESIS | changed
    )


def manifest(folder: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def digests(folder: pathlib.Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "audio").iterdir()
    }


def copy(runs: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return shutil.copytree(runs / "clips", tmp_path / "clips")


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


def test_how_well_the_high_band_gives_generated_clips_away_is_said(runs, tmp_path, capsys):
    assert synthesize(runs, tmp_path / "clips", **{"synthesis.n_clips": 8}) == 0
    said = capsys.readouterr().out.partition("area under the ROC curve of ")[2]
    assert 0.9 < float(said.split()[0]) <= 1


@pytest.mark.parametrize("fold", [None, 9])
def test_the_high_band_is_told_of_the_gans_own_clips(runs, scenes, tmp_path, capsys, fold):
    """Not of files that no line names, nor of another fold's clips: these here are recordings."""
    folder = copy(runs, tmp_path)
    clips = [clip for clip in read_dataset(scenes).clips if clip.scene_label in ("bus", "tram")]
    others = [f"audio/a{i}.wav" for i in range(2 * len(clips))]
    for path, clip in zip(others, clips * 2, strict=True):
        shutil.copy(scenes / clip.path, folder / path)
    line = manifest(folder)[0]
    with (folder / "manifest.jsonl").open("a") as file:
        for path in others if fold else ():
            file.write(json.dumps(line | {"path": path, "fold": fold}) + "\n")
    assert synthesize(runs, folder) == 0
    said = capsys.readouterr().out.partition("area under the ROC curve of ")[2]
    assert 0.9 < float(said.split()[0]) <= 1


def test_every_file_can_be_made_again(runs, tmp_path):
    folder = copy(runs, tmp_path)
    before = digests(folder)
    shutil.rmtree(folder / "audio")
    assert synthesize(runs, folder) == 0
    assert digests(folder) == before
    shutil.rmtree(folder)
    assert synthesize(runs, folder) == 0  # from nothing
    assert digests(folder) == before
    assert manifest(folder) == manifest(runs / "clips")


def test_an_interrupted_synthesis_goes_on_without_duplicates(runs, tmp_path):
    folder = copy(runs, tmp_path)
    before, lines = digests(folder), (folder / "manifest.jsonl").read_bytes()
    (folder / "manifest.jsonl").write_bytes(lines[: len(lines) // 2])  # within a line
    assert synthesize(runs, folder) == 0
    assert digests(folder) == before
    assert (folder / "manifest.jsonl").read_bytes() == lines


def test_a_deleted_line_costs_no_other_clip(runs, tmp_path):
    folder = copy(runs, tmp_path)
    lines = (folder / "manifest.jsonl").read_text().splitlines(keepends=True)
    (folder / "manifest.jsonl").write_text("".join(lines[:1] + lines[2:]))
    before = digests(folder)
    assert synthesize(runs, folder) == 0
    assert len({line["path"] for line in manifest(folder)}) == len(lines)
    assert before.items() <= digests(folder).items()


@pytest.mark.parametrize("line", ['{"path": "a.wav"}', "5", "{"])
def test_a_line_that_is_none_is_named(runs, tmp_path, capsys, line):
    folder = copy(runs, tmp_path)
    with (folder / "manifest.jsonl").open("a") as file:
        file.write(line + "\n")
    assert synthesize(runs, folder) == 2
    assert_one_line(capsys, "manifest.jsonl: line 11: ")


def test_clips_for_other_folds_are_not_mixed_in(runs, tmp_path, capsys):
    """A folder serves one set of folds: training checks its clips against splits.json there."""
    folder = copy(runs, tmp_path)
    splits = json.loads((folder / "splits.json").read_text())
    splits["folds"]["1"], splits["folds"]["2"] = splits["folds"]["2"], splits["folds"]["1"]
    (folder / "splits.json").write_text(json.dumps(splits))
    assert synthesize(runs, folder) == 2
    assert_one_line(capsys, "is not what")


def test_more_clips_are_added_to_those_that_are_there(runs, tmp_path):
    folder = copy(runs, tmp_path)
    assert synthesize(runs, folder, **{"synthesis.n_clips": 8}) == 0
    assert len(manifest(folder)) == 16
    assert digests(runs / "clips").items() <= digests(folder).items()


def test_a_spliced_clip_has_a_high_band(runs, tmp_path):
    fields = {"synthesis.n_clips": 2, "synthesis.high_band": "splice"}
    assert synthesize(runs, tmp_path / "spliced", **fields) == 0

    def high_band(folder, line):
        waveform, sr = soundfile.read(folder / line["path"])
        spectrum = np.square(np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)))))
        return spectrum[int(9000 * len(waveform) / sr) :].sum()

    plain, spliced = (
        high_band(folder, manifest(folder)[0]) for folder in (runs / "clips", tmp_path / "spliced")
    )
    assert spliced > 100 * plain


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"gan.classifier": ""}, "gan.classifier: not set; add --config.gan.classifier=RUN"),
        ({"gan.classifier": "/nowhere"}, "/nowhere/config.json: not found; gan.classifier must"),
        ({"gan.fold": 3}, "gan.fold=3: the classifier has folds 1, 2"),
        ({"gan.scenes": ("beach",)}, "gan.scenes: 'beach' is none of the classifier's scenes"),
        ({"train.batch_size": 64}, "train.batch_size=64: the GAN bus-fold1 has only"),
        ({"gan.n_samples": 32768}, "gan.n_samples=32768: longer than the clips, which have 16000"),
        ({"gan.unseen_fraction": 0.01}, "gan.unseen_fraction=0.01: of scene_label"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_gan_without_what_it_needs_is_refused(runs, tmp_path, capsys, fields, said):
    assert train_gan(runs, tmp_path / "gan", **fields) == 2
    assert_one_line(capsys, said)
    assert not (tmp_path / "gan").exists()


def assert_one_line(capsys, said: str) -> None:
    lines = [line for line in capsys.readouterr().err.splitlines() if "decoding" not in line]
    lines = [line for line in lines if line.strip()]  # a progress bar clears its own
    assert said in lines[-1]
    assert len(lines) == 1


def test_a_target_that_screening_cannot_reach_is_said(runs, tmp_path, capsys):
    fields = {
        "synthesis.rules": ("confidence",),
        "synthesis.threshold": 1.0,
        "synthesis.most_tries": 2,
    }
    assert synthesize(runs, tmp_path / "clips", **fields) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "passed" in line]
    assert "too few clips passed the screening (bus-fold1 0 of 3 in 16 tries, " in line
    assert line.count(" in 16 tries") == 4 and "--config.synthesis.most_tries=N" in line


def test_a_gan_without_a_generator_to_keep_is_named(runs, tmp_path, capsys, monkeypatch):
    """More tries would make nothing of it."""

    def collapsed_from_the_first_look(*args):
        snapshot, progress = restore(*args)
        epoch = np.array(snapshot.best.epoch)
        epoch[[0, 3]] = 0
        return snapshot.replace(best=snapshot.best.replace(epoch=epoch)), progress

    monkeypatch.setattr("asc_jax.gan.synthesize.restore", collapsed_from_the_first_look)
    assert synthesize(runs, tmp_path / "clips") == 2
    assert_one_line(capsys, f"{runs / 'gan'}: has no generator to keep of bus-fold1, tram-fold2, ")
    counts = [(line["scene_label"], line["fold"]) for line in manifest(tmp_path / "clips")]
    assert set(counts) == {("tram", 1), ("bus", 2)}  # the others' clips are there


def test_clips_of_another_checkpoint_are_not_mixed(runs, tmp_path, capsys):
    folder = copy(runs, tmp_path)
    text = (folder / "manifest.jsonl").read_text()
    checkpoint = manifest(folder)[0]["checkpoint"]
    (folder / "manifest.jsonl").write_text(text.replace(checkpoint, "0123456789abcdef"))
    assert synthesize(runs, folder) == 2
    said = capsys.readouterr().err
    assert "was made with checkpoint 0123456789abcdef" in said
    assert f"now have {checkpoint}" in said
    (folder / "manifest.jsonl").write_text(text.replace('"sr": 48000', '"sr": 44100'))
    assert synthesize(runs, folder) == 2
    assert "was made with sr 44100" in capsys.readouterr().err


def test_the_classifier_must_be_the_one_of_the_gan(runs, tmp_path, capsys):
    """Another one's folds would hold out what these GANs have learnt from."""
    other = shutil.copytree(runs / "gan", tmp_path / "gan")
    corpora = json.loads((other / "corpora.json").read_text())
    corpora[0]["train"].pop()
    (other / "corpora.json").write_text(json.dumps(corpora))
    words = [f"--workdir={other}", f"--out={tmp_path / 'clips'}"]
    assert cli.main(["synthesize", *words, f"--classifier={runs / 'classifier'}"]) == 2
    assert_one_line(capsys, "were trained on other clips or scenes")
    assert not (tmp_path / "clips").exists()


@pytest.fixture(scope="module")
def other(runs, scenes, tmp_path_factory) -> pathlib.Path:
    """Another classifier of the same folds."""
    fields = CLASSIFIER | {"data.root": scenes, "data.normalisation": "clip", "model.se_ratio": 0}
    folder = tmp_path_factory.mktemp("other") / "classifier"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(cli, "_start_jax", lambda: None)
        words = f"--config={CONFIGS / 'demo.py'}", f"--workdir={folder}"
        assert asc_jax("train", *words, **fields) == 0
    return folder


def test_gans_are_looked_at_by_one_classifier_alone(runs, other, tmp_path, capsys):
    """Distances in two embeddings cannot be compared. Its folder may move."""
    gan = shutil.copytree(runs / "gan", tmp_path / "gan")
    before = (gan / "metrics.jsonl").read_bytes()
    more = {"train.epochs": 3}
    assert train_gan(runs, gan, **more, **{"gan.classifier": other}) == 2
    assert_one_line(capsys, f"{gan / 'classifier.json'}: ")
    words = [f"--workdir={gan}", f"--out={tmp_path / 'clips'}"]
    assert cli.main(["synthesize", *words, f"--classifier={other}"]) == 2
    assert_one_line(capsys, f"{gan / 'classifier.json'}: ")
    assert not (tmp_path / "clips").exists()
    assert (gan / "metrics.jsonl").read_bytes() == before

    # The same settings, other parameters.
    record = json.loads((gan / "classifier.json").read_text())
    (gan / "classifier.json").write_text(json.dumps(record | {"parameters": "0123456789abcdef"}))
    assert train_gan(runs, gan, **more) == 2
    assert_one_line(capsys, "its parameters differ")

    # A run of before has no record; it goes on, and has one then.
    (gan / "classifier.json").unlink()
    moved = shutil.copytree(runs / "classifier", tmp_path / "moved")
    assert train_gan(runs, gan, **more, **{"gan.classifier": moved}) == 0
    assert json.loads((gan / "classifier.json").read_text()) == record
    assert len(read_metrics(gan / "metrics.jsonl")) == 4


def test_gans_of_which_none_is_left_have_failed(runs, tmp_path, capsys):
    fields = {"gan.lr": 1e30, "gan.fold": 1}
    for _ in range(2):  # the same command again
        assert train_gan(runs, tmp_path / "gan", **fields) == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert "no GAN" not in line and str(tmp_path / "gan") in line and "gan.lr" in line


def test_another_classifier_of_the_same_folds_can_screen(runs, other, tmp_path, capsys):
    screened = {"synthesis.classifier": other}
    assert synthesize(runs, tmp_path / "clips", **screened) == 0
    ours, theirs = (manifest(folder)[0] for folder in (tmp_path / "clips", runs / "clips"))
    assert {field for field in ours if ours[field] != theirs[field]} == {
        "classifier", "probability", "margin",
    }  # fmt: skip
    capsys.readouterr()
    assert synthesize(runs, copy(runs, tmp_path / "mixed"), **screened) == 2
    assert "was made with classifier" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("group", "fields", "said"),
    [
        ("folds", {"seed": 5}, "its folds are not those of"),
        ("data", {"clip_seconds": 0.5, "fit_length": True}, "takes clips of 0.5 s, and these have"),
    ],
)
def test_a_classifier_that_cannot_screen_is_named(runs, tmp_path, capsys, group, fields, said):
    """Of other folds it could know what a fold holds out."""
    other = shutil.copytree(runs / "classifier", tmp_path / "other")
    for name in ("splits.json", "starts.jsonl"):  # as if another classifier had been trained there
        (other / name).unlink()
    config = json.loads((other / "config.json").read_text())
    config[group] |= fields
    (other / "config.json").write_text(json.dumps(config))
    assert synthesize(runs, tmp_path / "clips", **{"synthesis.classifier": other}) == 2
    assert_one_line(capsys, f"synthesis.classifier={other}: {said}")
    assert not (tmp_path / "clips").exists()


def test_other_rules_need_another_folder(runs, tmp_path, capsys):
    folder = copy(runs, tmp_path)
    assert synthesize(runs, folder, **{"synthesis.rules": ("argmax",)}) == 2
    said = capsys.readouterr().err
    assert "belongs to another config (synthesis.rules=" in said and "another --out" in said


def test_a_trained_gan_cannot_be_changed(runs, tmp_path, capsys):
    assert synthesize(runs, tmp_path / "clips", **{"gan.fold": 1}) == 2
    assert "belongs to another config (gan.fold=0 there, 1 now)" in capsys.readouterr().err
    assert not (tmp_path / "clips").exists()


def test_a_run_that_is_no_gan_is_refused(runs, tmp_path, capsys):
    words = [f"--workdir={runs / 'classifier'}", f"--out={tmp_path / 'clips'}"]
    assert cli.main(["synthesize", *words]) == 2
    assert "is no config of a GAN" in capsys.readouterr().err


@pytest.mark.parametrize("step", [2, 3, 5])
def test_a_gan_run_that_was_stopped_goes_on_bit_for_bit(runs, tmp_path, stop_at_step, capsys, step):
    workdir = tmp_path / "gan"
    stop_at_step(step)
    assert train_gan(runs, workdir) == 75
    assert f"step {step} is saved" in capsys.readouterr().err
    assert train_gan(runs, workdir) == 0
    again, whole = (
        untimed(read_metrics(folder / "metrics.jsonl")) for folder in (workdir, runs / "gan")
    )
    assert again == whole
    about = pathlib.Path("checkpoints", "6", "about", "metadata")
    assert (workdir / about).read_text() == (runs / "gan" / about).read_text()


def test_clips_are_made_of_a_finished_epoch(runs, tmp_path, stop_at_step, capsys):
    stop_at_step(2)
    assert train_gan(runs, tmp_path / "gan") == 75
    capsys.readouterr()
    words = [f"--workdir={tmp_path / 'gan'}", f"--out={tmp_path / 'clips'}"]
    assert cli.main(["synthesize", *words]) == 2
    assert_one_line(capsys, "no epoch is finished")


def test_the_clips_train_a_classifier(runs, scenes, tmp_path):
    """The whole chain: the clips of these GANs are taken by the run they are for."""
    config = f"--config={CONFIGS / 'demo.py'}"
    fields = {"data.root": scenes, "synthetic.root": runs / "clips"} | CLASSIFIER
    assert asc_jax("train", config, f"--workdir={tmp_path / 'augmented'}", **fields) == 0


def test_another_generator_or_screening_makes_no_clip_among_others(
    runs, tmp_path, monkeypatch, capsys
):
    folder = copy(runs, tmp_path)
    more = {"synthesis.n_clips": 6}
    with monkeypatch.context() as patch:
        jax.clear_caches()
        patch.setattr(wavegan_steps, "merge", lambda segments, **how: 0.5 * merge(segments, **how))
        assert synthesize(runs, folder, **more) == 2
        assert_one_line(capsys, f"{runs / 'gan'}: was made by other functions (generate is not")
        # Whoever asks for it may use those GANs so, but not among clips of before.
        assert synthesize(runs, tmp_path / "others", "--other_functions", **more) == 0
    jax.clear_caches()
    with monkeypatch.context() as patch:
        capsys.readouterr()
        patch.setattr(
            screen, "margin", lambda logits, labels: 2 * screen.probability(logits, labels)
        )
        assert synthesize(runs, folder, **more) == 2
        assert_one_line(capsys, f"{folder}: was made by other functions (screening is not")
    assert len(manifest(folder)) == len(manifest(runs / "clips"))
    assert synthesize(runs, folder, **more) == 0


def test_what_trained_a_gan_may_change_before_its_clips_are_made(runs, tmp_path, monkeypatch):
    jax.clear_caches()
    monkeypatch.setattr(wavegan_steps, "discriminator_step", None)  # would fail if it were traced
    assert synthesize(runs, tmp_path / "clips") == 0


def test_gans_are_looked_at_in_one_way_alone(runs, tmp_path, monkeypatch, capsys):
    """Or the best generator would be chosen between two measures."""
    gan = shutil.copytree(runs / "gan", tmp_path / "gan")
    before = (gan / "metrics.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(metrics, "frechet_distance", lambda *_: 1e-3)
        assert train_gan(runs, gan, **{"train.epochs": 3}) == 2
        assert_one_line(capsys, f"{gan}: was made by other functions (looks is not")
    assert train_gan(runs, gan, **{"train.epochs": 3, "synthesis.merge": "crossfade"}) == 2
    assert "synthesis.merge" in capsys.readouterr().err
    assert (gan / "metrics.jsonl").read_bytes() == before
