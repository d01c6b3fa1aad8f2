"""The commands as users give them: from audio files to a report, stops and wrong input included.

What needs a process of its own has one; the others run in this one.
"""

import contextlib
import fcntl
import io
import json
import re
import shlex
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import small
from checkout import ROOT
from process import ASC_JAX

from asc_jax import cli
from asc_jax.flags import parse
from asc_jax.runs.folder import read_config
from asc_jax.runs.inputs import read_data
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.train.loop import validate
from asc_jax.train.restore import restore_chosen
from asc_jax.train.setup import set_up
from benchmarks.fault_subjects import end_of_training, newest

CONFIG = ROOT / "configs" / "demo.py"

pytestmark = pytest.mark.usefixtures("process_as_it_was")


def asc_jax(*words) -> tuple[int, str, str]:
    """The status of a command in this process, and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main([str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


def start(*words) -> subprocess.Popen:
    """A command in a process of its own."""
    command = [*ASC_JAX, *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def train_words(scenes, workdir, *more):
    words = small.words(scenes, "folds.test_fold=1", "train.epochs=4")
    return ("train", f"--config={CONFIG}", f"--workdir={workdir}", *words, *more)


def metrics(workdir) -> list[dict]:
    return read_metrics(workdir / "metrics.jsonl")


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    """A run of four epochs that nothing interrupted, traced before them."""
    workdir = tmp_path_factory.mktemp("run") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_start_jax", lambda: None)
        status, out, err = asc_jax(*train_words(scenes, workdir, "--profile"))
    assert status == 0, err
    lines = out.splitlines()
    assert f"asc-jax evaluate --workdir={workdir}" in lines[-1]
    assert [line.split()[0] for line in lines[-6:-2]] == [f"{n}/4" for n in range(1, 5)]
    assert "\r" not in err  # a log: no bar
    (trace,) = workdir.rglob("perfetto_trace.json.gz")
    assert str(trace) in err
    return workdir


@pytest.fixture(scope="module")
def evaluated(trained):
    """The same run, evaluated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_start_jax", lambda: None)
        status, out, err = asc_jax("evaluate", f"--workdir={trained}")
    assert status == 0 and out, err
    return trained


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_example_of_each_command_parses(command, capsys):
    words = [*(("data",) if command in ("synth", "check", "import", "download") else ()), command]
    with pytest.raises(SystemExit):
        parse([*words, "--help"])
    example = capsys.readouterr().out.rpartition("Example: asc-jax ")[2]
    assert parse(shlex.split(example.partition(" > ")[0])).command == command


@pytest.mark.parametrize(
    "words, meant",
    [
        ("trian --config=small", "train"),
        ("data chek folder", "check"),
        ("report a --correction=hlm", "holm"),
        ("train --conifg=small --workdir=a", "--config"),
        ("evaluate --workdir=a --wrkdir b", "--workdir"),
        ("train --config=small --workdir=a --epochs=3", "--config.train.epochs"),
        ("train --config=small --workdir=a --train.epochs=3", "--config.train.epochs"),
        ("train --config=small --workdir=a --conifg.train.epochs=3", "--config.train.epochs"),
        ("train --config=small --workdir=a --seed=3", "--config.seed"),
        ("summary --config=small --width=3", "--config.model.width"),
    ],
)
def test_a_misspelt_word_gets_the_one_that_is_meant(words, meant):
    assert f"did you mean {meant}" in refused(*words.split())


def test_training_logs_every_epoch_and_fold(trained):
    lines = metrics(trained)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert all(len(line["loss"]) == len(line["validation_accuracy"]) == 2 for line in lines)
    assert all(line["validation_list"] == "held_out" for line in lines)
    assert all(min(line["gradient_norm"]) > 0 for line in lines)
    assert all(line["skipped_steps"] == [0, 0] for line in lines)
    assert all(0 < line["seconds_per_step"] <= line["seconds_of_worst_step"] for line in lines)
    assert all("peak_memory_bytes" in line for line in lines)  # null where no device says
    assert lines[0]["learning_rate"][0] > lines[1]["learning_rate"][0]  # of a cosine
    counts = np.array(lines[-1]["confusion"])
    assert counts.shape == (2, 10, 10) and "confusion" not in lines[0]
    score = np.mean(np.diagonal(counts, axis1=1, axis2=2) / counts.sum(-1), axis=1)
    np.testing.assert_allclose(score, lines[-1]["validation_accuracy"], rtol=1e-6)
    config = json.loads((trained / "config.json").read_text())
    assert config["train"]["epochs"] == 4
    assert not (trained / "synthetic.json").exists()


def assert_ends_as(workdir, trained, scenes) -> None:
    """The run goes on to its end here, and is bit for bit the one that nothing interrupted."""
    status, _, err = asc_jax(*train_words(scenes, workdir))
    assert status == 0, err
    assert end_of_training(workdir) == end_of_training(trained)


def test_a_stopped_run_goes_on_bit_for_bit(trained, scenes, tmp_path):
    workdir = tmp_path / "stopped"
    process = start(*train_words(scenes, workdir))
    while not (workdir / "metrics.jsonl").exists():  # opened before the first step
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 75, err
    assert newest(workdir).name in err.splitlines()[-1]  # the step that is saved
    assert len(metrics(workdir)) < 4
    assert_ends_as(workdir, trained, scenes)


def test_a_full_disk_is_one_line_and_the_run_goes_on(trained, scenes, mount_disk):
    disk, resize = mount_disk("200k")
    workdir = disk / "run"
    process = start(*train_words(scenes, workdir))
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2, err
    assert err.splitlines()[-1].startswith(str(workdir)) and "Traceback" not in err
    resize("50m")
    assert_ends_as(workdir, trained, scenes)


def test_the_report_adds_up(evaluated):
    report = json.loads((evaluated / "report.json").read_text())
    out_of_fold, test = report["lists"]
    assert out_of_fold["n_clips"] + test["n_clips"] == 80
    assert [system["name"] for system in test["systems"]] == [
        "mean of logits", "mean of probabilities", "fold 1", "fold 2",
    ]  # fmt: skip
    for one in report["lists"]:
        for system in one["systems"]:
            confusion = np.array(system["confusion"])
            assert confusion.sum() == one["n_clips"]
            accuracy = system["accuracy"]
            assert accuracy["value"] == pytest.approx(np.trace(confusion) / confusion.sum())
            assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    last = metrics(evaluated)[-1]["validation_accuracy"]
    folds = [fold["class_wise_accuracy"]["value"] for fold in out_of_fold["per_fold"]]
    # What training logged and evaluation restored agree.
    assert folds == pytest.approx(last, abs=1e-6)
    stored = np.load(evaluated / "logits.npz")
    targets = np.searchsorted(stored["scene_labels"], stored["test/scene_label"])
    answers = stored["test/logits"].mean(axis=0).argmax(axis=-1)
    assert test["systems"][0]["accuracy"]["value"] == pytest.approx((answers == targets).mean())
    logits = stored["out_of_fold/logits"].astype(float)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    targets = np.searchsorted(stored["scene_labels"], stored["out_of_fold/scene_label"])
    wrong = probabilities.argmax(axis=-1) != targets
    certain = np.argsort(-probabilities.max(axis=-1)[wrong], kind="stable")
    listed = out_of_fold["wrong"]["most_certain"]
    paths = stored["out_of_fold/path"][wrong][certain].tolist()
    assert [clip["path"] for clip in listed] == paths[:50] and len(paths) > 0
    said = [clip["scene_probability"] for clip in listed]
    of_scene = probabilities[np.arange(len(targets)), targets][wrong][certain]
    assert said == pytest.approx(of_scene[:50])
    assert all((evaluated / out_of_fold["audio_root"] / path).is_file() for path in paths)
    assert report["config"]["train.loss"] == "cross_entropy"
    assert not [value for value in report["config"].values() if str(value).startswith("/")]
    assert (evaluated / "report.html").is_file()


def test_the_documentation_says_what_logits_hold(evaluated):
    doc = (ROOT / "docs" / "scores.md").read_text()
    described = {
        key: (shapes.split(" or "), kind)
        for key, shapes, kind in re.findall(
            r"^\| `([\w/]+)` \| ([^|]+) \| (\w+) \|", doc, re.MULTILINE
        )
    }
    with np.load(evaluated / "logits.npz") as file:
        stored = dict(file)
    lists = {key.rpartition("/")[0] for key in stored} - {""}
    assert lists == {"out_of_fold", "test"}
    expected = {key.replace("LIST", name) for key in described for name in lists}
    assert stored.keys() == expected
    sizes = {"F": 2, "K": len(stored["scene_labels"])}
    for key, array in stored.items():
        name, _, field = key.rpartition("/")
        shapes, kind = described[f"LIST/{field}" if name else key]
        shape = shapes[0] if len(shapes) == 1 or name == "out_of_fold" else shapes[1]
        letters = re.findall(r"\w", shape)
        sizes["n"] = len(stored[f"{name}/path"]) if name else 0
        assert array.shape == tuple(sizes[letter] for letter in letters), key
        assert (array.dtype.kind == "U") if kind == "text" else (array.dtype == kind), key


def test_choosing_the_epoch_on_inner_clips(scenes, tmp_path):
    workdir = tmp_path / "inner"
    more = ("--config.folds.inner_fraction=0.5", "--config.folds.test_fold=0",
            "--config.train.selection=inner", "--config.train.select_after=1",
            "--config.train.epochs=3")  # fmt: skip
    assert asc_jax(*train_words(scenes, workdir, *more))[0] == 0
    assert asc_jax("evaluate", f"--workdir={workdir}")[0] == 0
    report = json.loads((workdir / "report.json").read_text())
    log = metrics(workdir)
    scores = np.array([line["validation_accuracy"] for line in log])[1:]
    chosen = report["training"]["selected_epochs"]
    assert chosen == (2 + scores.argmax(axis=0)).tolist() and min(chosen) < len(log)
    config = read_config(workdir)
    setup = set_up(config, *read_data(config))
    state, _, _ = restore_chosen(workdir, config, setup.like)
    then = [log[epoch - 1]["validation_loss"][fold] for fold, epoch in enumerate(chosen)]
    assert validate(setup, state)["validation_loss"] == pytest.approx(then, rel=1e-6)


def refused(*words) -> str:
    """The one line that a refused command prints."""
    status, _, err = asc_jax(*words)
    assert status == 2, err
    bars = ("step/s", "clip/s")
    lines = [line for line in err.splitlines() if line.strip() and not any(b in line for b in bars)]
    assert len(lines) == 1, err
    return lines[0]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("--config.optimizer.lr", "optimizer.lr"),
        ("--config.train.epoch=3", "train.epoch"),
        ("--config.folds.n_folds=9", "folds.n_folds"),
        ("--config.train.batch_size=500", "train.batch_size"),
        ("--config.folds.test_fold=3", "folds.test_fold"),
    ],
)
def test_wrong_fields_and_values_are_one_line(scenes, tmp_path, more, field):
    assert field in refused(*train_words(scenes, tmp_path / "run", more))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_there_is_named_with_its_argument(trained, tmp_path):
    """Which is a flag or a field, as the user gave it."""
    nowhere, run = tmp_path / "nowhere", tmp_path / "run"
    for argument, words in (
        ("FOLDER", ("data", "check", nowhere)),
        ("--data", ("evaluate", f"--workdir={trained}", f"--data={nowhere}")),
        ("--data", ("reproduce", f"--workdir={run}", f"--data={nowhere}")),
        ("data.root", train_words(nowhere, run)),
    ):
        line = refused(*words)
        assert line.startswith(str(nowhere)) and argument in line
    assert not run.exists()


def test_a_folder_of_something_else_is_left_alone(trained, scenes, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    assert str(foreign) in refused(*train_words(scenes, foreign))
    assert str(foreign) in refused("evaluate", f"--workdir={foreign}")
    assert (foreign / "thesis.tex").read_text() == "years of work"
    assert len(list(foreign.iterdir())) == 1
    assert "seed" in refused(*train_words(scenes, trained, "--config.seed=5"))
    with (trained / ".lock").open("w") as lock:  # another process trains in it
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert str(trained) in refused(*train_words(scenes, trained))


def test_a_data_set_that_has_changed_is_refused(trained, scenes, tmp_path):
    """A row less would move clips between folds: models would score what they have seen."""
    changed, workdir = tmp_path / "changed", tmp_path / "run"
    shutil.copytree(scenes, changed)
    shutil.copytree(trained, workdir)
    rows = (changed / "meta.csv").read_text().splitlines(keepends=True)
    (changed / "meta.csv").write_text("".join([*rows[:5], *rows[6:]]))
    gone = rows[5].split("\t")[0]
    for name in (changed / "evaluation_setup").iterdir():
        lines = name.read_text().splitlines(keepends=True)
        name.write_text("".join(line for line in lines if not line.startswith(gone)))
    config = json.loads((workdir / "config.json").read_text())
    config["data"]["root"] = str(changed)
    (workdir / "config.json").write_text(json.dumps(config))
    assert gone in refused("evaluate", f"--workdir={workdir}")
    assert "splits.json" in refused(*train_words(changed, workdir))


def test_sets_that_cannot_be_scored_are_refused(trained, scenes, tmp_path):
    """The one that was trained on, one of a taken name, and one with locations of training."""
    sets = [scenes, *(shutil.copytree(scenes, tmp_path / name) for name in ("test", "copy"))]
    for one in sets:
        line = refused("evaluate", f"--workdir={trained}", f"--data={one}")
        assert line.startswith(str(one))


def test_all_bad_files_are_listed_before_training(scenes, tmp_path):
    broken = shutil.copytree(scenes, tmp_path / "broken")
    first, *_, last = sorted((broken / "audio").iterdir())
    first.write_bytes(b"no audio at all, but some bytes")
    last.write_bytes(last.read_bytes()[:1000])
    status, _, err = asc_jax(*train_words(broken, tmp_path / "run"))
    assert status == 2
    for clip in (first, last):
        assert any(str(clip) in line for line in err.splitlines()), err
    assert not (tmp_path / "run").exists()


def test_divergence_is_one_line_and_no_mistake_of_the_users(scenes, tmp_path):
    words = train_words(scenes, tmp_path / "diverged", "--config.optimizer.lr=1e30")
    status, _, err = asc_jax(*words)
    assert status == 1
    assert "optimizer.lr" in err.splitlines()[-1] and "Traceback" not in err
