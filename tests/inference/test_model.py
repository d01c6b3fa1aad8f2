"""A trained run on recordings of one's own: by Python and by the command, without its data."""

import csv
import io
import json
import pathlib
import shutil
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from refusals import refused

import asc_jax
from asc_jax import cli
from asc_jax.data import audio
from asc_jax.inference import recordings
from asc_jax.inference.tables import as_csv, as_json

pytestmark = pytest.mark.usefixtures("process_as_it_was")


def test_each_folds_model_says_what_evaluate_stored(trained):
    """But for the 16 bits that a pool's log-mels have."""
    stored = trained.out_of_fold
    for fold in np.unique(stored.folds):
        one = asc_jax.load(trained.run, fold=int(fold))
        assert one.folds == (fold,) and one.labels == tuple(trained.labels)
        rows = np.flatnonzero(stored.folds == fold)[:8]
        paths = [trained.clips / pathlib.Path(stored.clips[i].path).name for i in rows]
        waveforms = np.stack([audio.mono(audio.decode(path)[0]) for path in paths])
        (logits,) = np.asarray(jax.jit(one.logits)(waveforms))
        np.testing.assert_allclose(logits, stored.logits[rows], atol=0.01)
        said = one.predict(paths[0])
        expected = jax.nn.softmax(stored.logits[rows[0]])
        np.testing.assert_allclose(said.mean, expected, atol=0.01)
        assert said.label == trained.labels[int(np.argmax(expected))]


def test_the_ensemble_is_a_function_for_jit_of_one_waveform_and_of_several(trained, model):
    waveforms = jnp.stack(
        [audio.mono(audio.decode(path)[0]) for path in sorted(trained.clips.glob("*.wav"))[:3]]
    )
    three = lambda x: (model.apply(x), model.logits(x), model.by_fold(x))
    probabilities, logits, by_fold = map(np.asarray, jax.jit(three)(waveforms))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(probabilities, jax.nn.softmax(logits.mean(axis=0)), atol=1e-5)
    np.testing.assert_allclose(by_fold[0], probabilities, atol=1e-5)
    np.testing.assert_allclose(by_fold[1:], jax.nn.softmax(logits), atol=1e-5)
    for waveform, row in zip(waveforms, probabilities, strict=True):
        said = model(np.asarray(waveform), model.sr)
        np.testing.assert_allclose(said.probabilities, row[None], atol=1e-5)
    gradient = jax.jit(jax.grad(lambda x: model.apply(x[None])[0, 0]))(waveforms[0])
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_a_long_recording_is_read_in_blocks_and_answered_window_by_window(
    model, tmp_path, monkeypatch
):
    noise = 0.1 * np.random.default_rng(0).standard_normal((int(20.5 * 44_100), 2))
    soundfile.write(tmp_path / "long.flac", noise, 44_100)
    whole = model.predict(tmp_path / "long.flac")
    assert len(whole.times) == 21  # of 1 s, the last one back from the end
    np.testing.assert_allclose(whole.times[-2:], [[19, 20], [19.5, 20.5]], atol=1e-3)
    np.testing.assert_allclose(whole.mean, whole.probabilities.mean(axis=0))
    assert f"{whole.label} {whole.mean.max():.1%}" in repr(whole) and "21" in repr(whole)
    monkeypatch.setattr(audio, "_BLOCK", 10_000)
    in_blocks = model.predict(tmp_path / "long.flac")
    np.testing.assert_allclose(in_blocks.probabilities, whole.probabilities, atol=1e-4)
    overlapping = model.predict(tmp_path / "long.flac", hop=0.5)
    np.testing.assert_allclose(overlapping.probabilities[::2], whole.probabilities[:-1], atol=1e-4)
    longer = model.predict(tmp_path / "long.flac", window=3)
    assert longer.times[0].tolist() == [0, 3] and np.isfinite(longer.probabilities).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: shutil.rmtree(run / "checkpoints"),
        lambda run: (run / "splits.json").write_text('{"clips": {"a": 1}}'),
        lambda run: (run / "config.json").unlink(),
    ],
)
def test_what_is_no_trained_run_is_a_line(trained, tmp_path, damage):
    run = shutil.copytree(trained.run, tmp_path / "run")
    assert asc_jax.load(run).folds == (1, 2)  # a copy is as good
    with refused(path=run, field="fold"):
        asc_jax.load(run, fold=7)
    damage(run)
    with refused():
        asc_jax.load(run)


def test_other_functions_than_those_that_trained_it_are_refused(trained, monkeypatch):
    from asc_jax.models import squeeze_excite

    monkeypatch.setattr(squeeze_excite.nn, "sigmoid", jax.nn.relu)
    with refused(path=trained.run):
        asc_jax.load(trained.run)
    assert asc_jax.load(trained.run, other_functions=True).labels


def test_the_command_answers_all_that_can_be_read_and_lists_the_others(
    trained, tmp_path, capsys, monkeypatch
):
    folder = tmp_path / "folder"
    folder.mkdir()
    clips = sorted(trained.clips.glob("*.wav"))[:20]
    for clip in clips:
        shutil.copy(clip, folder)
    (folder / "notes.txt").write_text("no recording")
    (folder / "broken.wav").write_text("no recording either")
    (folder / "phone.m4a").write_bytes(b"ftypM4A")
    piped = io.TextIOWrapper(io.BytesIO(clips[0].read_bytes()))
    monkeypatch.setattr("sys.stdin", piped)
    words = ["predict", str(trained.run), str(folder), "-", f"--csv={tmp_path / 'a.csv'}"]
    assert cli.main([*words, f"--json={tmp_path / 'a.json'}", "--top=2"]) == 2
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 21 and all(line.count("%") == 2 for line in lines)
    assert "broken.wav" in err and "phone.m4a" in err and "ffmpeg" in err
    assert "notes.txt" not in out + err
    listed = json.loads((tmp_path / "a.json").read_text())
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [one["path"] for one in listed] == [*(str(folder / c.name) for c in clips), "-"]
    assert [one["path"] for one in rows if one["part"] == "whole"] == [o["path"] for o in listed]
    assert listed[0]["probabilities"] == pytest.approx(listed[-1]["probabilities"], abs=1e-5)
    for one, line in zip(listed, lines, strict=True):
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert f"{one['label']} {one['probabilities'][one['label']]:.1%}" in line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.wav"], "nowhere.wav"),
        (["."], "."),  # an empty folder
        (["-", "-"], "-"),
        (["clip.wav", "--hop=0"], "--hop"),
        (["clip.wav", "--window=-1"], "--window"),
        (["clip.wav", "--top=0"], "--top"),
        (["clip.wav", "--fold=9"], "fold"),
    ],
)
def test_wrong_words_are_one_line(trained, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    if words[0] == "clip.wav":
        shutil.copy(sorted(trained.clips.glob("*.wav"))[0], "clip.wav")
    assert cli.main(["predict", str(trained.run), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_answers_as_a_challenge_takes_them(trained, model, tmp_path, capsys):
    paths = sorted(trained.clips.glob("*.wav"))[:3]
    words = ["predict", str(trained.run), *map(str, paths)]
    labels = [model.predict(path).label for path in paths]
    assert cli.main([*words, "--submission=leaderboard"]) == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["Id", "Scene_label"]
    assert rows == [[path.stem, label] for path, label in zip(paths, labels, strict=True)]
    assert cli.main([*words, "--submission=dcase"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        [f"audio/{path.name}", label] for path, label in zip(paths, labels, strict=True)
    ]
    shutil.copy(paths[0], tmp_path)
    assert cli.main([*words, str(tmp_path), "--submission=dcase"]) == 2
    out, err = capsys.readouterr()
    assert not out and paths[0].name in err


def test_no_table_takes_the_place_of_anything_else(trained, tmp_path, capsys):
    clip = shutil.copy(sorted(trained.clips.glob("*.wav"))[0], tmp_path / "clip.wav")
    before = clip.read_bytes()
    same = tmp_path / "same"
    for tables in ([f"--csv={clip}"], [f"--json={trained.run / 'config.json'}"],
                   [f"--csv={same}", f"--json={same}"], [f"--json={same / 'a'}"]):  # fmt: skip
        assert cli.main(["predict", str(trained.run), str(clip), *tables]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert clip.read_bytes() == before and not same.exists()


def test_a_table_that_cannot_be_written_costs_no_other(trained, tmp_path, capsys):
    clip = sorted(trained.clips.glob("*.wav"))[0]
    (tmp_path / "a.csv").mkdir()
    tables = [f"--csv={tmp_path / 'a.csv'}", f"--json={tmp_path / 'a.json'}"]
    assert cli.main(["predict", str(trained.run), str(clip), *tables]) == 2
    assert "a.csv" in capsys.readouterr().err.splitlines()[-1]
    assert len(json.loads((tmp_path / "a.json").read_text())) == 1


def test_an_answer_about_nothing_says_so(model, tmp_path, capsys, trained):
    noise = 0.1 * np.random.default_rng(0).standard_normal(model.n_samples)
    assert model(noise, model.sr).notes == ("",)
    assert model(0 * noise, model.sr).notes == ("silence",)
    assert model(noise[:10], model.sr).notes == ("100% filled with zeros",)
    both = model(np.concatenate([noise, 0 * noise]), model.sr)
    assert both.notes == ("", "silence") and both.note.startswith("1 of 2 windows")
    silent = model(np.zeros(3 * model.n_samples), model.sr)
    assert (silent.note, silent.label, silent.top(3)) == ("silence", None, [])
    (told,) = json.loads(as_json({"a": silent}))
    assert told["label"] is None and told["windows"][0]["label"] is None
    assert {row.split(",")[5] for row in as_csv({"a": silent}).splitlines()[1:]} == {""}
    soundfile.write(tmp_path / "a.wav", 0 * noise, model.sr)
    assert cli.main(["predict", str(trained.run), str(tmp_path / "a.wav")]) == 0
    assert "silence" in capsys.readouterr().out


def test_a_model_is_told_in_a_line_and_takes_batches_alone(model):
    assert len(repr(model).splitlines()) == 1 and len(repr(model)) < 100
    one = np.zeros(model.n_samples, np.float32)
    with refused(field="waveforms"):
        model.apply(one)
    with refused(field="window"):
        model(one, model.sr, window=1e9)


def test_a_standard_input_that_is_closed_or_does_not_fit_is_a_line(mount_disk, monkeypatch):
    folder, _ = mount_disk("100k")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    for stdin in (None, io.TextIOWrapper(io.BytesIO(bytes(1_000_000)))):
        monkeypatch.setattr("sys.stdin", stdin)
        ((_, blocks),) = recordings.read(["-"])
        with refused(path="standard input"):
            next(blocks)
        assert list(folder.iterdir()) == []
