"""The commands in fresh processes: from audio files to a report, stops and wrong input included."""

import csv
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import small
import soundfile
from checkout import ROOT

from asc_jax import cli
from asc_jax.runs.metrics_log import untimed

CONFIG = ROOT / "configs" / "demo.py"

# Later words hold.
SMALL = (
    *small.WORDS,
    "--config.model.stage_sizes=(1, 1)",
    "--config.model.stage_strides=(1, 2)",
    "--config.folds.test_fold=1",
    "--config.train.epochs=4",
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """One device, as users have it, and caches that all runs of this file share."""
    ours = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    return {
        **ours,
        "XLA_FLAGS": "",
        "JAX_PLATFORMS": "cpu",
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
    }


def start(environment, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "asc_jax", *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def asc_jax(environment, *words):
    process = start(environment, *words)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def train_words(scenes, workdir, *more):
    root = f"--config.data.root={scenes}"
    return ("train", f"--config={CONFIG}", root, f"--workdir={workdir}", *SMALL, *more)


@pytest.fixture(scope="module")
def trained(environment, scenes, tmp_path_factory):
    """A run of four epochs that nothing interrupted, traced before them."""
    workdir = tmp_path_factory.mktemp("run") / "whole"
    status, _, err = asc_jax(environment, *train_words(scenes, workdir, "--profile"))
    assert status == 0, err
    lines = err.splitlines()
    assert lines[-1] == (
        f"{workdir}: all 4 epochs are done; next: asc-jax evaluate --workdir={workdir}"
    )
    assert [line.partition(":")[0] for line in lines[-5:-1]] == [
        f"epoch {n}/4" for n in range(1, 5)
    ]
    assert lines.count("1 CPU device") == 1
    assert "\r" not in err  # a log: no bar
    (trace,) = workdir.rglob("perfetto_trace.json.gz")
    assert f"{trace}: open it at https://ui.perfetto.dev" in err
    return workdir


@pytest.fixture(scope="module")
def evaluated(environment, trained, scenes, tmp_path_factory):
    """The same run, evaluated, with a set without labels beside."""
    unlabelled = tmp_path_factory.mktemp("sets") / "hidden"
    (unlabelled / "audio").mkdir(parents=True)
    (unlabelled / "evaluation_setup").mkdir()
    clips = sorted((scenes / "audio").iterdir())[:5]
    for number, clip in enumerate(clips):
        shutil.copy(clip, unlabelled / "audio" / f"{number}.wav")
    names = "".join(f"audio/{number}.wav\n" for number in range(5))
    (unlabelled / "evaluation_setup" / "test.txt").write_text(names)
    status, out, err = asc_jax(
        environment, "evaluate", f"--workdir={trained}", f"--data={unlabelled}"
    )
    assert status == 0, err
    return trained, out


def metrics(workdir) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def newest(workdir) -> pathlib.Path:
    """The folder of the newest checkpoint."""
    folders = [path for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()]
    return max(folders, key=lambda path: int(path.name))


def final_leaves(workdir) -> dict:
    """The checksums that the last checkpoint was saved with: equal means bit for bit equal."""
    return json.loads((newest(workdir) / "about" / "metadata").read_text())


def test_help_names_the_commands(environment):
    status, out, _ = asc_jax(environment, "--help")
    assert status == 0
    assert all(command in out for command in ("data", "train", "evaluate", "summary"))


def test_a_folder_that_is_not_there_is_named_with_its_argument(
    trained, tmp_path, process_as_it_was, capsys
):
    """Which is a flag or a field, as the user gave it."""
    nowhere, run = tmp_path / "nowhere", f"--workdir={tmp_path / 'run'}"
    for argument, words in (
        ("FOLDER", ("data", "check", str(nowhere))),
        ("--data", ("evaluate", f"--workdir={trained}", f"--data={nowhere}")),
        ("--data", ("reproduce", run, f"--data={nowhere}")),
        ("data.root", ("train", f"--config={CONFIG}", f"--config.data.root={nowhere}", run)),
    ):
        assert cli.main(words) == 2
        line = f"{nowhere}: no such folder; {argument} must be the folder that holds meta.csv"
        assert capsys.readouterr().err.startswith(line)
    assert not (tmp_path / "run").exists()


def test_training_logs_every_epoch_and_fold(trained):
    lines = metrics(trained)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert all(len(line["loss"]) == len(line["validation_accuracy"]) == 2 for line in lines)
    assert all(line["validation_list"] == "held_out" for line in lines)
    assert all(min(line["gradient_norm"]) > 0 for line in lines)
    assert all(line["skipped_steps"] == [0, 0] for line in lines)
    assert all(0 < line["seconds_per_step"] <= line["seconds_of_worst_step"] for line in lines)
    assert all("peak_memory_bytes" in line for line in lines)  # null where no device says
    config = json.loads((trained / "config.json").read_text())
    assert config["train"]["epochs"] == 4
    assert not (trained / "synthetic.json").exists()


def test_a_stopped_run_goes_on_bit_for_bit(environment, trained, scenes, tmp_path):
    workdir = tmp_path / "stopped"
    process = start(environment, *train_words(scenes, workdir))
    while not (workdir / "metrics.jsonl").exists():  # opened before the first step
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 75, err
    assert f"step {newest(workdir).name} is saved; run the same command to go on" in err
    assert len(metrics(workdir)) < 4
    status, _, err = asc_jax(environment, *train_words(scenes, workdir))
    assert status == 0, err
    assert untimed(metrics(workdir)) == untimed(metrics(trained))
    assert final_leaves(workdir) == final_leaves(trained)


def test_a_finished_run_is_left_alone(environment, trained, scenes):
    before = (trained / "metrics.jsonl").read_bytes()
    status, _, err = asc_jax(environment, *train_words(scenes, trained))
    assert status == 0 and "all 4 epochs are done" in err
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_the_report_adds_up(evaluated):
    workdir, out = evaluated
    report = json.loads((workdir / "report.json").read_text())
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
    last = metrics(workdir)[-1]["validation_accuracy"]
    folds = [fold["class_wise_accuracy"]["value"] for fold in out_of_fold["per_fold"]]
    assert folds == pytest.approx(
        last, abs=1e-6
    )  # what training logged and evaluation restored agree
    assert "no clip that is scored chose a checkpoint" in out
    assert (workdir / "report.html").is_file()


def test_the_ensemble_is_the_mean_of_the_stored_logits(evaluated):
    workdir, _ = evaluated
    stored = np.load(workdir / "logits.npz")
    labels = stored["scene_labels"]
    targets = np.searchsorted(labels, stored["test/scene_label"])
    answers = stored["test/logits"].mean(axis=0).argmax(axis=-1)
    report = json.loads((workdir / "report.json").read_text())
    accuracy = report["lists"][1]["systems"][0]["accuracy"]["value"]
    assert accuracy == pytest.approx((answers == targets).mean())


def test_submissions_have_the_challenge_formats(evaluated):
    workdir, _ = evaluated
    with (workdir / "submission" / "hidden_leaderboard.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Id", "Scene_label"]
    assert [row[0] for row in rows[1:]] == ["0", "1", "2", "3", "4"]
    dcase = (workdir / "submission" / "hidden_dcase.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in dcase] == [f"audio/{n}.wav" for n in range(5)]
    assert [line.split("\t")[1] for line in dcase] == [row[1] for row in rows[1:]]


def test_choosing_the_epoch_on_inner_clips(environment, scenes, tmp_path):
    workdir = tmp_path / "inner"
    more = ("--config.folds.inner_fraction=0.5", "--config.folds.test_fold=0",
            "--config.train.selection=inner", "--config.train.select_after=1",
            "--config.train.epochs=3")  # fmt: skip
    status, _, err = asc_jax(environment, *train_words(scenes, workdir, *more))
    assert status == 0, err
    status, out, err = asc_jax(environment, "evaluate", f"--workdir={workdir}")
    assert status == 0, err
    report = json.loads((workdir / "report.json").read_text())
    scores = np.array([line["validation_accuracy"] for line in metrics(workdir)])[1:]
    assert report["training"]["selected_epochs"] == (2 + scores.argmax(axis=0)).tolist()
    assert "chosen on inner clips" in out


def refused(environment, *words) -> str:
    """The one line that a refused command prints."""
    status, _, err = asc_jax(environment, *words)
    assert status == 2, err
    bars = ("step/s", "clip/s")
    lines = [line for line in err.splitlines() if line.strip() and not any(b in line for b in bars)]
    assert len(lines) == 1, err
    return lines[0]


def test_wrong_fields_and_values_are_one_line(environment, scenes, tmp_path):
    workdir = tmp_path / "run"
    for more, words in (
        ("--config.optimizer.lr=nan", ("optimizer.lr", "finite")),
        ("--config.optimizer.lr", ("--config.optimizer.lr", "float")),
        ("--config.train.epoch=3", ("train.epoch", "train.epochs")),
        ("--config.folds.n_folds=9", ("folds.n_folds=9", "at most")),
        ("--config.train.batch_size=500", ("train.batch_size=500", "training clips")),
        ("--config.folds.test_fold=3", ("folds.test_fold=3", "folds 1")),
    ):
        line = refused(environment, *train_words(scenes, workdir, more))
        assert all(word in line for word in words), line


def test_wrong_folders_are_one_line(environment, trained, scenes, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    assert "not empty" in refused(environment, *train_words(scenes, foreign))
    assert (foreign / "thesis.tex").read_text() == "years of work"
    assert len(list(foreign.iterdir())) == 1
    line = refused(environment, *train_words(scenes, trained, "--config.seed=5"))
    assert "belongs to another config" in line and "seed" in line
    line = refused(environment, *train_words(tmp_path / "nowhere", tmp_path / "run"))
    assert "nowhere" in line and "data.root" in line
    assert "config.json" in refused(environment, "evaluate", f"--workdir={foreign}")


def test_a_data_set_that_has_changed_is_refused(environment, trained, scenes, tmp_path):
    """A row less would move clips between folds: models would score what they have seen."""
    changed, workdir = tmp_path / "changed", tmp_path / "run"
    shutil.copytree(scenes, changed)
    shutil.copytree(trained, workdir)
    rows = (changed / "meta.csv").read_text().splitlines(keepends=True)
    (changed / "meta.csv").write_text("".join([*rows[:5], *rows[6:]]))
    for name in (changed / "evaluation_setup").iterdir():
        lines = name.read_text().splitlines(keepends=True)
        gone = rows[5].split("\t")[0]
        name.write_text("".join(line for line in lines if not line.startswith(gone)))
    config = json.loads((workdir / "config.json").read_text())
    config["data"]["root"] = str(changed)
    (workdir / "config.json").write_text(json.dumps(config))
    line = refused(environment, "evaluate", f"--workdir={workdir}")
    assert rows[5].split("\t")[0] in line and "restore the data set" in line
    line = refused(environment, *train_words(changed, workdir))
    assert "splits.json" in line


def test_sets_that_cannot_be_scored_are_refused(environment, trained, scenes, tmp_path):
    line = refused(environment, "evaluate", f"--workdir={trained}", f"--data={scenes}")
    assert "was trained on" in line
    shutil.copytree(scenes, tmp_path / "test")
    line = refused(environment, "evaluate", f"--workdir={trained}", f"--data={tmp_path / 'test'}")
    assert "'test' is there already" in line
    shutil.copytree(scenes, tmp_path / "copy")
    line = refused(environment, "evaluate", f"--workdir={trained}", f"--data={tmp_path / 'copy'}")
    assert "among the training clips" in line


def test_a_run_folder_takes_one_process_at_a_time(environment, scenes, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    with (workdir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process" in refused(environment, *train_words(scenes, workdir))


def test_all_bad_files_are_listed_before_training(environment, scenes, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(scenes, broken)
    clips = sorted((broken / "audio").iterdir())
    clips[0].write_bytes(b"")
    clips[7].write_bytes(b"no audio at all, but some bytes")
    whole = clips[20].read_bytes()
    clips[20].write_bytes(whole[: len(whole) // 2])
    samples, sr = soundfile.read(clips[30])
    soundfile.write(clips[30], samples[: sr // 2], sr, subtype="PCM_24")
    samples[5] = np.nan
    soundfile.write(clips[40], samples, sr, subtype="FLOAT", format="WAV")
    workdir = tmp_path / "run"
    status, _, err = asc_jax(environment, *train_words(broken, workdir))
    assert status == 2
    for clip in (clips[0], clips[7], clips[20], clips[30], clips[40]):
        assert any(str(clip) in line for line in err.splitlines()), err
    assert not workdir.exists()


def test_a_full_disk_is_one_line_and_the_run_goes_on(environment, trained, scenes, mount_disk):
    disk, resize = mount_disk("200k")
    workdir = disk / "run"
    status, _, err = asc_jax(environment, *train_words(scenes, workdir))
    assert status == 2, err
    (line,) = [line for line in err.splitlines() if "no space left" in line]
    assert line.startswith(str(workdir)) and "run the same command to go on" in line
    resize("50m")
    status, _, err = asc_jax(environment, *train_words(scenes, workdir))
    assert status == 0, err
    assert final_leaves(workdir) == final_leaves(trained)


def test_scoring_names_a_damaged_checkpoint_and_uses_the_one_before(environment, trained, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    damaged = newest(workdir)
    data = [path for path in (damaged / "state").rglob("*") if path.is_file()]
    largest = max(data, key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[: len(content) // 2])
    status, out, err = asc_jax(environment, "evaluate", f"--workdir={workdir}")
    assert status == 0, err
    (line,) = [line for line in err.splitlines() if ": damaged (" in line]
    assert line.startswith(f"{damaged}: damaged (")
    assert newest(workdir) == damaged and not (workdir / "checkpoints_damaged").exists()
    assert "epoch 3 of 4" in out


def test_divergence_names_step_and_fold_and_keeps_the_last_good_state(
    environment, scenes, tmp_path
):
    workdir = tmp_path / "diverged"
    words = train_words(scenes, workdir, "--config.optimizer.lr=1e30", "--config.train.epochs=6")
    status, _, err = asc_jax(environment, *words)
    assert status == 1
    line = err.strip().splitlines()[-1]
    assert "fold" in line and "step" in line and "optimizer.lr" in line
    assert "Traceback" not in err
