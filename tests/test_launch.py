"""Several processes as one run: the same trajectory, one lost, one told to stop, refusals."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from asc_jax import cli, hosts
from asc_jax.errors import InputError
from asc_jax.train import parallel
from asc_jax.train.stop import StopSignal

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "demo.py"
SMALL = (
    "--config.data.clip_seconds=1.0",
    "--config.data.n_frames=50",
    "--config.frontend.n_mels=8",
    "--config.model.stage_sizes=(1,)",
    "--config.model.stage_strides=(1,)",
    "--config.model.width=2",
    "--config.folds.n_folds=2",
    "--config.optimizer.name=sgd",
    "--config.optimizer.lr=0.01",
    "--config.train.batch_size=8",
    "--config.train.epochs=8",
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """One device per process, as users have it, and a cache of decoded clips for all runs."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("ASC_JAX")}
    return {
        **ours,
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def words(scenes, workdir) -> list[str]:
    root = f"--config.data.root={scenes}"
    return ["train", f"--config={CONFIG}", root, f"--workdir={workdir}", *SMALL]


def launch(environment, scenes, workdir) -> subprocess.Popen:
    launcher = [sys.executable, ROOT / "launch" / "local.py", "--processes=2", "--"]
    return subprocess.Popen(
        [*launcher, sys.executable, "-m", "asc_jax", *words(scenes, workdir)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return err


def metrics(workdir) -> list[dict]:
    path = workdir / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def after_epochs(n_epochs: int, process: subprocess.Popen, workdir) -> int:
    """Waits for these epochs; returns the process id of the run's second process."""
    deadline = time.monotonic() + 250
    while len(metrics(workdir)) < n_epochs:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return int(children.split()[1])


@pytest.fixture(scope="module")
def killed(environment, scenes, tmp_path_factory):
    """A run on two processes, one of which is killed, and its restart to the end."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    first = launch(environment, scenes, workdir)
    os.kill(after_epochs(2, first, workdir), signal.SIGKILL)
    began = time.monotonic()
    _, err = first.communicate(timeout=100)
    seconds, n_epochs = time.monotonic() - began, len(metrics(workdir))
    finish(launch(environment, scenes, workdir))
    return workdir, first.returncode, seconds, n_epochs, err


def test_a_lost_process_ends_the_others_soon_with_a_line(killed):
    _, status, seconds, n_epochs, err = killed
    assert status == 75, err
    assert n_epochs < 8 and seconds < 30
    (line,) = [line for line in err.splitlines() if "process 1 of 2 is lost" in line]
    assert "SIGKILL" in line and "run the same command to go on" in line


def test_two_processes_train_as_one_even_when_one_is_lost(
    killed, scenes, tmp_path, process_as_it_was, capsys
):
    assert cli.main(words(scenes, tmp_path / "run")) == 0
    for ours, theirs in zip(metrics(killed[0]), metrics(tmp_path / "run"), strict=True):
        for name in ("loss", "validation_loss"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)
    # What several processes have saved, one takes up.
    assert cli.main(words(scenes, killed[0])) == 0
    assert "all 8 epochs are done" in capsys.readouterr().err


def test_a_signal_to_another_process_is_heard(monkeypatch):
    with StopSignal() as stop:
        assert not stop.requested
        monkeypatch.setattr(parallel, "any_process", lambda flag: True)
        assert stop.requested


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"COORDINATOR": "127.0.0.1"}, "HOST:PORT"),
        ({"COORDINATOR": "a:1"}, "ASC_JAX_PROCESSES="),
        ({"COORDINATOR": "a:1", "PROCESSES": "two", "PROCESS": "0"}, "ASC_JAX_PROCESSES=two"),
        ({"COORDINATOR": "a:1", "PROCESSES": "2"}, "ASC_JAX_PROCESS="),
        ({"COORDINATOR": "a:1", "PROCESSES": "2", "PROCESS": "2"}, "must be below"),
        ({"PROCESSES": "2"}, "needs ASC_JAX_COORDINATOR"),
    ],
)
def test_malformed_variables_are_one_line(variables, named):
    with pytest.raises(InputError, match=named) as error:
        hosts.read_place({f"ASC_JAX_{name}": value for name, value in variables.items()})
    assert "\n" not in str(error.value)


def test_a_process_without_variables_is_alone():
    assert hosts.read_place({}) is None
    alone = {"ASC_JAX_COORDINATOR": "a:1", "ASC_JAX_PROCESSES": "1", "ASC_JAX_PROCESS": "0"}
    assert hosts.read_place(alone) is None
    assert hosts.is_first() and not hosts.joined()


def test_commands_for_one_process_are_refused_on_several(monkeypatch, capsys, tmp_path):
    for name, value in (("COORDINATOR", "127.0.0.1:1"), ("PROCESSES", "2"), ("PROCESS", "0")):
        monkeypatch.setenv(f"ASC_JAX_{name}", value)
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["evaluate", f"--workdir={tmp_path}"]) == 2
    signal.signal(signal.SIGTERM, before)
    assert "only train and gan run on several processes" in capsys.readouterr().err


def test_wrong_input_is_said_once_by_processes_of_one_machine(
    monkeypatch, capsys, tmp_path, process_as_it_was
):
    train = ["train", "--config=nowhere.py", f"--workdir={tmp_path}"]
    said = []
    for host, process in (("127.0.0.1", 0), ("127.0.0.1", 1), ("10.0.0.1", 1)):
        for name, value in (("COORDINATOR", f"{host}:1"), ("PROCESSES", 2), ("PROCESS", process)):
            monkeypatch.setenv(f"ASC_JAX_{name}", str(value))
        assert cli.main(train) == 2
        said.append(capsys.readouterr().err.count("nowhere.py: no such config file"))
    assert said == [1, 0, 1]


def test_a_process_without_a_device_in_the_mesh_is_refused(monkeypatch):
    mesh = parallel.make_mesh(4, 8)
    parallel.refuse_idle_processes(mesh)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(InputError, match=r"launch 1, or choose a train\.batch_size"):
        parallel.refuse_idle_processes(mesh)


def launcher(environment, *flags, command) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / "launch" / "local.py", *flags, "--", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_launcher_says_who_speaks_and_what_the_command_says(environment):
    code = "import os, sys; print('I am', os.environ['ASC_JAX_PROCESS']); sys.exit(2)"
    done = launcher(environment, "--processes=3", command=[sys.executable, "-c", code])
    assert done.returncode == 2
    assert sorted(done.stdout.splitlines()) == ["I am 0", "[1] I am 1", "[2] I am 2"]


def test_the_launcher_ends_what_takes_too_long(environment):
    code = "import time; time.sleep(50)"
    started = time.monotonic()
    flags = ("--processes=2", "--timeout=0.5")
    done = launcher(environment, *flags, command=[sys.executable, "-c", code])
    assert done.returncode == 75
    assert time.monotonic() - started < 30


def test_a_line_of_several_commands_ends_at_the_first_that_fails(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "launch")
    from submitit_job import Job

    Job(f"touch '{tmp_path / 'a b'}' && touch {tmp_path / 'c'}")()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b", "c"]
    with pytest.raises(RuntimeError, match=r"^false: status 1$"):
        Job(f"false && touch {tmp_path / 'd'}")()
    assert not (tmp_path / "d").exists()
