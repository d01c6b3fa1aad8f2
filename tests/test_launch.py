"""Several processes as one run: the same trajectory, one lost, one told to stop, refusals."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest

from asc_jax import cli, hosts
from asc_jax.errors import InputError
from asc_jax.train import parallel

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
    "--config.train.epochs=12",
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
        "PYTHONUNBUFFERED": "",  # a line is written whole
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
    """A run on two processes: one is killed; started again, one is told to stop; then its end."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    first = launch(environment, scenes, workdir)
    os.kill(after_epochs(2, first, workdir), signal.SIGKILL)
    began = time.monotonic()
    _, err = first.communicate(timeout=100)
    seconds, n_epochs = time.monotonic() - began, len(metrics(workdir))
    second = launch(environment, scenes, workdir)
    os.kill(after_epochs(n_epochs + 1, second, workdir), signal.SIGTERM)
    _, said = second.communicate(timeout=100)
    stopped = second.returncode, len(metrics(workdir)), said
    finish(launch(environment, scenes, workdir))
    return workdir, first.returncode, seconds, n_epochs, err, stopped


def test_a_lost_process_ends_the_others_soon_with_a_line(killed):
    _, status, seconds, n_epochs, err, _ = killed
    assert status == 75, err
    assert n_epochs < 12 and seconds < 30
    (line,) = [line for line in err.splitlines() if "process 1 of 2 is lost" in line]
    assert "SIGKILL" in line and "run the same command to go on" in line


def test_a_signal_to_one_process_stops_all_with_the_step_saved(killed):
    status, n_epochs, said = killed[-1]
    assert status == 75 and n_epochs < 12, said
    assert "is saved; run the same command to go on" in said
    assert "lost" not in said and "Traceback" not in said


def test_two_processes_train_as_one_even_when_one_is_lost(
    killed, scenes, tmp_path, process_as_it_was, capsys
):
    assert cli.main(words(scenes, tmp_path / "run")) == 0
    for ours, theirs in zip(metrics(killed[0]), metrics(tmp_path / "run"), strict=True):
        for name in ("loss", "validation_loss"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)
    # What several processes have saved, one takes up.
    assert cli.main(words(scenes, killed[0])) == 0
    assert "all 12 epochs are done" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("UNKNOWN: Gloo all-reduce failed: Connection closed by peer [127.0.0.1]:4711", True),
        ("UNKNOWN: Gloo AllGather failed: Read error [::1]:3: Connection reset by peer", True),
        ("INTERNAL: NCCL operation failed: remote process exited or there was a network", True),
        ("DEADLINE_EXCEEDED: Barrier timed out. Id: asc_jax::0", True),
        ("UNAVAILABLE: Failed to send RPC to coordination service", True),
        ("INTERNAL: NCCL operation failed: Duplicate GPU detected : rank 0 and rank 1", False),
        ("INTERNAL: no NCCL library found", False),
        ("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.", False),
    ],
)
def test_what_says_that_a_process_is_lost(text, lost):
    assert hosts.says_lost(jax.errors.JaxRuntimeError(text)) == lost
    assert not hosts.says_lost(OSError(text))


def test_a_process_without_variables_is_alone():
    assert hosts.read_place({}) is None
    alone = {"ASC_JAX_COORDINATOR": "a:1", "ASC_JAX_PROCESSES": "1", "ASC_JAX_PROCESS": "0"}
    assert hosts.read_place(alone) is None
    assert hosts.is_first() and not hosts.joined()


def test_commands_for_one_process_are_refused_on_several(
    monkeypatch, capsys, tmp_path, process_as_it_was
):
    for name, value in (("COORDINATOR", "127.0.0.1:1"), ("PROCESSES", "2"), ("PROCESS", "0")):
        monkeypatch.setenv(f"ASC_JAX_{name}", value)
    assert cli.main(["evaluate", f"--workdir={tmp_path}"]) == 2
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
    with pytest.raises(InputError, match=r"launch 1, or choose a larger train\.mesh than \(4, 2\)"):
        parallel.refuse_idle_processes(mesh, named=True)


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


SRUN = f"""#!{sys.executable}
# As srun --kill-on-bad-exit: two tasks; when one ends badly the other is ended; returns the
# highest status. A SIGTERM is passed on.
import os, signal, subprocess, sys, time

command = [word for word in sys.argv[1:] if not word.startswith("--")]
tasks = []
signal.signal(signal.SIGTERM, lambda *_: [task.terminate() for task in tasks])
for number in "01":
    environment = os.environ | dict(SLURM_PROCID=number)
    tasks.append(subprocess.Popen(command, env=environment, start_new_session=True))
while None in (statuses := [task.poll() for task in tasks]):
    if any(statuses):
        for task in tasks:
            if task.returncode is None:
                os.killpg(task.pid, signal.SIGTERM)
                task.wait()
    time.sleep(0.05)
sys.exit(max(status if status >= 0 else 128 - status for status in statuses))
"""
SCONTROL = """#!/bin/bash
case $1 in show) echo node ;; *) echo "$@" >> requeued ;; esac
"""


@pytest.fixture
def sbatch(tmp_path):
    """A function: (what the tasks do, restarts so far) -> status, whether it queues again, stderr.

    The script runs as it is, beside stand-ins for SLURM's commands.
    """
    for name, content in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    variables = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "12",
        "SLURM_JOB_NODELIST": "node",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
    }

    def sbatch(command: str, restarts: int = 0, act=None):
        (tmp_path / "requeued").unlink(missing_ok=True)
        script = [str(ROOT / "launch" / "slurm.sbatch"), "bash", "-c", command]
        process = subprocess.Popen(
            ["bash", *script],
            env={**variables, "SLURM_RESTART_COUNT": str(restarts)},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        if act:
            act(process)
        _, said = process.communicate(timeout=60)
        assert not list(tmp_path.glob("*.failed"))
        return process.returncode, (tmp_path / "requeued").exists(), said

    return sbatch


@pytest.mark.parametrize(
    ("first", "status", "again"),
    [
        ("exit 0", 0, False),
        ("exit 75", 143, True),
        ("exit 1", 143, False),  # a bug, Diverged
        ("exit 2", 143, False),  # bad input, a full disk
        ("nosuchcommand", 143, False),
        ("kill -KILL $$", 143, True),  # lost, for too little memory say
    ],
)
def test_slurm_queues_again_what_was_stopped_or_lost_and_no_failure(sbatch, first, status, again):
    other = "exit 0" if first == "exit 0" else "sleep 60"
    done = sbatch(f'if [ "$ASC_JAX_PROCESS" = 0 ]; then sleep 0.2; {first}; else {other}; fi')
    assert done[:2] == (status, again), done
    assert ("not queued again" in done[2]) == (first in ("exit 1", "exit 2", "nosuchcommand"))


def test_slurm_queues_no_job_for_ever(sbatch):
    assert sbatch("sleep 0.2; exit 75", restarts=99)[1]
    _, again, said = sbatch("sleep 0.2; exit 75", restarts=100)
    assert not again and "after 100 restarts: not queued again" in said


def test_slurms_sigterm_reaches_the_command(sbatch, tmp_path):
    def stop(process):
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("ready*"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(children.split()[0]), signal.SIGTERM)  # srun's, which passes it on

    save = "trap 'exit 75' TERM; touch ready$ASC_JAX_PROCESS; while :; do sleep 0.1; done"
    assert sbatch(save, act=stop)[:2] == (75, True)


def test_a_job_that_has_not_begun_is_queued_again_as_it_is(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "launch")
    helpers = types.ModuleType("submitit.helpers")
    helpers.DelayedSubmission = lambda job: ("again", job.line)
    monkeypatch.setitem(sys.modules, "submitit.helpers", helpers)
    from submitit_job import Job

    assert Job("true && false").checkpoint() == ("again", "true && false")


def test_a_line_of_several_commands_ends_at_the_first_that_fails(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "launch")
    from submitit_job import Job

    Job(f"touch '{tmp_path / 'a b'}' && touch {tmp_path / 'c'}")()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b", "c"]
    with pytest.raises(RuntimeError, match=r"^false: status 1$"):
        Job(f"false && touch {tmp_path / 'd'}")()
    assert not (tmp_path / "d").exists()
