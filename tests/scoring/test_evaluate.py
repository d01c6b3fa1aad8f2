"""What an evaluation leaves behind, also where it is cut short."""

import csv
import dataclasses
import importlib.metadata
import json
import pathlib
import re
import shutil
import tomllib
import types

import numpy as np
import pytest
import small
import soundfile
from checkout import ROOT
from refusals import refused

import asc_jax
from asc_jax import cli
from asc_jax.config.load import load_config
from asc_jax.data.clips import Clip, read_dataset
from asc_jax.experiments.jobs import is_scored
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import Progress
from asc_jax.runs.logits import Predictions, read_logits
from asc_jax.runtime.errors import InputError
from asc_jax.scoring import description, evaluate
from asc_jax.scoring.evaluate import write_evaluation
from asc_jax.train.loop import train

SCENES = ("park", "tram")
HOW = {"rule": "mean_logits", "decision": "argmax"}


def a_list(name: str, scenes=SCENES) -> Predictions:
    clips = tuple(Clip(f"{n}.wav", scenes[n % 2], f"place-{n // 2}") for n in range(8))
    logits = np.random.default_rng(0).normal(size=(2, 8, 2)).astype("f4")
    return Predictions(name, name, "Scored by all.", clips, logits, np.arange(1, 3))


@pytest.mark.parametrize("last", ["write_submission", "write_logits", "write_whole"])
def test_an_evaluation_cut_short_does_not_pass_for_done(tmp_path, monkeypatch, last):
    """Its report is not yet there, or it is and the page is still that of an earlier one."""
    lists = [a_list("test"), a_list("leaderboard", ("", ""))]
    about = {"training": {"epochs": 3}}
    write_evaluation(tmp_path, about, lists, SCENES, **HOW)
    assert not is_scored(tmp_path, 3)
    (tmp_path / "report.html").touch()
    assert is_scored(tmp_path, 3, ("leaderboard",)) and not is_scored(tmp_path, 3, ("evaluation",))

    def killed(*args):
        write(*args)
        raise KeyboardInterrupt

    write = getattr(evaluate, last)
    monkeypatch.setattr(evaluate, last, killed)
    with pytest.raises(KeyboardInterrupt):
        write_evaluation(tmp_path, about, lists, SCENES, **HOW)
    assert not is_scored(tmp_path, 3)


def test_the_version_is_that_of_the_source(monkeypatch):
    """Also in a checkout that is not installed, and beside what is of no distribution."""

    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    versions = provenance.versions()
    assert versions["asc_jax"] == asc_jax.__version__ and "jax" not in versions
    pyproject = ROOT / "pyproject.toml"
    described = tomllib.loads(pyproject.read_text())
    assert "version" not in described["project"]
    attribute = described["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert attribute == "asc_jax.__version__"


def contents(folder) -> dict[str, bytes]:
    """All files of a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_logits_that_are_not_finite_leave_an_earlier_evaluation_alone(tmp_path):
    lists = [a_list("test"), a_list("hidden", ("", ""))]
    write_evaluation(tmp_path, {"training": {"epochs": 3}}, lists, SCENES, **HOW)
    (tmp_path / "report.html").touch()
    before = contents(tmp_path)
    for k in range(2):
        logits = lists[k].logits.copy()
        logits[1, 4:, 0] = np.nan
        spoiled = [*lists[:k], dataclasses.replace(lists[k], logits=logits), *lists[k + 1 :]]
        with refused(path=tmp_path) as caught:
            write_evaluation(tmp_path, {"training": {"epochs": 4}}, spoiled, SCENES, **HOW)
        assert all(part in str(caught.value) for part in (lists[k].name, "4.wav", "fold 2"))
        assert contents(tmp_path) == before


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    """A run of two epochs, with a checkpoint of each."""
    config = load_config(
        str(ROOT / small.CONFIG),
        [
            f"--config.data.root={scenes}",
            *small.WORDS,
            "--config.train.epochs=2",
            "--config.train.mesh=(1, 1)",  # eight devices on a few cores are slow
        ],
    )
    workdir = tmp_path_factory.mktemp("trained") / "run"
    train(config, workdir)
    return workdir


@pytest.fixture
def run_folder(trained, tmp_path):
    return pathlib.Path(shutil.copytree(trained, tmp_path / "run"))


def make_set(root, scenes, names, labels=None):
    """A set of clips at half their level, with labels of their own or without."""
    clips = sorted((scenes / "audio").iterdir())
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        samples, sr = soundfile.read(clips[number])
        soundfile.write(root / name, 0.5 * samples, sr)
    if labels:
        rows = [f"{name}\t{label}\t{name}" for name, label in zip(names, labels, strict=True)]
        (root / "meta.csv").write_text("\n".join(["filename\tscene_label\tidentifier", *rows]))
    else:
        (root / "evaluation_setup").mkdir()
        (root / "evaluation_setup" / "test.txt").write_text("\n".join(names) + "\n")
    return root


def test_what_was_scored_beside_is_kept_until_the_run_goes_on(
    run_folder, scenes, tmp_path, process_as_it_was, capsys
):
    names = ["audio/a,b.wav", 'audio/say "x".wav', "audio/x/1.wav"]  # that a file must quote
    hidden = make_set(tmp_path / "hidden", scenes, names)
    labels = read_dataset(scenes).scene_labels
    more = make_set(tmp_path / "more", scenes, ["audio/a.wav", "audio/b.wav"], labels[:2])
    flags = ["evaluate", f"--workdir={run_folder}"]
    assert cli.main([*flags, f"--data={hidden}", f"--data={more}"]) == 0
    before, first = capsys.readouterr().out, contents(run_folder)
    report = json.loads(first["report.json"])
    assert [one["name"] for one in report["lists"]] == ["out_of_fold", "more"]
    assert [one["name"] for one in report["unlabelled"]] == ["hidden"]
    for one, root in zip(report["lists"], (scenes, more), strict=True):
        assert not one["audio_root"].startswith("/")
        assert (run_folder / one["audio_root"]).samefile(root)
    assert "figures/confusion_more.svg" in first
    submissions = ("submission/hidden_leaderboard.csv", "submission/hidden_dcase.txt")
    leaderboard, dcase = (first[file].decode().splitlines() for file in submissions)
    rows = list(csv.reader(leaderboard))
    assert [row[0] for row in rows] == ["Id", "a,b", 'say "x"', "1"]
    assert {len(row) for row in rows} == {2}
    assert [row[0] for row in csv.reader(dcase, delimiter="\t")] == names

    shutil.rmtree(hidden)
    assert cli.main(flags) == 0  # neither set is named, and one is gone
    assert capsys.readouterr().out == before
    again = contents(run_folder)
    assert again.keys() == first.keys()
    assert json.loads(again["report.json"]) | {"created": ""} == report | {"created": ""}
    assert all(again[file] == first[file] for file in submissions)
    kept, before = (read_logits_of(one["logits.npz"], tmp_path) for one in (again, first))
    for name in before:
        np.testing.assert_array_equal(kept[name].logits, before[name].logits)
        assert kept[name].clips == before[name].clips

    # The run is at another step now.
    newest = max(run_folder.glob("checkpoints/[0-9]*"), key=lambda path: int(path.name))
    shutil.rmtree(newest)
    assert cli.main(flags) == 0
    said = capsys.readouterr().err
    assert all(part in said for part in ("hidden", "more", newest.name))
    assert not [name for name in contents(run_folder) if "hidden" in name or "more" in name]
    assert list(read_logits(run_folder / "logits.npz")[0]) == ["out_of_fold"]


def read_logits_of(content: bytes, folder) -> dict:
    (folder / "read.npz").write_bytes(content)
    return read_logits(folder / "read.npz")[0]


def test_only_what_changes_no_score_of_the_run_is_taken(run_folder, scenes, tmp_path):
    """Places may change, where the clips have moved; and how those of other sets are taken."""
    for field in ("model.width", "folds.seed", "data.clip_seconds", "ensemble.rule"):
        with refused(field=f"--config.{field}"):
            evaluate.evaluate(run_folder, overrides=[f"--config.{field}=3"])
    with refused() as caught:
        evaluate.evaluate(run_folder, overrides=["--config.data.rot=x"])
    assert "data.rot" in caught.value.field
    other_form = ["--config.data.fit_length=True", "--config.data.channels=0"]
    with refused(field="data.fit_length, data.channels"):
        evaluate.evaluate(run_folder, overrides=other_form)
    # Clips of another length and of one channel.
    short = make_set(tmp_path / "short", scenes, ["audio/a.wav"])
    soundfile.write(short / "audio" / "a.wav", np.full(24_000, 0.1), 48_000)
    before = contents(run_folder)
    for overrides in ([], other_form[:1]):
        with refused() as caught:
            evaluate.evaluate(run_folder, [str(short)], overrides)
        assert str(short / "audio" / "a.wav") in str(caught.value)
        # What is advised can be done: no clip length but the run's can be scored.
        advised = set(re.findall(r"data\.\w+", caught.value.hint))
        assert advised and advised <= {"data.fit_length", "data.channels"}
    assert contents(run_folder) == before

    moved = pathlib.Path(shutil.copytree(scenes, tmp_path / "moved"))
    config = json.loads((run_folder / "config.json").read_text())
    config["data"]["root"] = str(tmp_path / "gone")
    config["data"]["leaderboard_root"] = str(tmp_path / "gone too")
    (run_folder / "config.json").write_text(json.dumps(config))
    none = "--config.data.leaderboard_root="
    for overrides, path in (([], "gone too"), ([none], "gone")):
        with refused(path=path):
            evaluate.evaluate(run_folder, overrides=overrides)
    places = [none, f"--config.data.root={moved}", "--config.data.workers=1"]
    report = evaluate.evaluate(run_folder, [str(short)], [*places, *other_form])
    assert report["data"]["root"] == "moved"
    assert [one["n_clips"] for one in report["unlabelled"]] == [1]
    assert json.loads((run_folder / "config.json").read_text()) == config


def test_two_files_of_one_id_are_refused_before_anything_is_scored(
    run_folder, scenes, tmp_path, monkeypatch
):
    double = make_set(tmp_path / "double", scenes, ["audio/x/1.wav", "audio/y/1.wav"])
    monkeypatch.setattr(evaluate, "predict", None)
    with refused(path=double) as caught:
        evaluate.evaluate(run_folder, [str(double)])
    assert all(name in str(caught.value) for name in ("audio/x/1.wav", "audio/y/1.wav"))
    assert not (run_folder / "submission").exists()


@pytest.mark.parametrize("name", ["out_of_fold", "test", "two\nlines", "x" * 101, "caf\udce9", "/"])
def test_a_set_whose_name_cannot_name_its_files_is_refused(run_folder, scenes, tmp_path, name):
    root = "/"
    if name != root:
        root = make_set(tmp_path / "made", scenes, ["audio/a.wav"]).rename(tmp_path / name)
    with pytest.raises(InputError) as caught:
        evaluate.evaluate(run_folder, [str(root)])
    assert caught.value.path == str(root)


def test_the_report_says_how_many_steps_were_skipped(tmp_path):
    lines = [
        {"epoch": epoch, "seconds": 1.0, "clips_per_second": 1.0, "skipped_steps": skipped}
        for epoch, skipped in ((1, [0, 2]), (2, [1, 0]))
    ]
    train = types.SimpleNamespace(
        selection="last", epochs=2, batch_size=8, init_from="", average="none"
    )
    none = {"synthetic": types.SimpleNamespace(root="")}
    none["distillation"] = types.SimpleNamespace(run="")
    config = types.SimpleNamespace(train=train, **none)
    nothing = dict.fromkeys(("params", "untrained", "band_mean", "band_std"), ())
    state = types.SimpleNamespace(step=np.array([10, 10]), **nothing)
    describe = lambda: description._describe_training(
        tmp_path, config, state, Progress(10, 2), [2, 2], {}
    )["note"]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ": 3." in describe()
    (tmp_path / "metrics.jsonl").write_text(json.dumps(lines[0] | {"skipped_steps": [0, 0]}) + "\n")
    assert len(re.findall(r"[0-9]+", describe())) == 1  # the epoch


def test_the_report_names_functions_of_ones_own_as_their_user_does(scenes, tmp_path):
    source = "def focal(logits, targets):\n    return -(targets * logits).sum(axis=-1)\n"
    (tmp_path / "parts.py").write_text(source)
    loss = f"--config.train.loss={tmp_path / 'parts.py'}:focal"
    config = load_config(str(ROOT / small.CONFIG), [f"--config.data.root={scenes}", loss])
    found = description._describe_config(config)
    assert found["train.loss"] == "parts.py:focal" and "data.root" not in found
    assert json.loads(json.dumps(found)).keys() == found.keys()


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe{\0}\0",
        b"[" * 100_000,
        b'{"lists": [], "unlabelled": [], "training": []}',
        b'{"lists": [{"name": "test"}], "unlabelled": [], "training": {}}',
    ],
)
def test_an_earlier_report_that_is_none_costs_its_own_lists_alone(tmp_path, content, capsys):
    (tmp_path / "report.json").write_bytes(content)
    about = {"training": {"steps": 4, "selected_epochs": [1]}, "scene_labels": ["bus"]}
    assert evaluate._earlier(tmp_path, about, set()) == []
    assert str(tmp_path) in capsys.readouterr().err
