"""Command lines of the quick commands, in processes of their own and odd environments."""

import atexit
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import BinaryIO, NamedTuple

import numpy as np
from hypothesis import strategies as st

from benchmarks.fuzz_models import original

_ROOT = pathlib.Path(__file__).parents[1]
_LONGEST_S = 50  # of one process
_STATUSES = (0, 1, 2, 75)
_MOST_SAID = 3000  # characters of the standard error


class Command(NamedTuple):
    """A command line, the variables that it is given, and what becomes of its streams."""

    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    closed: tuple[str, ...]  # of "stdin", "stdout" and "stderr"
    stdout: str  # "pipe", "full": a disk without space, "gone": a reader that has left


_ODD = st.one_of(
    st.sampled_from(["", "x", "-1", "0", "1e9", "nan", "--", "~", "~nobody/x", "gs://a/b", "/",
                     "/dev/null", "é", "\udce9", "a\nb", "x" * 300, "None", "set", "run"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6),
)  # fmt: skip
_CONFIG = st.sampled_from(["configs/demo.py", "configs/wavegan.py", "configs/ablations/se.py",
                           "configs/no.py", "", "configs"])  # fmt: skip
_FIELD = st.builds(
    "--config.{}={}".format,
    st.sampled_from(["seed", "title", "data.root", "model.width", "model.se_ratio", "optimizer.lr",
                     "train.epochs", "frontend.n_mels", "folds.n_folds", "no.such", "", "model"]),
    _ODD,
)  # fmt: skip
_FLAG = st.one_of(
    _FIELD,
    st.builds("{}={}".format,
              st.sampled_from(["--workdir", "--data", "--seeds", "--out", "--list", "--reference",
                               "--budget", "--correction", "--base", "--x"]), _ODD),
    st.sampled_from(["--help", "--version", "--json", "--csv", "--markdown", "--finished_only",
                     "--dry_run", "--together", "--ensemble=weighted", "-h", "--"]),
    _ODD,
)  # fmt: skip
_BEGINNINGS = st.one_of(
    st.sampled_from([
        ("data", "check", "set"), ("data", "check", "broken"), ("data", "check"), ("data",), (),
        ("report", "run"), ("report", "run", "--json"), ("report", "set"), ("report", "--help"),
        ("sweep", "--config=configs/ablations/se.py", "--workdir=w", "--dry_run"),
        ("predict", "m.stablehlo", "-"), ("predict", "m.stablehlo", "set/audio"),
        ("predict", "m.stablehlo", "broken"), ("export", "m.stablehlo", "w/n.stablehlo"),
        ("predict", "esc10", "broken"), ("models",),
        ("data", "import", "broken", "w/new"),
        ("reproduce", "--workdir=w", "--dry_run"), ("--help",), ("--version",), ("train",),
    ]),
    _CONFIG.map(lambda config: ("summary", f"--config={config}")),
    _CONFIG.map(lambda config: ("sweep", f"--config={config}", "--workdir=w", "--dry_run")),
    _ODD.map(lambda word: (word,)),
)  # fmt: skip

_SETTINGS = {
    "LC_ALL": ["C", "POSIX", "C.UTF-8", "tr_TR.UTF-8", "nonsense"],
    "PYTHONIOENCODING": ["ascii", "latin-1", "utf-16", "ascii:strict"],
    "PYTHONUTF8": ["0", "1"],
    "PYTHONOPTIMIZE": ["1", "2"],
    "PYTHONWARNINGS": ["default", "ignore"],
    "COLUMNS": ["0", "1", "-3", "x", "100000"],
    "TERM": ["", "dumb"],
    "HOME": ["", "/nonexistent", "/dev/null", "relative"],
    "XDG_CACHE_HOME": ["", "~", "~nobody", "/dev/null", "/proc/x", "gs://b", "relative"],
    "TMPDIR": ["/nonexistent"],
    "TZ": ["nonsense", "UTC"],
    "NO_COLOR": ["1"],
    "JAX_PLATFORMS": ["", "cpu", "tpu", "nonsense", "cpu,cpu"],
    "JAX_ENABLE_X64": ["0", "1", "maybe"],
    "JAX_DISABLE_JIT": ["1"],
    "JAX_NUM_CPU_DEVICES": ["0", "1", "-1", "two"],
    "JAX_COMPILATION_CACHE_DIR": ["", "/nonexistent", "/dev/null"],
    "JAX_TRANSFER_GUARD": ["disallow", "log", "x"],
    "JAX_DEFAULT_MATMUL_PRECISION": ["highest", "x"],
    "JAX_NUMPY_DTYPE_PROMOTION": ["strict"],
    "JAX_DEBUG_NANS": ["1"],
    "JAX_DEFAULT_PRNG_IMPL": ["rbg", "x"],
    "GLIBC_TUNABLES": ["nonsense", "glibc.malloc.hugetlb=9"],
    "ASC_JAX_COORDINATOR": ["x", "127.0.0.1:1", ""],
    "ASC_JAX_PROCESS": ["-1", "0", "x"],
    "OMP_NUM_THREADS": ["0", "x"],
    "SLURM_JOB_ID": ["x"],
    "MPLBACKEND": ["nonsense"],
    "MPLCONFIGDIR": ["/nonexistent"],
}
_VARIABLES = st.lists(
    st.sampled_from([(name, value) for name, values in _SETTINGS.items() for value in values]),
    max_size=3,
    unique_by=lambda pair: pair[0],
).map(tuple)
COMMANDS = st.builds(
    lambda beginning, flags, *rest: Command((*beginning, *flags), *rest),
    _BEGINNINGS,
    st.one_of(st.just([]), st.just([]), st.lists(_FLAG, max_size=2)),
    _VARIABLES,
    st.one_of(
        st.just(()),
        st.lists(st.sampled_from(["stdin", "stdout", "stderr"]), max_size=3, unique=True).map(
            tuple
        ),
    ),
    st.sampled_from(["pipe", "pipe", "pipe", "full", "gone"]),
)


@functools.cache
def _folder() -> pathlib.Path:
    """A folder to run in: a small data set, a broken one, a run, and the configs."""
    import soundfile

    folder = pathlib.Path(tempfile.mkdtemp(prefix="asc_jax_fuzz_commands_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("set", "broken"):
        (folder / name / "audio").mkdir(parents=True)
        rows = []
        for k in range(4):
            path = f"audio/{k}.wav"
            soundfile.write(folder / name / path, np.full((4800, 2), 0.1), 48_000)
            rows.append(f"{path}\t{'bus' if k % 2 else 'tram'}\tplace{k}\n")
        (folder / name / "meta.csv").write_text("".join(rows))
    (folder / "broken/audio/1.wav").write_bytes(b"RIFF")
    shutil.copytree(_ROOT / "tests/kept/format1", folder / "run")
    (folder / "configs").symlink_to(_ROOT / "configs")
    (folder / "m.stablehlo").write_bytes(original("stablehlo"))
    return folder


def _stdout(kind: str) -> BinaryIO:
    """What a command prints to."""
    if kind == "full":
        return open("/dev/full", "wb")
    if kind == "gone":
        reader, writer = os.pipe()
        os.close(reader)
        return os.fdopen(writer, "wb")
    return tempfile.TemporaryFile()


def check_command(command: Command) -> str:
    """A command ends in time, with a status that it has, and says what is wrong in short words."""
    folder = _folder()
    variables = {**os.environ, "PYTHONPATH": str(_ROOT)} | dict(command.variables)
    for name in ("COLUMNS", "PYTHONWARNINGS"):
        if name not in dict(command.variables):
            variables.pop(name, None)
    words = [word.encode(errors="surrogateescape") for word in command.words]
    program = [sys.executable, "-m", "asc_jax", *words]
    if closed := [("stdin", "stdout", "stderr").index(name) for name in command.closed]:
        shut = " ".join(f"{number}>&-" for number in closed)  # by a shell, as users do
        program = ["/bin/sh", "-c", f'exec "$@" {shut}', "sh", *program]
    with tempfile.TemporaryFile() as said, _stdout(command.stdout) as stdout:
        done = subprocess.run(
            program, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=said, timeout=_LONGEST_S,
        )  # fmt: skip
        said.seek(0)
        words_said = said.read().decode(errors="replace")
    assert done.returncode in _STATUSES, (done.returncode, words_said[-2000:])
    assert "Traceback" not in words_said, words_said[-3000:]
    assert len(words_said) < _MOST_SAID, words_said[-3000:]
    if done.returncode == 2 and "stderr" not in command.closed:
        assert words_said.strip(), "status 2 without a word"
    if done.returncode == 1:
        assert command.stdout == "gone", words_said
    assert done.returncode != 75, words_said
    return "refused" if done.returncode else "read"
