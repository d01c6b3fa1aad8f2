"""Runs in one program: each is what it would have been alone, and an ordinary run folder."""

import pathlib
import shutil

import jax
import numpy as np
import pytest
from checkout import CONFIGS
from refusals import refused

from asc_jax.config.load import PER_MODEL_FIELDS, flatten, load_config
from asc_jax.experiments import together
from asc_jax.experiments.together import train_together
from asc_jax.runs.checkpoint import Checkpoints, Progress
from asc_jax.runs.folder import read_config
from asc_jax.runs.inputs import read_data
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runs.sweep_record import read_record
from asc_jax.runtime.errors import Diverged
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train.loop import train
from asc_jax.train.restore import on_host, snapshot_like
from asc_jax.train.setup import set_up

CONFIG = str(CONFIGS / "demo.py")
# Under SGD: Adam walks on the rounding of gradients that are exactly 0.
SMALL = (
    "data.clip_seconds=1.0", "data.n_frames=24", "frontend.n_mels=16", "model.stage_sizes=(1,)",
    "model.stage_strides=(2,)", "model.width=4", "folds.n_folds=2", "train.batch_size=8",
    "folds.test_fold=0", "train.epochs=2", "model.se_ratio=0",
    "augment.mixup_alpha=0.0", "optimizer.name=sgd", "optimizer.lr=0.02",
    "train.mesh=(1, 1)",  # meshes have tests of their own; eight devices on two cores are slow
)  # fmt: skip
RUNS = {
    "seed0": ("seed=0",),
    "seed7": ("seed=7",),
    "other": (
        "seed=3", "optimizer.lr=0.05", "optimizer.weight_decay=0.3", "train.label_smoothing=0.4",
    ),
}  # fmt: skip
# Trained beside them: each field that may differ by itself, and a run that diverges.
FIELDS = {
    "optimizer.lr": "b_lr",
    "optimizer.weight_decay": "b_weight_decay",
    "train.label_smoothing": "b_label_smoothing",
}
BESIDE = {
    "b_lr": ("optimizer.lr=0.05",),
    "b_weight_decay": ("optimizer.weight_decay=0.3",),
    "b_label_smoothing": ("train.label_smoothing=0.4",),
    "a_lost": ("optimizer.lr=1e30",),
}
ALL = (*RUNS, *BESIDE)


def config(scenes, *more):
    fields = (f"data.root={scenes}", *SMALL, *more)
    return load_config(CONFIG, [f"--config.{field}" for field in fields])


def train_runs(scenes, folder, names):
    configs = {name: config(scenes, *(RUNS | BESIDE)[name]) for name in names}
    train_together(config(scenes), CONFIG, configs, folder)


@pytest.fixture(scope="module")
def stopped(scenes, tmp_path_factory):
    """A program of all runs, stopped when it had made the folders of some."""
    folder, move = tmp_path_factory.mktemp("stopped"), pathlib.Path.rename

    def rename(self, target):
        if target.name == "other":
            raise KeyboardInterrupt
        return move(self, target)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pathlib.Path, "rename", rename)
        train_runs(scenes, folder, ALL)
    return folder


@pytest.fixture(scope="module")
def joined(stopped, scenes, tmp_path_factory):
    """The same at its end; one of its runs diverges."""
    folder = shutil.copytree(stopped, tmp_path_factory.mktemp("joined") / "runs")
    with pytest.raises(Diverged) as lost:
        train_runs(scenes, folder, ALL)
    (folder / "said").write_text(str(lost.value))
    return folder


@pytest.fixture(scope="module")
def final_state(joined):
    """A run's newest checkpoint, on the host: (its folder)."""
    settled = read_config(joined / "seed7")
    setup = set_up(settled, *read_data(settled))  # of the same shapes for all runs
    like = on_host(snapshot_like(setup.like, choosing=False))

    def read(folder):
        with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
            return checkpoints.restore(like)[0]["state"]

    return read


def test_a_run_is_what_it_would_have_been_alone(joined, scenes, tmp_path, final_state):
    one, other = tmp_path / "alone", joined / "other"
    train(config(scenes, *RUNS["other"]), one)
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
    mine, theirs = ((folder / "metrics.csv").read_text().splitlines()[0] for folder in (one, other))
    assert mine == theirs and "loss/fold2" in mine


def test_the_runs_differ_by_their_seeds_and_hyperparameters(joined):
    first, *others = (read_metrics(joined / name / "metrics.jsonl")[1] for name in RUNS)
    assert len(first["loss"]) == 2
    for other in others:
        assert set(first["loss"]).isdisjoint(other["loss"])


@pytest.mark.parametrize("field", PER_MODEL_FIELDS)
def test_each_field_that_may_differ_reaches_the_model(joined, field):
    name = "seed7" if field == "seed" else FIELDS[field]
    base, own = (flatten(read_config(joined / one)) for one in ("seed0", name))
    assert {f for f in base if base[f] != own[f]} == {field}
    losses = [read_metrics(joined / one / "metrics.jsonl")[1]["loss"] for one in ("seed0", name)]
    assert not np.isclose(*losses, rtol=1e-3).any()


def test_a_run_that_diverges_is_named_and_the_others_are_done(joined):
    """What these are is held above to what they are alone."""
    said = (joined / "said").read_text()
    assert said.startswith("a_lost: fold ") and "optimizer.lr" in said and "\n" not in said


def test_a_run_that_is_lost_is_said_to_be_so_again_and_not_trained(joined, scenes, monkeypatch):
    trained = []
    monkeypatch.setattr(
        together, "train", lambda config, folder, **how: trained.append(folder.name)
    )
    with pytest.raises(Diverged) as lost:
        train_runs(scenes, joined, ALL)
    assert str(lost.value) == (joined / "said").read_text()
    assert set(trained) == {*ALL} - {"a_lost"}


def test_nothing_but_the_runs_and_their_record_is_left(joined):
    runs = {*ALL} - {"a_lost"}
    assert {path.name for path in joined.iterdir()} == runs | {"sweep.json", "said"}
    settings = read_record(joined)["settings"]
    assert settings["base"] == {"fields": {}, "runs": {"0": "seed0", "7": "seed7"}}
    assert settings["b_lr"] == {"fields": {"optimizer.lr": 0.05}, "runs": {"0": "b_lr"}}


def test_a_share_of_the_programs_memory_is_no_runs(joined):
    lines = [{"epoch": 1, "seconds": 6.0, "peak_memory_bytes": 5, "loss": [1, 2, 3, 4]}]
    assert together._own_part(lines[0], slice(2, 4), 2) == {
        "epoch": 1, "seconds": 3.0, "peak_memory_bytes": None, "loss": [3, 4],
    }  # fmt: skip


def test_each_is_evaluated_and_goes_on_as_any_run(joined, scenes):
    report = evaluate(joined / "seed7")
    assert report["training"]["epochs"] == 2 and report["training"]["n_folds"] == 2
    log = joined / "seed7" / "metrics.jsonl"
    before = log.read_text()
    train_runs(scenes, joined, ["seed7"])  # now alone, and done
    assert log.read_text() == before


def test_a_stop_between_two_runs_leaves_whole_ones(
    stopped, joined, scenes, tmp_path, monkeypatch, final_state
):
    """The program's folder is still there then, and the rest is made of its last step alone."""
    assert (stopped / "b_lr").exists() and not (stopped / "seed7").exists()
    assert read_config(stopped / "b_lr").optimizer.lr == 0.05
    folder = shutil.copytree(stopped, tmp_path / "runs")

    def train_and_damage(*arguments, **more):
        ended = train(*arguments, **more)
        (checkpoints,) = folder.glob("together/*/checkpoints")
        shutil.rmtree(max(checkpoints.iterdir(), key=lambda place: int(place.name)))
        return ended

    with monkeypatch.context() as patched:
        patched.setattr(together, "train", train_and_damage)
        (program,) = (folder / "together").iterdir()
        with refused(path=program):
            train_runs(scenes, folder, ALL)
    assert not (folder / "seed7").exists()
    with pytest.raises(Diverged):
        train_runs(scenes, folder, ALL)
    assert not (folder / "together").exists()
    assert len(read_metrics(folder / "seed7" / "metrics.jsonl")) == 2
    theirs, ours = final_state(joined / "seed7"), final_state(folder / "seed7")
    jax.tree.map(np.testing.assert_array_equal, theirs, ours)


def test_a_stop_while_the_program_is_removed_leaves_nothing(scenes, tmp_path, monkeypatch):
    trained, runs = [], ("seed0", "seed7")

    def train(config, folder, **_):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").touch()
        trained.append(folder.relative_to(tmp_path).parts[0])
        return None, Progress()

    def stop(folder, **_):
        (folder / "config.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(together, "train", train)
    monkeypatch.setattr(
        together, "_write_runs", lambda *_: [(tmp_path / name).mkdir() for name in runs]
    )
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", stop)
        train_runs(scenes, tmp_path, runs)
    train_runs(scenes, tmp_path, runs)
    assert trained == ["together", "seed0", "seed7"]
    assert {path.name for path in tmp_path.iterdir()} == {"seed0", "seed7", "sweep.json"}


def test_a_run_that_is_there_already_goes_on_alone(joined, scenes, tmp_path, monkeypatch):
    trained = []

    def train(config, folder, **_):
        if folder.parent.name == "together":
            shutil.copytree(joined / "seed7", tmp_path / "seed7")
            raise KeyboardInterrupt
        trained.append((config.seed, folder.name))
        if config.seed == 0:
            raise Diverged("fold 1: lost")

    monkeypatch.setattr(together, "train", train)
    with pytest.raises(KeyboardInterrupt):
        train_runs(scenes, tmp_path, ("seed0", "seed7"))
    with pytest.raises(Diverged, match=r"^seed0: "):
        train_runs(scenes, tmp_path, ("seed0", "seed7"))
    assert trained == [(0, "seed0"), (7, "seed7")]
