"""A run that was interrupted ends as one that was not: same mesh, other mesh, damaged files."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest
from checkout import CONFIGS

from asc_jax.config.load import load_config
from asc_jax.runs.checkpoint import Checkpoints
from asc_jax.runs.inputs import read_data
from asc_jax.runs.metrics_log import read_metrics, untimed
from asc_jax.runtime import interruption
from asc_jax.runtime.errors import InputError, Stopped
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train import loop
from asc_jax.train import stop as stop_module
from asc_jax.train.loop import train
from asc_jax.train.restore import restore
from asc_jax.train.setup import set_up
from asc_jax.train.stop import StopSignal

CONFIG = CONFIGS / "demo.py"
STEPS_PER_EPOCH, EPOCHS = 5, 2
SMALL = {
    "data.clip_seconds": 1.0,
    "data.n_frames": 24,
    "frontend.n_mels": 16,
    "model.stage_sizes": (1,),
    "model.stage_strides": (2,),
    "model.width": 4,
    "folds.n_folds": 2,
    "folds.test_fold": 0,
    "optimizer.name": "sgd",  # Adam makes steps of the rounding errors of a gradient that is 0
    "optimizer.lr": 0.01,
    "train.batch_size": 8,
    "train.epochs": EPOCHS,
}


def config_of(scenes, **changed):
    fields = {"data.root": scenes, **SMALL, **changed}
    return load_config(CONFIG, [f"--config.{name}={value}" for name, value in fields.items()])


@pytest.fixture(scope="module")
def config(scenes):
    return config_of(scenes)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory) -> pathlib.Path:
    """A run that nothing interrupted, on all eight devices."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    train(config, workdir)
    return workdir


def end(workdir, step: int = EPOCHS * STEPS_PER_EPOCH) -> tuple[dict, list[dict]]:
    """Checksums of the last state, and the log without its times."""
    about = workdir / "checkpoints" / str(step) / "about" / "metadata"
    return json.loads(about.read_text()), untimed(read_metrics(workdir / "metrics.jsonl"))


def saved_steps(workdir) -> list[int]:
    names = [path.name for path in (workdir / "checkpoints").iterdir()]
    return sorted(int(name) for name in names if name.isdigit())


def test_a_signal_saves_the_step_and_the_run_goes_on_bit_for_bit(
    config, whole, tmp_path, stop_at_step
):
    workdir = tmp_path / "run"
    stop_at_step(2)
    with pytest.raises(Stopped, match="step 2 is saved; run the same command to go on"):
        train(config, workdir)
    assert saved_steps(workdir) == [2]
    with pytest.raises(InputError, match="no epoch is finished"):
        evaluate(workdir)
    stop_at_step(5)
    with pytest.raises(Stopped, match="step 7 is saved"):
        train(config, workdir)
    training = evaluate(workdir)["training"]
    assert (training["epochs"], training["steps"]) == (1, 7)
    assert training["note"].startswith("Scores come from step 7, within epoch 2;")
    train(config, workdir)
    assert end(workdir) == end(whole)


def test_a_signal_in_the_last_step_of_an_epoch_ends_the_epoch(
    config, whole, tmp_path, stop_at_step
):
    stop_at_step(STEPS_PER_EPOCH)
    with pytest.raises(Stopped, match=f"step {STEPS_PER_EPOCH} is saved"):
        train(config, tmp_path / "run")
    assert end(tmp_path / "run", STEPS_PER_EPOCH)[1] == end(whole)[1][:1]
    train(config, tmp_path / "run")
    assert end(tmp_path / "run") == end(whole)


def test_saves_within_an_epoch(scenes, whole, tmp_path, monkeypatch):
    """What a kill leaves: the newest save, and nothing of the steps after it."""
    config = config_of(scenes, **{"train.save_every": 2})
    validate = loop.validate
    monkeypatch.setattr(loop, "validate", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(config, tmp_path / "run")
    assert saved_steps(tmp_path / "run") == [2, 4]
    monkeypatch.setattr(loop, "validate", validate)
    train(config, tmp_path / "run")
    assert saved_steps(tmp_path / "run") == [9, 10]
    assert end(tmp_path / "run") == end(whole)
    earlier, later = (line["seconds"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl"))
    assert earlier > 0 and later > 0


def test_a_damaged_checkpoint_costs_its_steps_alone(config, whole, tmp_path, capsys):
    workdir = shutil.copytree(whole, tmp_path / "run")
    damaged = workdir / "checkpoints" / "10"
    shutil.rmtree(damaged / "state")
    report = evaluate(workdir)
    assert (report["training"]["epochs"], report["training"]["steps"]) == (1, 5)
    assert damaged.exists()
    train(config, workdir)
    assert f"{damaged}: damaged (" in capsys.readouterr().err
    assert (workdir / "checkpoints_damaged" / "10").exists()
    assert end(workdir) == end(whole)


def final_state(config, workdir):
    dataset, splits, test = read_data(config)
    setup = set_up(config, dataset, splits, test)
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        tree, progress = restore(setup, checkpoints)
    assert progress.epochs == EPOCHS
    return setup.mesh.devices.size, jax.device_get(tree["state"])


def test_a_restart_needs_no_memory_but_its_state(config, whole):
    dataset, splits, test = read_data(config)
    size = lambda arrays: sum(leaf.nbytes for leaf in arrays)
    setup = set_up(config, dataset, splits, test)
    before = size(jax.live_arrays())
    with Checkpoints(whole / "checkpoints", read_only=True) as checkpoints:
        tree, _ = restore(setup, checkpoints)
    needed = size(jax.tree.leaves(tree))
    assert needed > 1000 and size(jax.live_arrays()) - before == needed


def test_another_number_of_devices_ends_within_rounding(
    config, whole, tmp_path, stop_at_step, monkeypatch
):
    n_devices, expected = final_state(config, whole)
    assert n_devices == 8
    stop_at_step(STEPS_PER_EPOCH - 1)
    with pytest.raises(Stopped):
        train(config, tmp_path / "run")
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: one)
    train(config, tmp_path / "run")
    n_devices, state = final_state(config, tmp_path / "run")
    assert n_devices == 1
    difference = lambda a, b: np.linalg.norm(np.float64(a - b)) / max(np.linalg.norm(b), 1e-3)
    worst = jax.tree.map(difference, state.params, expected.params)
    assert max(jax.tree.leaves(worst)) < 1e-4


def test_signals_are_as_before_once_it_is_left(monkeypatch):
    """And several signals within a second are the same wish: timeout(1) sends two."""
    handlers = lambda: [signal.getsignal(number) for number in interruption.SIGNALS]
    monkeypatch.setattr(stop_module, "_ONE_WISH", 1000.0)
    before, threads = handlers(), threading.active_count()
    with contextlib.suppress(Stopped), StopSignal() as stop:
        assert handlers() != before and not stop.requested
        for number in interruption.SIGNALS:
            signal.raise_signal(number)
        assert stop.requested
        raise Stopped("as it was asked to")
    assert (handlers(), threading.active_count()) == (before, threads)
    assert signal.set_wakeup_fd(-1) == -1


BUSY = """
import jax, jax.numpy as jnp
from asc_jax.train import stop

stop._ONE_WISH = 0.0
busy = jax.jit(lambda x: jax.lax.while_loop(lambda x: x[0] < 2, jnp.sin, x))
busy(jnp.full(8, 3.0)).block_until_ready()
with stop.StopSignal():
    print("busy", flush=True)
    busy(jnp.ones(8)).block_until_ready()  # for ever, and not in Python
"""


def test_signals_are_heard_while_the_main_thread_is_not_in_python():
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "stopping after this step; again to stop at once\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert said.strip().startswith("stopped at once; what was saved is whole")
