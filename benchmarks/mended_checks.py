"""The checks of `benchmarks.mended`: each builds its input, runs commands and says what it saw.

A check returns whether that is right, and a few words of what was seen.
"""

import contextlib
import csv
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence

import numpy as np
import soundfile as sf

from benchmarks.mended import CannotAskError, Done, Lab

CHECKS: dict[str, Callable[[Lab], tuple[bool, str]]] = {}
ONE_CORE = ("taskset", "-c", "0")


def check(title: str, *, cold: bool = False) -> Callable:
    """Enters a check under its title; a cold one begins without a compiled program."""

    def enter(function):
        function.cold = cold
        CHECKS[title] = function
        return function

    return enter


def worked(*done: Done) -> tuple[bool, str]:
    """Whether commands all ended well."""
    bad = [one for one in done if one.status != 0]
    return not bad, f"{bad[0]} ({done.index(bad[0]) + 1} of {len(done)})" if bad else "works"


def refused(*done: Done, names: str = "") -> tuple[bool, str]:
    """Whether commands were refused in a line that names something, with status 2."""
    for one in done:
        if one.status != 2 or "Traceback" in one.err:
            return False, str(one)
        if names not in one.err:
            return False, f"status 2, without {names}"
        if len(one.err.strip().splitlines()) > 4:  # data check says what the other files are
            return False, f"status 2, {len(one.err.splitlines())} lines"
    return True, "refused by name" if names else "refused in a line"


def every(*answers: tuple[bool, str]) -> tuple[bool, str]:
    """The first answer that is not right, or the last."""
    return next((answer for answer in answers if not answer[0]), answers[-1])


def losses(*runs: list[dict]) -> list[tuple]:
    """The first epoch's loss of each fold, by run."""
    return [tuple(run[0]["loss"]) for run in runs]


# What is kept between processes, and what a changed function does


@check("a warm cache, and a core fewer", cold=True)
def _(lab):
    if not shutil.which("taskset") or len(os.sched_getaffinity(0)) < 2:
        raise CannotAskError("needs taskset and two cores")
    lab.clips()
    runs = [lab.train(workdir="a")]
    runs += [lab.train(workdir=name, prefix=ONE_CORE) for name in "bc"]
    return worked(*runs, lab.asc_jax("evaluate", "--workdir=c", prefix=ONE_CORE))


@check("a warm cache, and a comment more in the package", cold=True)
def _(lab):
    lab.clips()
    lab = lab.copied()
    runs = [lab.train(workdir="a")]
    lab.edit("asc_jax/frontend.py", more="# a comment\n")
    runs += [lab.train(workdir=name) for name in "bc"]
    return worked(*runs)


@check("a warm cache, and a field that leaves the program as it is", cold=True)
def _(lab):
    lab.clips()
    runs = [lab.train(workdir="a"), lab.train(workdir="b", frontend__htk=True)]
    return worked(*runs, lab.asc_jax("evaluate", "--workdir=b"))


@check("deleted, altered and cut files in the cache of programs", cold=True)
def _(lab):
    lab.clips()
    done, logs = [], []
    for number, damage in enumerate((None, pathlib.Path.unlink, _flip, _cut)):
        files = sorted(path for path in lab.path("cache/asc_jax/xla").glob("*") if path.is_file())
        own = [path for path in files if path.suffix == ".program"]  # beside JAX's
        for path in (own or files[::2]) if damage is pathlib.Path.unlink else files:
            if damage and not path.name.endswith("-atime"):
                damage(path)
        done.append(lab.train(workdir=f"run{number}"))
        if done[-1].status == 0:
            logs.append(lab.log(f"run{number}"))
    same = len(set(losses(*logs))) == 1
    return every(worked(*done), (same, "works, losses equal" if same else "other losses"))


def _flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def _cut(path: pathlib.Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


HUNDREDFOLD = """
_entropy = cross_entropy
def cross_entropy(*args, **kw):
    return 100 * _entropy(*args, **kw)
"""


@check("two versions of the package in turn on one cache", cold=True)
def _(lab):
    lab.clips()
    ours, theirs = lab.copied("ours"), lab.copied("theirs")
    theirs.edit("asc_jax/train/losses.py", more=HUNDREDFOLD)
    done = [one.train(workdir=str(i)) for i, one in enumerate((ours, theirs, ours, theirs))]
    if any(one.status for one in done):
        return worked(*done)
    of = [loss[0] for loss in losses(*(lab.log(str(i)) for i in range(4)))]
    right = of[0] == of[2] and of[1] == of[3] and np.isclose(of[1], 100 * of[0], rtol=0.5)
    return right, f"losses {' '.join(f'{loss:.3g}' for loss in of)}"


@check("a config file replaces the loss by a hundred times as much")
def _(lab):
    lab.clips()
    config = """
from configs import demo
import asc_jax.train.losses
_entropy = asc_jax.train.losses.cross_entropy
def cross_entropy(*args, **kw):
    return 100 * _entropy(*args, **kw)
def get_config():
    import asc_jax.train.classifier, asc_jax.train.losses
    for module in (asc_jax.train.classifier, asc_jax.train.losses):
        module.cross_entropy = cross_entropy
    return demo.get_config()
"""
    lab.path("hundred.py").write_text(config)
    done = lab.train(workdir="a"), lab.train(workdir="b", config="hundred.py")
    if any(one.status for one in done):
        return worked(*done)
    before, after = (loss[0] for loss in losses(lab.log("a"), lab.log("b")))
    return after > 20 * before, f"loss {before:.3g}, then {after:.3g}"


EDITED = {
    "log_mel": ("asc_jax/frontend.py", "jnp.exp(0.3 * _before(*args, **kw))"),
    "mono": ("asc_jax/data/audio.py", "_before(*args, **kw) ** 3"),
    "quantise": ("asc_jax/data/cache.py", "(_before(*args)[0] // 8192 * 8192, _before(*args)[1])"),
}


def _edited(lab: Lab, name: str) -> tuple[bool, str]:
    """Trains before and after a function of the decoding is edited, on one cache."""
    lab.clips()
    for path in lab.path("set/audio").glob("*0.wav"):
        sound, rate = sf.read(path)
        rng = np.random.default_rng(len(path.name))
        sound = sound[:44_100] + 0.01 * rng.standard_normal((44_100, 2))
        sf.write(path, sound, 44_100 if name == "resampling" else rate)
    lab = lab.copied()
    fit = {"data__fit_length": True}
    done = [lab.train(workdir="a", **fit)]
    if name == "resampling":
        lab.edit("asc_jax/data/audio.py", 'quality="HQ"', 'quality="QQ"')
    else:
        file, new = EDITED[name]
        more = f"\n\n_before = {name}\ndef {name}(*args, **kw):\n    return {new}\n"
        lab.edit(file, more=more)
    done.append(lab.train(workdir="b", **fit))
    if any(one.status for one in done):
        return worked(*done)
    before, after = losses(lab.log("a"), lab.log("b"))
    return before != after, f"loss {before[0]:.4f}, then {after[0]:.4f}"


for _name in (*EDITED, "resampling"):
    check(f"{_name} is edited between two runs: losses change")(
        lambda lab, name=_name: _edited(lab, name)
    )


@check("every leaf is drawn by its module's own initialiser")
def _(lab):
    done = lab.python("""
import flax.linen as nn, jax, numpy as np, optax
from asc_jax.data.folds import Split
from asc_jax.data.pool import Pool
from asc_jax.frontend import FrontendConfig
from asc_jax.train import classifier
from asc_jax.train.hyperparameters import Hyperparameters
constant = nn.initializers.constant
class Net(nn.Module):
    loops, kernel_scheme = (), "he_normal"  # for versions that draw by names
    @nn.compact
    def __call__(self, x, *, train):
        x = x * self.param("gate", constant(1e-6), (1, 1))
        x = nn.BatchNorm(use_running_average=not train, scale_init=nn.initializers.zeros)(x)
        x = nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=8)(x, x)
        x = nn.Dense(4, bias_init=constant(-2), kernel_init=nn.initializers.zeros)(x)
        return x.mean(axis=1)
ones = np.ones(8, np.float32)
pool = Pool(np.ones((8, 24, 16), np.int16), ones, ones, np.zeros(8, np.int32))
split = Split(1, np.arange(4), np.arange(0), np.arange(4, 8))
optimizer, members = lambda own: optax.sgd(own.lr), [(split, 0, Hyperparameters(lr=0.1))]
if hasattr(classifier, "Model"):
    model = classifier.Model(Net(), optimizer, None, None, (24, 16))
    state = classifier.init_state(model, members, (np.zeros((8, 16)), np.ones((8, 16))))
else:
    state = classifier.init_state(
        Net(), optimizer, members, pool, frontend=FrontendConfig(n_mels=16), n_frames=0)
p = state.params
print([float(np.abs(leaf).max()) for leaf in (
    p["Dense_0"]["kernel"], p["Dense_0"]["bias"], p["gate"], p["BatchNorm_0"]["scale"])])
""")
    if done.status:
        return worked(done)
    found = json.loads(done.out.splitlines()[-1])
    return np.allclose(found, [0, 2, 1e-6, 0], rtol=1e-3, atol=0), (
        "largest values " + " ".join(f"{value:.2g}" for value in found)
    )


@check("a run folder without a field that has come since")
def _(lab):
    lab.trained()
    lab = lab.copied()
    old = "    train.label_smoothing ="
    lab.edit("configs/default.py", old, f"    train.gain = 0.0\n{old}")
    old = '    "train.label_smoothing":'
    lab.edit("asc_jax/config/rules.py", old, f'    "train.gain": number(0),\n{old}')
    with contextlib.suppress(CannotAskError):  # where fields may come later
        lab.edit("asc_jax/config/format.py", "\nFORMAT = ", "\nFORMAT = 1 + ")
        lab.edit("asc_jax/config/format.py", '"classifier": {',
                 '"classifier": {"train.gain": (FORMAT, 0.0), ')  # fmt: skip
    return worked(lab.asc_jax("evaluate", "--workdir=run"))


@check("a run folder of the earlier version is scored")
def _(lab):
    if lab.earlier is None:
        raise CannotAskError("no version before was named")
    shutil.copytree(lab.earlier(), lab.folder, dirs_exist_ok=True)
    old = lab.report()["lists"]
    done = lab.asc_jax("evaluate", "--workdir=run")
    if done.status:
        return worked(done)
    values = [lists[0]["systems"][0]["accuracy"]["value"] for lists in (old, lab.report()["lists"])]
    return values[0] == values[1], f"accuracy {values[0]}, then {values[1]}"


@check("a report names the device that trained, not the one that scores")
def _(lab):
    lab.trained()
    starts = lab.path("run/starts.jsonl")
    if not starts.exists():
        return False, "nothing kept of the training's device"
    device = json.loads(starts.read_text().splitlines()[0]).get("device")
    if not device:
        return False, "starts.jsonl has no device"
    text = starts.read_text().replace(json.dumps(device), json.dumps("TPU v9 x 8"))
    starts.write_text(text)
    done = lab.asc_jax("evaluate", "--workdir=run")
    kept = "TPU v9" in json.dumps(lab.report())
    return every(worked(done), (kept, "as kept" if kept else "the scorer's"))


@check("a GAN's run goes on with another classifier")
def _(lab):
    lab.trained()
    done = [lab.train("gan")]
    lab.train(workdir="other", seed=1)
    done.append(lab.train("gan", gan__classifier="other"))
    if done[0].status:
        return worked(*done)
    return refused(done[1], names="classifier")


@check("a third process waits for the second where the first has failed to decode")
def _(lab):
    done = lab.python("""
import os, pathlib, threading, time, numpy as np
from asc_jax.data import cache
path = pathlib.Path("a"); path.touch()
made_of = cache.fingerprint([path], {})
place = cache._entry(pathlib.Path("c"), made_of).with_suffix(".lock")
inside, most, fails, ends = 0, 0, threading.Event(), threading.Event()
clip = np.zeros(4, np.float32)
def opened():
    targets = []
    for fd in os.listdir("/proc/self/fd"):
        try: targets.append(os.readlink("/proc/self/fd/" + fd).split(" ")[0])
        except OSError: pass
    return targets.count(str(place.absolute()))
def until(ask):
    for _ in range(2000):
        if ask(): return
        time.sleep(0.005)
def failing():
    fails.wait(); raise ValueError("bad file"); yield
def slowly():
    global inside, most
    inside += 1; most = max(most, inside); ends.wait(); inside -= 1
    yield (clip, "digest") if hasattr(cache, "Entry") else clip
def store(clips):
    try: cache.store(pathlib.Path("c"), made_of, clips)
    except Exception as error: print(error)
threads = []
def start(clips):
    threads.append(threading.Thread(target=store, args=(clips,))); threads[-1].start()
start(failing()); until(lambda: opened() == 1)
start(slowly()); until(lambda: opened() == 2)
fails.set(); until(lambda: inside == 1)
start(slowly()); until(lambda: inside == 2 or opened() == 2); time.sleep(1)
ends.set()
for thread in threads: thread.join()
print("at once", most)
""")
    found = re.search(r"at once (\d)", done.out)
    return every(worked(done), (found[1] == "1", f"{found[1]} decode at once"))


# Several processes


COUNTED = """
import sys
from jax.experimental import multihost_utils
gather, n = multihost_utils.process_allgather, [0]
def counted(*args, **kw):
    n[0] += 1
    return gather(*args, **kw)
multihost_utils.process_allgather = counted
from asc_jax import cli
status = cli.main(sys.argv[1:])
print("asked", n[0])
sys.exit(status)
"""


def _together(lab: Lab, *command) -> Done:
    launcher = [sys.executable, lab.checkout / "launch" / "local.py", "--processes=2", "--"]
    return lab.end(lab.start([*launcher, *command]))


@check("two processes do not ask one another at every step")
def _(lab):
    lab.clips()
    words = lab.train_words(train__batch_size=2, train__epochs=8, train__mesh="(2,1)")
    done = _together(lab, sys.executable, "-c", COUNTED, *words)
    if done.status:
        return worked(done)
    steps, asked = lab.log()[-1]["step"], int(re.search(r"asked (\d+)", done.out)[1])
    return asked < steps / 2, f"asked {asked} times in {steps} steps, 8 epochs"


@check("an error of all processes is not taken for a lost one by its words")
def _(lab):
    done = _together(lab, sys.executable, "-c", """
import os, jax
from asc_jax.parallel import hosts
hosts.join(hosts.read_place(os.environ))
error = jax.errors.JaxRuntimeError("INTERNAL: the kernel's launch timed out")
print("lost:", bool(hosts.lost_peer(error)), flush=True)
jax.distributed.shutdown()
""")  # fmt: skip
    lost = "lost: True" in done.out
    return every(worked(done), (not lost, "called lost" if lost else "no peer called lost"))


@check("a SLURM job that never gets further is queued again three times at most")
def _(lab):
    queue = 'case $1 in show) echo node ;; *) echo "$@" >> requeued ;; esac'
    for name, line in (("srun", "exit 137"), ("scontrol", queue)):
        lab.path(name).write_text(f"#!/bin/bash\n{line}\n")
        lab.path(name).chmod(0o755)
    lab.path("run").mkdir()
    variables = {
        "PATH": f"{lab.folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "12",
        "SLURM_JOB_NODELIST": "node", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
    }  # fmt: skip
    command = ["bash", lab.checkout / "launch" / "slurm.sbatch", "asc-jax", "--workdir=run"]
    for turn in range(8):
        lab.path("requeued").unlink(missing_ok=True)
        lab.end(lab.start(command, variables=variables | {"SLURM_RESTART_COUNT": str(turn)}))
        if not lab.path("requeued").exists():
            return True, f"ends after {turn + 1} turns"
    return False, "still queued again after 8 turns"


@check("a coordinator's port of 99999")
def _(lab):
    lab.clips()
    place = {"ASC_JAX_COORDINATOR": "localhost:99999", "ASC_JAX_PROCESSES": "2",
             "ASC_JAX_PROCESS": "0"}  # fmt: skip
    command = ["timeout", "-sKILL", "40", sys.executable, "-m", "asc_jax", *lab.train_words()]
    return refused(lab.end(lab.start(command, variables=place)), names="99999")


# Signals, disks, streams


def _signalled(lab: Lab, number: int, **fields) -> tuple[Done, int]:
    """Sends a signal within a long training; returns how it ended, and its newest checkpoint."""
    lab.clips()
    words = lab.train_words(**{"train__epochs": 2000} | fields)
    process = lab.start([sys.executable, "-m", "asc_jax", *words])
    log = lab.path("run/metrics.jsonl")
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.05)
    process.send_signal(number)
    done = lab.end(process)
    saved = [path.name for path in lab.path("run/checkpoints").iterdir()]
    return done, max((int(name) for name in saved if name.isdigit()), default=0)


def _is_saved(lab: Lab, number: int) -> tuple[bool, str]:
    done, saved = _signalled(lab, number)
    return done.status == 75, f"{done}, step {saved} saved"


check("the terminal is closed while a run trains")(lambda lab: _is_saved(lab, signal.SIGHUP))
check("SIGUSR1, as SLURM sends it, while a run trains")(lambda lab: _is_saved(lab, signal.SIGUSR1))


@check("a cache folder that cannot be written")
def _(lab):
    lab.clips()
    done = lab.train(data__cache_dir="/proc/asc_jax")
    return every(worked(done), ("/proc/asc_jax" in done.err, "trains, with a line"))


@check("a home folder that is not known")
def _(lab):
    lab.clips()
    if os.getuid():
        raise CannotAskError("needs root")
    capability = "+dac_override"
    prefix = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups",
              f"--inh-caps={capability}", f"--ambient-caps={capability}"]  # fmt: skip
    nowhere = {"HOME": None, "XDG_CACHE_HOME": None}
    named = {**nowhere, "JAX_COMPILATION_CACHE_DIR": "programs"}
    done = lab.train(prefix=prefix, variables=nowhere, workdir="a")
    with_caches = lab.train(prefix=prefix, variables=named, data__cache_dir="c", workdir="b")
    told = done.status == 0 or refused(done)[0]
    return every(worked(with_caches), (told, f"{done}; with named caches it works"))


@check("a file is on disk before it takes the other's place")
def _(lab):
    if not shutil.which("strace"):
        raise CannotAskError("needs strace")
    code = (
        "import pathlib; from asc_jax.runtime.files import write_whole\n"
        "write_whole(pathlib.Path('x'), 'y')"
    )
    trace = ["strace", "-f", "-e", "trace=fsync,rename,renameat,renameat2"]
    done = lab.python(code, prefix=trace)
    calls = re.findall(r"(fsync|rename)", done.err)
    return calls[:2] == ["fsync", "rename"], " ".join(calls) or str(done)


@check("the reader of a command's output has gone")
def _(lab):
    lab.clips()
    process = lab.start([sys.executable, "-m", "asc_jax", "data", "check", "set"])
    process.stdout.close()
    process.stdout = None
    done = lab.end(process)
    return done.status in (0, 1, 141) and not done.err, f"{done}, {len(done.err)} characters"


@check("standard output on a full disk")
def _(lab):
    lab.clips()
    with open("/dev/full", "w") as full:
        return refused(lab.asc_jax("data", "check", "set", stdout=full))


@check("an output whose encoding lacks a character")
def _(lab):
    lab.trained()
    meta = lab.path("set/meta.csv")
    meta.write_text(meta.read_text().replace("\tbus\t", "\tcafé\t"))
    shutil.copytree(lab.path("run"), lab.path("run2"))
    done = lab.asc_jax("report", "run", "run2", "--out=x.html",
                       variables={"PYTHONIOENCODING": "latin-1"})  # fmt: skip
    trained = lab.train(workdir="c")
    scored = lab.asc_jax("evaluate", "--workdir=c", variables={"PYTHONIOENCODING": "ascii"})
    written = lab.path("c/report.html").exists() and lab.path("x.html").exists()
    return every(worked(done, trained, scored), (written, "works, pages written"))


@check("a data folder whose name is not UTF-8")
def _(lab):
    name = os.fsdecode(b"caf\xe9")
    lab.clips().rename(lab.path(name))
    trained = lab.train(data__root=name)
    if trained.status:
        return refused(trained)
    done = lab.asc_jax("evaluate", "--workdir=run")
    return every(worked(done), (lab.path("run/report.html").exists(), "works, page written"))


# Settings of JAX and of the machine


@check("JAX_PLATFORMS names a device that is not there, or none at all")
def _(lab):
    lab.clips()
    names = ("cuda", "gpu", "bogus")
    runs = [lab.train(variables={"JAX_PLATFORMS": name}) for name in names]
    return refused(*runs, names="JAX_PLATFORMS")


@check("JAX_ENABLE_X64=1")
def _(lab):
    lab.trained()
    wide = {"JAX_ENABLE_X64": "1"}
    done = lab.train(variables=wide, workdir="a"), lab.train("gan", variables=wide)
    return refused(*done, names="JAX_ENABLE_X64")


@check("settings of JAX under which nothing here computes")
def _(lab):
    lab.clips()
    settings = {"JAX_DISABLE_JIT": "1", "JAX_NUMPY_RANK_PROMOTION": "raise",
                "JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_TRANSFER_GUARD": "disallow",
                "JAX_ENABLE_COMPILATION_CACHE": "bogus"}  # fmt: skip
    answers = []
    for name, value in settings.items():
        done = lab.train(variables={name: value}, workdir=name)
        right, seen = refused(done, names=name) if done.status else worked(done)
        answers.append((right, seen if right else f"{name}: {seen}"))
    return every(*answers)


@check("another random generator of JAX's is recorded")
def _(lab):
    lab.clips()
    done = lab.train(variables={"JAX_DEFAULT_PRNG_IMPL": "rbg"})
    if done.status:
        return refused(done, names="JAX_DEFAULT_PRNG_IMPL")
    files = [path for path in lab.path("run").glob("*.json*") if "rbg" in path.read_text()]
    return bool(files), f"in {files[0].name}" if files else "recorded nowhere"


@check("a memory limit of 1 GB")
def _(lab):
    lab.clips()
    done = lab.train(prefix=["bash", "-c", 'ulimit -v 1000000; exec "$@"', "bash"])
    return refused(done)


@check("scored where the package is not installed")
def _(lab):
    lab = lab.trained().copied()
    packages = lab.path("packages")
    packages.mkdir()
    for path in pathlib.Path(sysconfig.get_path("purelib")).iterdir():
        if "asc_jax" not in path.name and path.suffix != ".pth":
            (packages / path.name).symlink_to(path)
    variables = {"PYTHONPATH": f"{lab.checkout}:{packages}"}
    command = [sys.executable, "-S", "-m", "asc_jax", "evaluate", "--workdir=run"]
    return worked(lab.end(lab.start(command, variables=variables)))


# Tables


def _table(lab: Lab, reorder: Callable[[list[str]], list[str]], name: str = "set") -> None:
    meta = lab.path(name) / "meta.csv"
    rows = [line.split("\t") for line in meta.read_text().splitlines()]
    meta.write_text("".join("\t".join(reorder(row)) + "\n" for row in rows))


@check("a header that names the columns in another order")
def _(lab):
    lab.clips()
    _table(lab, lambda row: [row[0], row[2], row[1]])
    done = lab.asc_jax("data", "check", "set")
    right = "8 locations" in done.out and len(re.findall(r"8 clips", done.out)) == 2
    return every(worked(done), (right, "2 scenes, 8 locations" if right else "wrong columns"))


@check("a header with a source column before the identifier")
def _(lab):
    lab.clips()
    column = iter(["source_label", *"ab" * 8])
    _table(lab, lambda row: [*row[:2], next(column), row[2]])
    done = lab.asc_jax("data", "check", "set")
    right = "8 locations" in done.out
    return every(worked(done), (right, "8 locations" if right else "wrong columns"))


@check("a header that begins with a capital")
def _(lab):
    lab.clips(header="Filename\tscene_label\tidentifier")
    done = lab.asc_jax("data", "check", "set")
    right = done.status == 0 or ("Filename" in done.err and "header" in done.err)
    return right, f"{done}" + ", names the header" * (done.status == 2 and right)


@check("an evaluation set that is a list alone")
def _(lab):
    lab.clips()
    _only_listed(lab, "set", "fold1_test.csv", ["filename"])
    done = lab.asc_jax("data", "check", "set")
    return every(worked(done), ("16 clips" in done.out, "16 clips"))


def _only_listed(lab: Lab, name: str, file: str, head: Sequence[str] = ()) -> list[str]:
    """Makes a labelled set one without labels: a list of its files."""
    root = lab.path(name)
    (root / "meta.csv").unlink()
    (root / "evaluation_setup").mkdir()
    paths = sorted(str(path.relative_to(root)) for path in (root / "audio").rglob("*.*"))
    (root / "evaluation_setup" / file).write_text("\n".join([*head, *paths]) + "\n")
    return paths


@check("names of six parts, as those of TAU 2022")
def _(lab):
    root = lab.clips()
    rows = ["filename\tscene_label"]
    for line in (root / "meta.csv").read_text().splitlines()[1:]:
        path, label, _ = line.split("\t")
        place, take = f"{label[0] == 't':d}{path[-6]}", path[-5]
        new = f"audio/{label}-lisbon-{place}-4{place}-{take}-a.wav"
        (root / path).rename(root / new)
        rows.append(f"{new}\t{label}")
    (root / "meta.csv").write_text("\n".join(rows) + "\n")
    done = lab.asc_jax("data", "check", "set")
    found = re.search(r"(\d+) locations", done.out)
    return every(worked(done), (found[1] == "8", f"{found[1]} locations of 8"))


@check("file names with a comma or a quote in a submission")
def _(lab):
    lab.trained()
    root = lab.clips("other")
    (root / "audio/bus00.wav").rename(root / "audio/a,b.wav")
    (root / "audio/bus01.wav").rename(root / 'audio/c"d.wav')
    _only_listed(lab, "other", "test.txt")
    done = lab.asc_jax("evaluate", "--workdir=run", "--data=other")
    if done.status:
        return worked(done)
    files = list(lab.path("run/submission").glob("other*.csv"))
    with files[0].open(newline="") as file:
        rows = list(csv.reader(file))
    names = {pathlib.PurePath(row[0]).stem for row in rows}
    right = {"a,b", 'c"d'} <= names and {len(row) for row in rows} == {2}
    return right, "quoted" if right else "rows of other widths"


@check("two files of one Id in a submission")
def _(lab):
    lab.trained()
    root = lab.clips("other")
    for name, new in (("bus00", "x"), ("bus10", "y")):
        (root / "audio" / new).mkdir()
        (root / f"audio/{name}.wav").rename(root / "audio" / new / "1.wav")
    _only_listed(lab, "other", "test.txt")
    return refused(lab.asc_jax("evaluate", "--workdir=run", "--data=other"), names="1.wav")


@check("a label that is a path")
def _(lab):
    lab.clips()
    _table(lab, lambda row: [row[0], row[1].replace("bus", "../../esc"), row[2]])
    return refused(lab.asc_jax("data", "check", "set"), lab.train(), names="esc")


@check("paths with backslashes, without audio/, in other case or Unicode form")
def _(lab):
    answers = []
    forms = {"\\": ("/", "\\"), "audio/": ("audio/", ""), ".WAV": (".wav", ".WAV")}
    for number, (names, (old, new)) in enumerate(forms.items()):
        lab.clips(f"set{number}")
        _table(lab, lambda row, o=old, n=new: [row[0].replace(o, n), *row[1:]], f"set{number}")
        done = lab.asc_jax("data", "check", f"set{number}")
        told = done.status == 2 and names in done.err and "delete" not in done.err
        answers.append((told, f"{names}: what is there is named" if told else f"{names}: {done}"))
    return every(*answers)


@check("labels that a reader takes for one")
def _(lab):
    answers = []
    for number, other in enumerate(("Tram", "tram\u200b")):
        root = lab.clips(f"set{number}")
        text = (root / "meta.csv").read_text().replace("bus00.wav\tbus", f"bus00.wav\t{other}")
        (root / "meta.csv").write_text(text)
        done = lab.asc_jax("data", "check", f"set{number}")
        told = done.status == 2 or bool(done.err)
        answers.append((told, f"{done}, {'said' if told else 'nothing said'}"))
    return every(*answers)


@check("a stray quote, a form feed and U+2028 in a name")
def _(lab):
    lab.clips()
    for number, mark in enumerate("\x0c\u2028"):
        root = lab.clips(f"set{number}")
        (root / "audio/bus00.wav").rename(root / f"audio/b{mark}s00.wav")
        text = (root / "meta.csv").read_text().replace("audio/bus00", f"audio/b{mark}s00")
        (root / "meta.csv").write_text(text)
    done = [lab.asc_jax("data", "check", f"set{i}") for i in (0, 1)]
    _table(lab, lambda row: [row[0].replace("audio/bus00", '"audio/bus00'), *row[1:]])
    quote = lab.asc_jax("data", "check", "set")
    named = quote.status == 2 and "bus00" in quote.err
    return every(worked(*done), (named, "read; the quote's row is named" if named else str(quote)))


@check("a scene of one location: the advice helps")
def _(lab):
    lab.clips()
    _table(lab, lambda row: [row[0], row[1], re.sub(r"bus\d$", "bus0", row[2])])
    done = lab.train()
    good = done.status == 2 and "at most 1 fold" not in done.err and "bus" in done.err
    return good, f"{done}, " + ("names the scene" if good else "advises 1 fold")


@check("a published fold without a training clip of a scene")
def _(lab):
    root = lab.clips()
    rows = (root / "meta.csv").read_text().splitlines()[1:]
    (root / "evaluation_setup").mkdir()
    for part, label in (("train", "tram"), ("evaluate", "bus")):
        lines = ["\t".join(row.split("\t")[:2]) for row in rows if label in row]
        (root / f"evaluation_setup/fold1_{part}.txt").write_text("\n".join(lines) + "\n")
    done = lab.train(folds__kind="published", folds__n_folds=1)
    told = "bus" in done.err
    return told, f"{done}, {'said' if told else 'without a word'}"


@check("one scene alone")
def _(lab):
    root = lab.clips()
    rows = (root / "meta.csv").read_text().splitlines()
    (root / "meta.csv").write_text("\n".join(row for row in rows if "tram" not in row) + "\n")
    done = lab.train()
    if done.status:
        return refused(done)
    scored = lab.asc_jax("evaluate", "--workdir=run")
    return scored.status == 0 and "Warning" not in scored.err, f"{scored}" + (
        ", a warning" * ("Warning" in scored.err)
    )


# Audio files


@check("a float WAV with a sample of 1e20 is trained on, and scored")
def _(lab):
    lab.trained()
    for name in ("other", "third"):
        path = lab.clips(name) / "audio/tram31.wav"
        sound, rate = sf.read(path)
        sound[100] = 1e20
        sf.write(path, sound, rate, subtype="FLOAT")
    _only_listed(lab, "third", "test.txt")
    return refused(
        lab.asc_jax("data", "check", "other"),
        lab.train(data__root="other", workdir="b"),
        lab.asc_jax("evaluate", "--workdir=run", "--data=third"),
        names="tram31.wav",
    )


def _patched(path: pathlib.Path, at: int, content: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[at : at + len(content)] = content
    path.write_bytes(whole)


@check("a FLAC of unknown length, as streams have it")
def _(lab):
    root = lab.clips()
    sound, rate = sf.read(root / "audio/bus00.wav")
    flac = root / "audio/bus00.flac"
    sf.write(flac, sound, rate)
    _patched(flac, 21, bytes([flac.read_bytes()[21] & 0xF0, 0, 0, 0, 0]))
    flac.replace(root / "audio/bus00.wav")
    return worked(lab.asc_jax("data", "check", "set"), lab.train())


@check("a WAV from a pipe of sox or arecord")
def _(lab):
    root = lab.clips()
    for name, sizes in (("bus00", (0x7FFFF024, 0x7FFFF000)), ("bus01", (0x80000024, 0x80000000))):
        for at, size in zip((4, 40), sizes, strict=True):
            _patched(root / f"audio/{name}.wav", at, size.to_bytes(4, "little"))
    return worked(lab.asc_jax("data", "check", "set"), lab.train())


@check("a WAV whose recorder has died, or whose header counts 16 bytes too many")
def _(lab):
    root = lab.clips()
    for name, size in (("bus00", 0), ("bus01", 192_016)):
        _patched(root / f"audio/{name}.wav", 40, size.to_bytes(4, "little"))
    done = lab.train()
    return done.status == 0 or (done.status == 2 and "no samples" not in done.err), str(done)


@check("a WAV whose header says 1 Hz")
def _(lab):
    path = lab.clips() / "audio/bus00.wav"
    _patched(path, 24, (1).to_bytes(4, "little"))
    done = lab.train(prefix=["bash", "-c", 'ulimit -v 8000000; exec "$@"', "bash"])
    return refused(done, names="bus00.wav")


@check("44,100 Hz to 16,001 Hz within 8 GB")
def _(lab):
    done = lab.python("""
import resource, jax, numpy as np
from asc_jax.frontend import resample
resource.setrlimit(resource.RLIMIT_DATA, (8 * 2**30,) * 2)
sine = lambda sr: np.sin(2 * np.pi * 1000 * np.arange(sr) / sr).astype(np.float32)
ours = np.asarray(resample(sine(44100), 44100, 16001))
error = (ours - sine(16001)[:len(ours)])[1000:-1000]
print("dB", 20 * np.log10(np.abs(error).max()))
print("GiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
""")
    if done.status:
        return worked(done)
    decibels, gib = (float(re.search(f"{unit} (.*)", done.out)[1]) for unit in ("dB", "GiB"))
    return decibels < -100 and gib < 2, f"{gib:.1f} GiB, {decibels:.0f} dB"


@check("400 files of wrong lengths, and a bad one, are a few lines")
def _(lab):
    root = lab.clips()
    rows = ["filename\tscene_label\tidentifier"]
    for i in range(400):
        sf.write(root / f"audio/{i}.wav", np.full(4000 + i, 0.1), 8000)
        rows.append(f"audio/{i}.wav\t{'bus' if i % 2 else 'tram'}\tx{i // 20}{i % 2}")
    (root / "audio/5.wav").write_bytes(b"no audio")
    (root / "meta.csv").write_text("\n".join(rows) + "\n")
    done = lab.train()
    lines = len(done.err.splitlines())
    right = done.status == 2 and lines < 20 and "5.wav" in done.err and "fit_length" in done.err
    return right, f"{done}, {lines} lines, {len(done.err) / 1000:.1f} kB"


@check("sound replaced after training, under the same names")
def _(lab):
    lab.clips()
    trained = lab.train()
    for path in lab.path("set/audio").iterdir():
        sound, rate = sf.read(path)
        sf.write(path, 0 * sound, rate)
    done = lab.asc_jax("evaluate", "--workdir=run")
    return every(worked(trained), (done.status == 2 or "sound" in done.err, str(done)))


@check("training clips again, as a set without identifiers")
def _(lab):
    lab.trained()
    shutil.copytree(lab.path("set"), lab.path("other"))
    _table(lab, lambda row: row[:2], "other")
    done = lab.asc_jax("evaluate", "--workdir=run", "--data=other")
    return refused(done)


@check("MP3 files without the decoder's own words")
def _(lab):
    root = lab.clips()
    for path in (root / "audio").iterdir():
        sound, rate = sf.read(path)
        sf.write(path.with_suffix(".mp3"), sound, rate, format="MP3")
        path.unlink()
        _patched(path.with_suffix(".mp3"), 2000, bytes(1000))
    _table(lab, lambda row: [row[0].replace(".wav", ".mp3"), *row[1:]])
    done = lab.asc_jax("data", "check", "set")
    loud = "mpg123" in done.err or "src/libmpg" in done.err
    return not loud and "Traceback" not in done.err, f"{done}" + ", libmpg123's words" * loud


# Scores, reports and pages


@check("a fold's answer to steps that are not finite is kept by epoch")
def _(lab):
    epochs = {"train__epochs": 200}
    _signalled(lab, signal.SIGTERM, train__non_finite="skip", **epochs)
    done = lab.train(**epochs)
    kept = list(dict.fromkeys(line.get("non_finite") for line in lab.log()))
    return every(worked(done), (kept == ["skip", "stop"], f"log says {kept}"))


@check("intervals say that they cover at least 95 %")
def _(lab):
    lab.trained()
    done = lab.asc_jax("evaluate", "--workdir=run")
    said = re.search(r"Intervals: (at least )?95 %", done.out)
    return every(worked(done), (bool(said and said[1]), said[0] if said else "not said"))


@check("detectable differences at the level of the correction in use")
def _(lab):
    lab.trained()
    rng = np.random.default_rng(0)
    for number, name in enumerate(("a", "b", "c", "d")):
        shutil.copytree(lab.path("run"), lab.path(name))
        logits = dict(np.load(lab.path("run/logits.npz"), allow_pickle=False))
        for key in [key for key in logits if key.endswith("logits")]:
            labels = logits[key.replace("logits", "scene_label")]
            right = labels[:, None] == logits["scene_labels"]
            n_wrong = (14, 1, 2, 13)[number]
            wrong = rng.permutation(16) < n_wrong
            logits[key] = np.where(wrong[:, None], ~right, right).astype(np.float32)
        np.savez(lab.path(name) / "logits.npz", **logits)
    found = {}
    for correction in ("holm", "bh"):
        words = ["report", "a", "b", "c", "d", "--json", f"--correction={correction}"]
        done = lab.asc_jax(*words)
        if done.status:
            return worked(done)
        found[correction] = [float(x) for x in re.findall(r'"detectable": ([\d.]+)', done.out)]
    least = [min(found[correction]) for correction in ("holm", "bh")]
    right = found["bh"] != found["holm"]
    return right, f"Holm {least[0]:.3f}, BH {least[1]:.3f}"


@check("Fréchet distances stand with their numbers of clips")
def _(lab):
    lab.trained()
    done = lab.train("gan")
    pages = [path.read_text() for path in lab.path("gan").rglob("*.html")]
    said = any("unseen clips compared with" in page for page in pages)
    return every(worked(done), (said, "said" if said else "not said"))


@check("what --data has scored is kept by a later evaluate")
def _(lab):
    lab.trained()
    lab.clips("other")
    done = [lab.asc_jax("evaluate", "--workdir=run", "--data=other"),
            lab.asc_jax("evaluate", "--workdir=run")]  # fmt: skip
    kept = "other" in json.dumps(lab.report()["lists"])
    return every(worked(*done), (kept, "kept" if kept else "gone from the report"))


@check("training data that have moved are named to evaluate")
def _(lab):
    lab.clips()
    lab.train()
    lab.path("set").rename(lab.path("moved"))
    told = lab.asc_jax("evaluate", "--workdir=run")
    done = lab.asc_jax("evaluate", "--workdir=run", "--config.data.root=moved")
    return every(refused(told, names="data.root"), worked(done))


@check("other sets of 1-s or mono clips: the advice helps")
def _(lab):
    lab.trained()
    root = lab.clips("other")
    for path in (root / "audio").iterdir():
        sf.write(path, np.tile(sf.read(path)[0][:, 0], 2), 48_000)
    words = ["evaluate", "--workdir=run", "--data=other"]
    told = lab.asc_jax(*words)
    mends = re.findall(r"(data\.[a-z_]+=\w+) to ", told.err)
    flags = [f"--config.{field}" for field in mends]
    if told.status != 2 or not flags:
        return False, f"{told}, names no flag of its own"
    return every(worked(lab.asc_jax(*words, *flags)), (True, f"works with {' and '.join(mends)}"))


@check("report --out: empty, a file of a run, another ending")
def _(lab):
    lab.trained()
    before = lab.path("run/logits.npz").read_bytes()
    done = (lab.asc_jax("report", "run", "--out="),
            lab.asc_jax("report", "run", "--out=run/logits.npz"))  # fmt: skip
    whole = lab.path("run/logits.npz").read_bytes() == before
    shutil.copytree(lab.ready() / "run", lab.path("run"), dirs_exist_ok=True)
    table = lab.asc_jax("report", "run", "--csv", "--out=x.csv")
    page = lab.path("x.csv").exists() and "<" in lab.path("x.csv").read_text()[:20]
    answers = [refused(done[0]), refused(done[1]), (whole, "logits lost")]
    return every(*answers, (not page, f"a page in x.csv, {table}" if page else "all refused"))


@check("a report where no page can be written")
def _(lab):
    lab.trained()
    shutil.copytree(lab.path("run"), lab.path("run2"))
    lab.path("report.html").mkdir()
    done = lab.asc_jax("report", "run", "run2")
    shown = "run2" in done.out
    return shown, f"{done}, the table {'shown' if shown else 'not shown'}"


@check("reproduce on a small set: the advice helps")
def _(lab):
    lab.asc_jax("data", "synth", "small", "--locations=3", "--clips=1", "--seconds=1")
    done = lab.asc_jax("reproduce", "--workdir=all", "--data=small", "--budget=smoke")
    return refused(done, names="--budget")


@check("all GANs diverge in the first epoch")
def _(lab):
    lab.trained()
    done = lab.train("gan", gan__lr=1e30)
    return done.status == 1 and "Traceback" not in done.err, str(done)


@check("gan.scenes=tram is one scene, or the message shows what would do")
def _(lab):
    lab.trained()
    done = lab.train("gan", gan__scenes="tram")
    if done.status:
        return every(refused(done), ("'tram'," in done.err, "shows ('tram',)"))
    corpora = json.loads(lab.path("gan/corpora.json").read_text())
    scenes = [corpus["scene_labels"] for corpus in corpora]
    return all(one == ["tram"] for one in scenes), f"GANs of {scenes}"


# Paths, names and values


@check("~ is the home folder in every flag and field")
def _(lab):
    lab.clips()
    fields = {"data__root": "~/set", "data__cache_dir": "~/c", "workdir": "~/run"}
    done = [lab.train(**fields), lab.asc_jax("data", "check", "~/set")]
    done.append(lab.asc_jax("evaluate", "--workdir=~/run"))
    here = not lab.path("~").exists() and lab.path("run").is_dir() and lab.path("c").is_dir()
    return every(worked(*done), (here, "in the home folder" if here else "a folder called ~"))


@check("the address of a bucket is refused in every flag and field")
def _(lab):
    lab.trained()
    bucket = "gs://bucket/x"
    given = ({"data__root": bucket}, {"data__cache_dir": bucket}, {"workdir": bucket})
    done = [lab.train(**{"workdir": "a", **fields}) for fields in given]
    done += [lab.asc_jax(*words) for words in (
        ["data", "check", bucket], ["data", "synth", bucket], ["evaluate", f"--workdir={bucket}"],
        ["evaluate", "--workdir=run", f"--data={bucket}"], ["report", "run", f"--out={bucket}"],
    )]  # fmt: skip
    return refused(*done, names="bucket")


@check("an empty --workdir")
def _(lab):
    lab.clips()
    return every(refused(lab.train(workdir=""), names="--workdir"),
                 (not lab.path("config.json").exists(), "refused in a line"))  # fmt: skip


@check("a sweep's setting of 13 fields")
def _(lab):
    lab.clips()
    lab.path("many.py").write_text("""
from configs import demo
def get_config():
    return demo.get_config()
def get_settings():
    one = {"augment.mixup_alpha": 0.3, "augment.time_roll": 1.0, "augment.time_masks": 2,
           "augment.time_mask_frames": 25, "augment.mel_masks": 2, "augment.mel_mask_bands": 5,
           "optimizer.weight_decay": 0.05, "optimizer.clip_norm": 1.0,
           "train.label_smoothing": 0.1, "data.normalisation": "global", "folds.n_folds": 2}
    return [{**one, "model.se_ratio": ratio} for ratio in (0, 4)]
""")
    fields = {"config": "many.py", "workdir": "sweep", "folds__n_folds": None}
    done = lab.asc_jax(*lab.train_words("sweep", **fields))
    return worked(done) if done.status != 2 else refused(done)


@check("the project's own ablation of the frontend")
def _(lab):
    lab.clips()
    base = lab.checkout / "configs/demo.py"
    config = lab.checkout / "configs/ablations/frontend.py"
    words = lab.train_words("sweep", config=str(config), workdir="sweep")
    done = lab.asc_jax(*words, f"--base={base}")
    failed = re.search(r"(\d+ of \d+ \w+)[^\n]*fail", done.out + done.err)
    return every((done.status == 0, f"{done}, {failed[0][:40] if failed else ''}"), worked(done))


@check("--seeds=1,01 and a seed of 2^32")
def _(lab):
    lab.clips()
    config = str(lab.checkout / "configs/ablations/se.py")
    words = [*lab.train_words("sweep", config=config, workdir="a"), "--dry_run"]
    done = [lab.asc_jax(*words, f"--seeds={seeds}") for seeds in ("1,01", "4294967296")]
    return refused(*done, names="seeds")


@check("values without an upper end")
def _(lab):
    lab.clips()
    mesh = lab.train(train__mesh="{[]:1}")
    seconds = lab.asc_jax("data", "synth", "new", "--seconds=1e9")
    left = lab.path("new").exists() or lab.path("run").exists()
    return every(refused(mesh), refused(seconds), (not left, "refused, nothing left"))


@check("an empty --config")
def _(lab):
    done = lab.asc_jax("summary", "--config=")
    return refused(done, names="--config")


@check("nothing of JAX's private modules is imported")
def _(lab):
    files = lab.checkout.joinpath("asc_jax").rglob("*.py")
    found = [path.name for path in files if "jax._src" in path.read_text()]
    return not found, f"in {found[0]}" if found else "none"
