"""Seeds in one program: each run is what it would have been alone, and an ordinary run folder."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from asc_jax import run
from asc_jax.config import load_config
from asc_jax.evaluate import evaluate
from asc_jax.train import together
from asc_jax.train.checkpoint import Checkpoints
from asc_jax.train.loop import train
from asc_jax.train.metrics_log import read_metrics
from asc_jax.train.setup import restore, set_up
from asc_jax.train.together import train_together

CONFIG = str(pathlib.Path(__file__).parents[2] / "configs" / "demo.py")
# Under SGD: Adam walks on the rounding of gradients that are exactly 0.
SMALL = (
    "data.clip_seconds=1.0", "data.n_frames=24", "frontend.n_mels=16", "model.stage_sizes=(1,)",
    "model.stage_strides=(2,)", "model.width=4", "folds.n_folds=2", "train.batch_size=8",
    "folds.test_fold=0", "train.epochs=2", "model.se_ratio=0",
    "augment.mixup_alpha=0.0", "optimizer.name=sgd", "optimizer.lr=0.02",
)  # fmt: skip
SEEDS = (0, 7)


def config(scenes, *more):
    fields = (f"data.root={scenes}", *SMALL, *more)
    return load_config(CONFIG, [f"--config.{field}" for field in fields])


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """Meshes have tests of their own; eight devices on two cores are slow."""
    devices = jax.devices()[:1]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(jax, "devices", lambda *_: devices)
        yield


@pytest.fixture(scope="module")
def alone(scenes, tmp_path_factory):
    """Runs of both seeds, each by itself."""
    folder = tmp_path_factory.mktemp("alone")
    for seed in SEEDS:
        train(config(scenes, f"seed={seed}"), folder / f"seed{seed}")
    return folder


@pytest.fixture(scope="module")
def joined(scenes, tmp_path_factory):
    """The same as one program."""
    folder = tmp_path_factory.mktemp("joined")
    train_together(config(scenes), folder, SEEDS)
    return folder


def final_state(folder):
    """The newest checkpoint, on the host."""
    settled = run.read_config(folder)
    setup = set_up(settled, *run.read_data(settled))
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        return jax.device_get(restore(setup, checkpoints, choosing=False)[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_is_what_it_would_have_been_alone(alone, joined, seed):
    one, other = alone / f"seed{seed}", joined / f"seed{seed}"
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


def test_the_runs_differ_by_their_seeds(joined):
    first, second = (read_metrics(joined / f"seed{seed}" / "metrics.jsonl")[0] for seed in SEEDS)
    assert len(first["loss"]) == 2
    assert set(first["loss"]).isdisjoint(second["loss"])


def test_nothing_but_the_runs_is_left(joined):
    assert {path.name for path in joined.iterdir()} == {"seed0", "seed7"}


def test_each_is_evaluated_and_goes_on_as_any_run(joined, alone, scenes, capsys):
    reports = [evaluate(folder / "seed7") for folder in (joined, alone)]
    logits = [np.load(folder / "seed7" / "logits.npz") for folder in (joined, alone)]
    np.testing.assert_allclose(
        logits[0]["out_of_fold/logits"], logits[1]["out_of_fold/logits"], rtol=1e-3, atol=1e-4
    )
    assert reports[0]["training"]["epochs"] == 2 and reports[0]["training"]["n_folds"] == 2
    before = (joined / "seed7" / "metrics.jsonl").read_text()
    train_together(config(scenes), joined, SEEDS)  # now each alone, and done
    assert capsys.readouterr().err.count("all 2 epochs are done") == 2
    assert (joined / "seed7" / "metrics.jsonl").read_text() == before


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
            train_together(config(scenes), tmp_path, SEEDS)
    assert (tmp_path / "seed0").exists() and not (tmp_path / "seed7").exists()
    whole = json.loads((tmp_path / "seed0" / "config.json").read_text())
    assert whole["seed"] == 0
    train_together(config(scenes), tmp_path, SEEDS)
    assert {path.name for path in tmp_path.iterdir()} == {"seed0", "seed7"}
    theirs, ours = final_state(joined / "seed7"), final_state(tmp_path / "seed7")
    jax.tree.map(np.testing.assert_array_equal, theirs, ours)


def test_a_run_that_is_there_already_goes_on_alone(alone, scenes, tmp_path, monkeypatch):
    shutil.copytree(alone / "seed7", tmp_path / "seed7")
    trained = []
    monkeypatch.setattr(
        together, "train", lambda config, folder: trained.append((config.seed, folder.name))
    )
    train_together(config(scenes), tmp_path, SEEDS)
    assert trained == [(0, "seed0"), (7, "seed7")]
