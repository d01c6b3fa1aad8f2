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
import small
from refusals import refused

from asc_jax.runs.checkpoint import Checkpoints
from asc_jax.runs.folder import read_config, refuse_foreign_folder
from asc_jax.runs.inputs import read_data, with_named_precision
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runtime import interruption
from asc_jax.runtime.errors import Stopped
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train import stop as stop_module
from asc_jax.train.loop import train
from asc_jax.train.restore import snapshot_like
from asc_jax.train.setup import set_up
from asc_jax.train.stop import StopSignal
from benchmarks.fault_subjects import end_of_training

STEPS_PER_EPOCH, EPOCHS = 5, 2
FIELDS = (
    "optimizer.name=sgd",  # Adam makes steps of the rounding errors of a gradient that is 0
    "optimizer.lr=0.01",
    "optimizer.schedule=constant",
    f"train.epochs={EPOCHS}",
    "train.save_every=3",
    "train.keep_checkpoints=3",
)


@pytest.fixture(scope="module")
def config(scenes):
    return small.config(scenes, *FIELDS)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory) -> pathlib.Path:
    """A run that nothing interrupted, on all eight devices."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    train(config, workdir)
    return workdir


def saved_steps(workdir) -> list[int]:
    names = [path.name for path in (workdir / "checkpoints").iterdir()]
    return sorted(int(name) for name in names if name.isdigit())


def test_signals_save_the_step_and_the_run_goes_on_bit_for_bit(
    scenes, whole, tmp_path, stop_at_step
):
    """Within an epoch, and in the last step of one, which ends it; it saves at no other steps."""
    config, workdir = small.config(scenes, *FIELDS, "train.save_every=0"), tmp_path / "run"

    def stop_after(n_steps: int) -> None:
        stop_at_step(n_steps)
        with pytest.raises(Stopped):
            train(config, workdir)

    stop_after(2)
    assert saved_steps(workdir) == [2]
    with refused(path=workdir):  # no epoch is finished
        evaluate(workdir)
    stop_after(STEPS_PER_EPOCH - 2)
    assert saved_steps(workdir) == [2, 5]
    assert end_of_training(workdir)[-1] == end_of_training(whole)[-1][:1]  # the log
    train(config, workdir)
    assert (saved_steps(workdir), saved_steps(whole)) == ([2, 5, 10], [5, 8, 10])
    assert end_of_training(workdir) == end_of_training(whole)
    assert all(line["seconds"] > 0 for line in read_metrics(workdir / "metrics.jsonl"))


def test_epochs_without_validation_are_trained_as_the_others_and_in_one_go(
    scenes, whole, tmp_path, stop_at_step
):
    """Stopped in the second epoch, whose predecessor was neither validated nor saved."""
    fields = (*FIELDS, "train.save_every=0", f"train.validate_every={EPOCHS}")
    config, workdir = small.config(scenes, *fields), tmp_path / "run"
    stop_at_step(STEPS_PER_EPOCH + 1)
    with pytest.raises(Stopped):
        train(config, workdir)
    stopped = saved_steps(workdir)
    assert STEPS_PER_EPOCH < stopped[0] < EPOCHS * STEPS_PER_EPOCH
    train(config, workdir)
    assert saved_steps(workdir) == [*stopped, EPOCHS * STEPS_PER_EPOCH]
    *of_state, log = end_of_training(workdir)
    *expected, whole_log = end_of_training(whole)
    assert of_state == expected
    assert log[-1] == whole_log[-1]
    assert log[0] == {
        field: value for field, value in whole_log[0].items() if "validation" not in field
    }


def test_what_becomes_of_steps_that_are_not_finite_may_change_on_the_way(scenes, whole):
    log = read_metrics(whole / "metrics.jsonl")
    assert [line["non_finite"] for line in log] == ["stop"] * EPOCHS
    config_of = lambda field: with_named_precision(small.config(scenes, *FIELDS, field), whole)
    refuse_foreign_folder(whole, config_of("train.non_finite=skip"))
    with refused(path=whole):
        refuse_foreign_folder(whole, config_of("train.label_smoothing=0.1"))


def test_a_finished_run_goes_on_for_longer_to_the_same_end(scenes, whole, tmp_path):
    run, fields = tmp_path / "run", (*FIELDS, "train.save_every=0")
    shorter, longer = (small.config(scenes, *fields, f"train.epochs={n}") for n in (1, EPOCHS))
    train(shorter, run)
    page, scores = run / "report.html", run / "report.json"
    page.touch()
    scores.touch()
    train(shorter, run)
    assert page.exists()
    train(longer, run)
    assert scores.exists() and not page.exists()  # which is of the shorter run
    assert end_of_training(run)[:-1] == end_of_training(whole)[:-1]
    assert read_config(run).train.epochs == EPOCHS
    with refused(field="train.epochs"):  # fewer than are done
        train(shorter, run)


@pytest.mark.parametrize(("field", "value"), [("schedule", "cosine"), ("warmup", 0.5)])
def test_a_run_whose_rates_depend_on_its_length_does_not_go_on_for_longer(
    scenes, whole, tmp_path, field, value
):
    run = shutil.copytree(whole, tmp_path / "run")
    fields = json.loads((run / "config.json").read_text())
    fields["optimizer"][field] = value
    before = json.dumps(fields)
    (run / "config.json").write_text(before)
    with refused(field="train.epochs"):
        train(small.config(scenes, *FIELDS, f"optimizer.{field}={value}", "train.epochs=3"), run)
    assert (run / "config.json").read_text() == before


def test_a_run_is_not_ended_within_an_epoch_and_those_of_a_sweep_are_of_one_length(
    scenes, whole, tmp_path
):
    run = shutil.copytree(whole, tmp_path / "runs" / "run")
    shutil.rmtree(run / "checkpoints" / "10")  # the newest is of step 8 now
    with refused(field="train.epochs"):
        train(small.config(scenes, *FIELDS, "train.epochs=1"), run)
    (tmp_path / "runs" / "sweep.json").write_text("{}")
    with refused(path=run):
        train(small.config(scenes, *FIELDS, "train.epochs=3"), run)


def test_scoring_passes_over_a_damaged_checkpoint_and_leaves_it(config, whole, tmp_path):
    """The one before is of a step within an epoch."""
    workdir = shutil.copytree(whole, tmp_path / "run")
    damaged = workdir / "checkpoints" / "10"
    shutil.rmtree(damaged / "state")
    training = evaluate(workdir)["training"]
    assert (training["epochs"], training["steps"]) == (1, 8)
    assert damaged.exists()


def final_state(config, workdir):
    dataset, splits, test = read_data(config)
    setup = set_up(config, dataset, splits, test)
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        tree, progress = checkpoints.restore(snapshot_like(setup.like, choosing=False))
    assert progress.epochs == EPOCHS
    return setup.mesh.devices.size, jax.device_get(tree["state"])


def test_a_restart_needs_no_memory_but_its_state(config, whole):
    dataset, splits, test = read_data(config)
    size = lambda arrays: sum(leaf.nbytes for leaf in arrays)
    setup = set_up(config, dataset, splits, test)
    before = size(jax.live_arrays())
    with Checkpoints(whole / "checkpoints", read_only=True) as checkpoints:
        tree, _ = checkpoints.restore(snapshot_like(setup.like, choosing=False))
    needed = size(jax.tree.leaves(tree))
    assert needed > 1000 and size(jax.live_arrays()) - before == needed


def test_another_number_of_devices_ends_within_rounding(config, whole, tmp_path, monkeypatch):
    n_devices, expected = final_state(config, whole)
    assert n_devices == 8
    workdir = shutil.copytree(whole, tmp_path / "run")
    for step in ("8", "10"):
        shutil.rmtree(workdir / "checkpoints" / step)
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: one)
    train(config, workdir)
    n_devices, state = final_state(config, workdir)
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
        assert process.stderr.readline()  # it stops after this step
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
