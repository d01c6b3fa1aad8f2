"""Runs in one program: each is what it would have been alone, and an ordinary run folder."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from asc_jax import run
from asc_jax.config import SEPARATE_FIELDS, flatten, load_config
from asc_jax.errors import InputError
from asc_jax.evaluate import evaluate
from asc_jax.train import hyperparameters, together
from asc_jax.train.checkpoint import Checkpoints
from asc_jax.train.loop import train
from asc_jax.train.metrics_log import read_metrics
from asc_jax.train.setup import restore, set_up
from asc_jax.train.together import load_runs, train_together

CONFIG = str(pathlib.Path(__file__).parents[2] / "configs" / "demo.py")
# Under SGD: Adam walks on the rounding of gradients that are exactly 0.
SMALL = (
    "data.clip_seconds=1.0", "data.n_frames=24", "frontend.n_mels=16", "model.stage_sizes=(1,)",
    "model.stage_strides=(2,)", "model.width=4", "folds.n_folds=2", "train.batch_size=8",
    "folds.test_fold=0", "train.epochs=2", "model.se_ratio=0",
    "augment.mixup_alpha=0.0", "optimizer.name=sgd", "optimizer.lr=0.02",
)  # fmt: skip
RUNS = {
    "seed0": ("seed=0",),
    "seed7": ("seed=7",),
    "other": ("optimizer.lr=0.05", "optimizer.weight_decay=0.3", "train.label_smoothing=0.4"),
}


def config(scenes, *more):
    fields = (f"data.root={scenes}", *SMALL, *more)
    return load_config(CONFIG, [f"--config.{field}" for field in fields])


def configs(scenes, names=tuple(RUNS)):
    return {name: config(scenes, *RUNS[name]) for name in names}


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """Meshes have tests of their own; eight devices on two cores are slow."""
    devices = jax.devices()[:1]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(jax, "devices", lambda *_: devices)
        yield


@pytest.fixture(scope="module")
def alone(scenes, tmp_path_factory):
    """Each run by itself."""
    folder = tmp_path_factory.mktemp("alone")
    for name, own in configs(scenes).items():
        train(own, folder / name)
    return folder


@pytest.fixture(scope="module")
def joined(scenes, tmp_path_factory):
    """The same as one program."""
    folder = tmp_path_factory.mktemp("joined")
    train_together(configs(scenes), folder)
    return folder


def final_state(folder):
    """The newest checkpoint, on the host."""
    settled = run.read_config(folder)
    setup = set_up(settled, *run.read_data(settled))
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        return jax.device_get(restore(setup, checkpoints, choosing=False)[0])


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_what_it_would_have_been_alone(alone, joined, name):
    one, other = alone / name, joined / name
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        final_state(one), final_state(other),
    )  # fmt: skip
    for mine, theirs in zip(
        read_metrics(one / "metrics.jsonl"), read_metrics(other / "metrics.jsonl"), strict=True
    ):
        assert mine.keys() == theirs.keys() and mine["step"] == theirs["step"]
        np.testing.assert_allclose(mine["loss"], theirs["loss"], rtol=1e-4)
    for name in ("config.json", "splits.json"):
        assert (one / name).read_text() == (other / name).read_text()


def test_the_runs_differ_by_their_seeds_and_hyperparameters(joined):
    first, *others = (read_metrics(joined / name / "metrics.jsonl")[1] for name in RUNS)
    assert len(first["loss"]) == 2
    for other in others:
        assert set(first["loss"]).isdisjoint(other["loss"])


@pytest.mark.parametrize("field", SEPARATE_FIELDS)
def test_each_field_that_may_differ_reaches_the_model(scenes, field):
    value = 9 if field == "seed" else 0.25
    changed = config(scenes, f"{field}={value}")
    if field == "seed":
        assert changed.seed == value
    else:
        assert getattr(hyperparameters.of_config(changed), field.split(".")[1]) == value


def test_nothing_but_the_runs_is_left(joined):
    assert {path.name for path in joined.iterdir()} == set(RUNS)


def test_each_is_evaluated_and_goes_on_as_any_run(joined, alone, scenes):
    reports = [evaluate(folder / "seed7") for folder in (joined, alone)]
    logits = [np.load(folder / "seed7" / "logits.npz") for folder in (joined, alone)]
    np.testing.assert_allclose(
        logits[0]["out_of_fold/logits"], logits[1]["out_of_fold/logits"], rtol=1e-3, atol=1e-4
    )
    assert reports[0]["training"]["epochs"] == 2 and reports[0]["training"]["n_folds"] == 2
    logs = lambda: [(joined / name / "metrics.jsonl").read_text() for name in RUNS]
    before = logs()
    train_together(configs(scenes), joined)  # now each alone, and done
    assert logs() == before


def test_a_stop_between_two_runs_leaves_whole_ones(joined, scenes, tmp_path, monkeypatch):
    """The program's folder is still there then, and the rest is made of it."""
    made, move = [], pathlib.Path.rename

    def rename(self, target):
        if target.name.startswith("seed"):
            made.append(target.name)
            if len(made) == 2:
                raise KeyboardInterrupt
        return move(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(pathlib.Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            train_together(configs(scenes, ("seed0", "seed7")), tmp_path)
    assert (tmp_path / "seed0").exists() and not (tmp_path / "seed7").exists()
    whole = json.loads((tmp_path / "seed0" / "config.json").read_text())
    assert whole["seed"] == 0
    train_together(configs(scenes, ("seed0", "seed7")), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"seed0", "seed7"}
    theirs, ours = final_state(joined / "seed7"), final_state(tmp_path / "seed7")
    jax.tree.map(np.testing.assert_array_equal, theirs, ours)


def test_a_stop_while_the_program_is_removed_leaves_nothing(scenes, tmp_path, monkeypatch):
    trained, runs = [], configs(scenes, ("seed0", "seed7"))

    def train(config, folder, **_):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").touch()
        trained.append(folder.name)

    def stop(folder, **_):
        (folder / "config.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(together, "train", train)
    monkeypatch.setattr(
        together, "_write_runs", lambda _, configs, folders: [f.mkdir() for f in folders.values()]
    )
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", stop)
        train_together(runs, tmp_path)
    train_together(runs, tmp_path)
    assert trained == [together._name(runs), "seed0", "seed7"]
    assert {path.name for path in tmp_path.iterdir()} == {"seed0", "seed7"}


def test_a_run_that_is_there_already_goes_on_alone(alone, scenes, tmp_path, monkeypatch):
    shutil.copytree(alone / "seed7", tmp_path / "seed7")
    trained = []
    monkeypatch.setattr(
        together, "train", lambda config, folder: trained.append((config.seed, folder.name))
    )
    train_together(configs(scenes, ("seed0", "seed7")), tmp_path)
    assert trained == [(0, "seed0"), (7, "seed7")]


def test_a_program_of_other_values_is_another_program(scenes):
    names = {
        together._name({"a": config(scenes, field)})
        for field in ("seed=1", "seed=2", "optimizer.lr=0.5", "train.label_smoothing=0.1")
    }
    assert len(names) == 4
    first, again = configs(scenes, ("seed0", "seed7")), configs(scenes, ("seed0", "seed7"))
    assert together._name(first) == together._name(again)
    assert together._name(first) != together._name(configs(scenes, ("seed0", "other")))


def test_runs_are_read_from_their_words(scenes):
    overrides = [f"--config.data.root={scenes}", *(f"--config.{field}" for field in SMALL)]
    words = [["base/seed0", "seed=0"], ["b/seed1", "seed=1", "optimizer.lr=0.5", "title=A, b"]]
    runs = load_runs(CONFIG, overrides, words)
    assert list(runs) == ["base/seed0", "b/seed1"]
    first, second = (flatten(one) for one in runs.values())
    assert {field for field in first if first[field] != second[field]} == {
        "seed", "optimizer.lr", "title",
    }  # fmt: skip
    assert (runs["b/seed1"].optimizer.lr, runs["b/seed1"].title) == (0.5, "A, b")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([["a", "optimizer.name=sgd"]], "optimizer.name=sgd: runs of one program can differ in"),
        ([["a", "train.epochs=3"]], "use --config.train.epochs=3 for all of them"),
        ([["a", "optimizer.lr=-1"]], "optimizer.lr=-1"),
        ([["a", "optimizer.rl=1"]], "optimizer.rl=1"),
        ([["a"], ["a"]], "another for each run"),
        ([["optimizer.lr=1"]], "--run optimizer.lr=1: must begin with the name of a folder"),
        ([["/a"]], "must begin with the name of a folder below --workdir"),
        ([["../a"]], "must begin with the name of a folder below --workdir"),
    ],
)
def test_runs_that_cannot_be_one_program(words, expected):
    with pytest.raises(InputError) as error:
        load_runs(CONFIG, [], words)
    assert expected in str(error.value) and "\n" not in str(error.value)
