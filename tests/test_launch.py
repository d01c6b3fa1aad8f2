"""Several processes as one run: the same trajectory, one lost, one told to stop, refusals."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest
import small
from checkout import COMPILE_QUICKLY, ROOT
from jax.errors import JaxRuntimeError
from process import ASC_JAX
from refusals import refused

from asc_jax import cli
from asc_jax.parallel import hosts
from asc_jax.parallel.mesh import make_mesh, refuse_idle_processes

CONFIG = ROOT / "configs" / "demo.py"
LAUNCHER = (sys.executable, str(ROOT / "launch" / "local.py"))
TWO = (*LAUNCHER, "--processes=2", "--")
N_EPOCHS = 8
SMALL = (
    *small.WORDS,
    "--config.optimizer.name=sgd",
    "--config.optimizer.lr=0.01",
    f"--config.train.epochs={N_EPOCHS}",
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """One device per process, as users have it, and a cache of decoded clips for all runs."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("ASC_JAX")}
    return {
        **ours,
        "XLA_FLAGS": COMPILE_QUICKLY,
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
    return subprocess.Popen(
        [*TWO, *ASC_JAX, *words(scenes, workdir)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def metrics(workdir) -> list[dict]:
    path = workdir / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def after_epochs(n_epochs: int, process: subprocess.Popen, workdir) -> int:
    """Waits for these epochs; returns the process id of the run's process number 1."""
    deadline = time.monotonic() + 250
    while len(metrics(workdir)) < n_epochs:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    variables = lambda child: pathlib.Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
    (second,) = [child for child in children if b"ASC_JAX_PROCESS=1" in variables(child)]
    return int(second)


@pytest.fixture(scope="module")
def stopped(environment, scenes, tmp_path_factory):
    """A run on two processes, of which one is told to stop: its folder, status, standard error."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    process = launch(environment, scenes, workdir)
    os.kill(after_epochs(1, process, workdir), signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    return shutil.copytree(workdir, workdir.with_name("stopped")), process.returncode, said


@pytest.fixture(scope="module")
def killed(environment, scenes, stopped):
    """The same run, gone on with by two processes, of which one is killed."""
    workdir = stopped[0].with_name("run")
    process = launch(environment, scenes, workdir)
    os.kill(after_epochs(len(metrics(workdir)) + 1, process, workdir), signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    return workdir, process.returncode, said


def test_a_signal_to_one_process_stops_all_with_the_step_saved(stopped):
    workdir, status, said = stopped
    assert status == 75 and len(metrics(workdir)) < N_EPOCHS, said
    newest = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert str(newest) in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_lost_process_ends_the_others_soon_with_a_line(stopped, killed):
    workdir, status, said = killed
    assert status == 75, said
    assert len(metrics(stopped[0])) < len(metrics(workdir)) < N_EPOCHS
    (line,) = [line for line in said.splitlines() if "SIGKILL" in line]
    assert "process 1 of 2" in line


def test_two_processes_train_as_one_and_one_takes_up_what_they_have_saved(
    killed, scenes, tmp_path, process_as_it_was
):
    for workdir in (killed[0], tmp_path / "run"):
        assert cli.main([*words(scenes, workdir), "--config.train.mesh=(1, 1)"]) == 0
    for ours, theirs in zip(metrics(killed[0]), metrics(tmp_path / "run"), strict=True):
        for name in ("loss", "validation_loss"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "field"),  # of COORDINATOR, PROCESSES and PROCESS; the field that is refused
    [
        (("127.0.0.1", None, None), "COORDINATOR"),
        (("a:1", None, None), "PROCESSES"),
        (("a:1", "two", "0"), "PROCESSES"),
        (("a:1", "2", None), "PROCESS"),
        (("a:1", "2", "2"), "PROCESS"),
        ((None, "2", None), "PROCESSES"),
        (("a:0", "2", "0"), "COORDINATOR"),
        (("a:99999", "2", "0"), "COORDINATOR"),
        ((":4711", "2", "0"), "COORDINATOR"),
        (("a:-1", "2", "0"), "COORDINATOR"),
        (("http://a:80", "2", "0"), "COORDINATOR"),
        (("::1:4711", "2", "0"), "COORDINATOR"),
        (("a:1", "0", "0"), "PROCESSES"),
        (("a:1", "99999", "0"), "PROCESSES"),
        (("a:1", "2", "\u0660"), "PROCESS"),
    ],
)
def test_malformed_variables_are_one_line(values, field):
    given = zip(("COORDINATOR", "PROCESSES", "PROCESS"), values, strict=True)
    with refused(field=f"ASC_JAX_{field}"):
        hosts.read_place({f"ASC_JAX_{name}": value for name, value in given if value})


@pytest.mark.parametrize(
    ("error", "may_be"),
    [
        (JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer"), True),
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer"), True),
        (JaxRuntimeError("INTERNAL: NCCL operation failed: Duplicate GPU detected"), True),
        (JaxRuntimeError("DEADLINE_EXCEEDED: Barrier timed out. Id: asc_jax::0"), True),
        (JaxRuntimeError("UNAVAILABLE: Failed to send RPC to coordination service"), True),
        (JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory; the heartbeat timed out"), False),
        (JaxRuntimeError("INVALID_ARGUMENT: Connection closed by peer"), False),
        (ValueError("the heartbeat timed out"), False),
        (OSError("UNKNOWN: Connection closed by peer"), False),
    ],
)
def test_what_may_come_from_a_lost_process(error, may_be):
    assert hosts.may_be_of_others(error) == may_be
    assert hosts.lost_peer(error) == ""  # who is alone has no peer


def of_two(environment, number: int, port: int, *command) -> subprocess.Popen:
    """One of two processes, which no launcher watches."""
    place = {"COORDINATOR": f"127.0.0.1:{port}", "PROCESSES": "2", "PROCESS": str(number)}
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment | {f"ASC_JAX_{name}": value for name, value in place.items()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


ROLL_CALL = """
import os, signal
import jax
from asc_jax.parallel import hosts
from asc_jax.parallel.agreement import any_process, connect
from asc_jax.parallel.mesh import make_mesh

hosts.join(hosts.read_place(os.environ))
connect(make_mesh(1, 2))
everyones = jax.errors.JaxRuntimeError("INTERNAL: Connection closed by peer, timed out")
print([hosts.lost_peer(everyones)], flush=True)
if not hosts.is_first():
    os.kill(os.getpid(), signal.SIGKILL)
hosts._ROLL_CALL = 0.5  # s; a roll at which one is missing takes so long
try:
    any_process(False)
except Exception as error:
    print(hosts.lost_peer(error), flush=True)
os._exit(0)
"""


def test_who_does_not_answer_is_lost_whatever_the_error_says(environment, port):
    first, second = (of_two(environment, number, port, "-c", ROLL_CALL) for number in (0, 1))
    lines = lambda said: [line for line in said.splitlines() if "[Gloo]" not in line]
    assert lines(second.communicate(timeout=300)[0]) == ["['']"]
    said, err = first.communicate(timeout=300)
    assert first.returncode == 0, err
    both_there, lost = lines(said)
    assert both_there == "['']" and "UNKNOWN:" in lost


def test_a_signal_ends_a_process_that_waits_for_others_to_start(
    environment, port, scenes, tmp_path
):
    alone = of_two(environment, 0, port, *ASC_JAX[1:], *words(scenes, tmp_path / "run"))
    while alone.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.05)
    alone.send_signal(signal.SIGTERM)
    _, said = alone.communicate(timeout=200)  # s; it would wait for 300
    assert alone.returncode == 75, said
    assert not (tmp_path / "run").exists()


BARRIER = """
import os, sys
from asc_jax.parallel import hosts
from asc_jax.runtime.interruption import Interruptible

try:
    with Interruptible():
        hosts.join(hosts.read_place(os.environ))
        print("joined", flush=True)
        if not hosts.is_first():
            sys.stdin.readline()
        hosts.wait_for_all()
except KeyboardInterrupt:
    hosts.leave(75)
"""


@pytest.mark.parametrize("signalled", [True, False])
def test_a_process_waits_for_a_slower_one_until_a_signal_ends_it(environment, port, signalled):
    processes = [of_two(environment, number, port, "-c", BARRIER) for number in (0, 1)]
    first, second = processes
    try:
        for process in processes:
            assert process.stdout.readline() == "joined\n", process.communicate()
        if signalled:
            time.sleep(1)  # it is in the barrier by then; before, a signal is heard anyway
            first.send_signal(signal.SIGTERM)
            assert first.wait(timeout=200) == 75  # s; it would wait for an hour
        else:
            second.stdin.write("\n")
            second.stdin.flush()
            assert [process.wait(timeout=200) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


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
    (line,) = capsys.readouterr().err.splitlines()
    assert "ASC_JAX_COORDINATOR" in line


def test_wrong_input_is_said_once_by_processes_of_one_machine(
    monkeypatch, capsys, tmp_path, process_as_it_was
):
    train = ["train", "--config=nowhere.py", f"--workdir={tmp_path}"]
    said = []
    for host, process in (("127.0.0.1", 0), ("127.0.0.1", 1), ("10.0.0.1", 1)):
        for name, value in (("COORDINATOR", f"{host}:1"), ("PROCESSES", 2), ("PROCESS", process)):
            monkeypatch.setenv(f"ASC_JAX_{name}", str(value))
        assert cli.main(train) == 2
        said.append(capsys.readouterr().err.count("nowhere.py"))
    assert said == [1, 0, 1]


def test_a_process_without_a_device_in_the_mesh_is_refused(monkeypatch):
    mesh = make_mesh(4, 8)
    refuse_idle_processes(mesh)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    for named, field in ((False, "train.batch_size"), (True, "train.mesh")):
        with refused() as caught:
            refuse_idle_processes(mesh, named=named)
        assert field in str(caught.value)


def launcher(environment, *flags, command) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*LAUNCHER, *flags, "--", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_launcher_says_who_speaks_and_what_the_command_says(environment):
    code = "import os, sys; print('I am', os.environ['ASC_JAX_PROCESS']); sys.exit(2)"
    done = launcher(environment, "--processes=3", command=[sys.executable, "-c", code])
    assert done.returncode == 2
    assert sorted(done.stdout.splitlines()) == ["I am 0", "[1] I am 1", "[2] I am 2"]


@pytest.mark.parametrize(
    ("flag", "command"),
    [
        ("--port=99999", "true"),
        ("--timeout=-1", "true"),
        ("--timeout=nan", "true"),
        ("--port=0", "no"),
    ],
)
def test_what_the_launcher_cannot_do_starts_nothing(environment, flag, command):
    done = launcher(environment, "--processes=2", flag, command=[command])
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (command if command == "no" else flag.partition("=")[0]) in done.stderr


def test_the_launcher_ends_what_takes_too_long(environment):
    code = "import time; time.sleep(1000)"
    flags = ("--processes=2", "--timeout=0.5")
    done = launcher(environment, *flags, command=[sys.executable, "-c", code])
    assert done.returncode == 75


WAITS = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
pathlib.Path(sys.argv[1] + os.environ["ASC_JAX_PROCESS"]).touch()
time.sleep(1000)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_the_launcher_passes_on_that_it_is_to_stop(environment, tmp_path, name):
    ready = tmp_path / "ready"
    process = subprocess.Popen([*TWO, sys.executable, "-c", WAITS, ready], env=environment)
    while len(list(tmp_path.glob("ready*"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    assert process.wait(timeout=300) == 75


def test_under_nohup_the_launcher_goes_on_when_the_terminal_is_closed(environment):
    code = (
        "import os, signal; os.kill(os.getppid(), signal.SIGHUP);"
        "assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN"
    )
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *TWO, sys.executable, "-c", code]
    assert subprocess.run(ignoring, env=environment, timeout=300).returncode == 0


def test_a_reader_that_has_gone_holds_no_process_up(environment):
    code = "import os; os.environ['ASC_JAX_PROCESS'] == '1' and print('a line\\n' * 20000)"
    words = [*TWO, sys.executable, "-c", code]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.wait(timeout=300) == 0


SRUN = f"""#!{sys.executable}
# As srun --kill-on-bad-exit: two tasks; when one ends badly the other is ended; returns the
# highest status. A SIGTERM is passed on.
import os, signal, subprocess, sys, time

command = [word for word in sys.argv[1:] if not word.startswith("--")]
tasks = []
open("srun.pid", "w").write(str(os.getpid()))
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

    def sbatch(command: str, restarts: int = 0, act=None, words=()):
        (tmp_path / "requeued").unlink(missing_ok=True)
        script = [str(ROOT / "launch" / "slurm.sbatch"), "bash", "-c", command, *words]
        process = subprocess.Popen(
            ["bash", *script],
            env={**variables, "SLURM_RESTART_COUNT": str(restarts)},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        if act:
            act(process)
        _, said = process.communicate(timeout=300)
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
    other = "exit 0" if first == "exit 0" else "sleep 1000"
    done = sbatch(f'if [ "$ASC_JAX_PROCESS" = 0 ]; then {first}; else {other}; fi')
    assert done[:2] == (status, again), done


def test_slurm_queues_no_job_for_ever(sbatch):
    assert sbatch("exit 75", restarts=99)[1]
    _, again, said = sbatch("exit 75", restarts=100)
    assert not again and "100" in said


def test_slurm_queues_a_job_without_progress_three_times_in_a_row_at_most(sbatch, tmp_path):
    (tmp_path / "run" / "checkpoints" / "5").mkdir(parents=True)
    lost, words = "kill -KILL $$", ("asc-jax", "--workdir=run")
    saves = "mkdir -p run/checkpoints/7; kill -KILL $$"
    turns = [lost, lost, saves, lost, lost, lost]
    assert [sbatch(turn, words=words)[1] for turn in turns] == [True] * 5 + [False]
    assert not list(tmp_path.glob("*.idle"))
    assert sbatch(lost, words=words)[1]  # submitted again it begins to count anew
    assert not sbatch("exit 0", words=words)[1] and not list(tmp_path.glob("*.idle"))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_slurms_signal_reaches_the_command(sbatch, tmp_path, name):
    """SIGTERM at srun's tasks; SIGUSR1 at the script alone, as --signal=B:USR1@90 sends it."""

    def stop(process):
        while len(list(tmp_path.glob("ready*"))) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        srun = int((tmp_path / "srun.pid").read_text())
        os.kill(srun if name == "SIGTERM" else process.pid, getattr(signal, name))

    save = "trap 'touch saved$ASC_JAX_PROCESS; exit 75' TERM; touch ready$ASC_JAX_PROCESS; "
    status, again, said = sbatch(f"{save} while :; do sleep 0.1; done", act=stop)
    # The first task that ends makes srun end the other, which is saving: 143 is its shell's.
    assert status in (75, 143) and again, said
    assert sorted(path.name for path in tmp_path.glob("saved*")) == ["saved0", "saved1"]


@pytest.fixture
def submitit(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "launch")
    helpers = types.ModuleType("submitit.helpers")
    helpers.DelayedSubmission = lambda job: job
    monkeypatch.setitem(sys.modules, "submitit.helpers", helpers)


def test_a_job_that_has_not_begun_is_queued_again_as_it_is(submitit):
    from submitit_job import Job

    again = Job("true && false", idle=1).checkpoint()
    assert (again.line, again.idle) == ("true && false", 1)


@pytest.mark.parametrize("flag", ["--workdir={}", "--out {}"])
def test_a_job_is_queued_again_twice_without_a_new_checkpoint(submitit, tmp_path, flag):
    from submitit_job import Job

    flag = flag.format(tmp_path)
    job = Job(f"true {flag}")
    for turn, makes in enumerate(["true", "true", "mkdir -p {}/checkpoints/9", "true", "true"]):
        job.commands = [[*makes.format(tmp_path).split()], ["true", *flag.split()]]
        job()
        job = job.checkpoint()
        assert job.idle == (1, 2, 0, 1, 2)[turn]
    job()
    with pytest.raises(RuntimeError, match=re.escape(job.line)):
        job.checkpoint()
    other = Job("true", idle=2)  # of which nobody knows what it saves
    other()
    assert other.checkpoint().idle == 0


def test_a_line_that_is_no_command_is_named(tmp_path, submitit, monkeypatch, capsys):
    import submitit_job

    monkeypatch.setitem(sys.modules, "submitit", types.ModuleType("submitit"))
    (tmp_path / "commands.txt").write_text("true\n\necho 'a\n")
    words = ["submitit_job.py", str(tmp_path / "commands.txt"), f"--folder={tmp_path}"]
    monkeypatch.setattr(sys, "argv", words)
    assert submitit_job.main() == 2
    assert "commands.txt:3: " in capsys.readouterr().err


def test_a_line_of_several_commands_ends_at_the_first_that_fails(tmp_path, submitit):
    from submitit_job import Job

    Job(f"touch '{tmp_path / 'a b'}' && touch {tmp_path / 'c'}")()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b", "c"]
    with pytest.raises(RuntimeError, match=r"^false\b.* 1"):
        Job(f"false && touch {tmp_path / 'd'}")()
    assert not (tmp_path / "d").exists()
