"""Faults that were found once, asked again on real files and processes: before and now.

Each check of `benchmarks.mended_checks` builds its input in a folder of its own, with caches of
its own, runs commands of a checkout as processes, and says whether what came out is right.
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import soundfile as sf

HERE = pathlib.Path(__file__).parents[1]
LONGEST = 600  # seconds of a command

# Two folds and one block on eight clips each: seconds, most of which are imports and compilation.
FIELDS = {
    "data.root": "set",
    "data.clip_seconds": 1,
    "data.n_frames": 0,
    "folds.test_fold": 0,
    "folds.n_folds": 2,
    "train.epochs": 1,
    "train.batch_size": 4,
    "model.width": 4,
    "model.stage_sizes": "(1,)",
    "model.stage_strides": "(1,)",
}
GAN_FIELDS = {
    "gan.classifier": "run",
    "gan.dim": 1,
    "gan.n_samples": 1024,
    "gan.n_latent": 4,
    "gan.unseen_fraction": 0.5,
    "train.batch_size": 2,
    "train.epochs": 1,
    "train.steps_per_epoch": 2,
    "train.watch_clips": 2,
}


class CannotAskError(Exception):
    """A check does not apply to this checkout, or to this machine; its message says why."""


@dataclasses.dataclass(frozen=True)
class Done:
    """A process that has ended; `status` is None where it took too long."""

    status: int | None
    out: str
    err: str

    def __str__(self) -> str:
        if self.status is None:
            return f"nothing within {LONGEST} s"
        if "Traceback (most recent" in self.err:
            errors = [line for line in self.err.splitlines() if line and not line.startswith(" ")]
            kinds = [line for line in errors if line.partition(":")[0].endswith(("Error", "pt"))]
            return f"traceback, {(kinds or errors)[-1].partition(':')[0].rpartition('.')[2]}"
        if self.status < 0:
            return f"ended by {signal.Signals(-self.status).name}"
        return f"status {self.status}"


@dataclasses.dataclass(frozen=True)
class Lab:
    """A checkout, and a folder in which its commands run.

    Attributes:
      checkout: whose `asc_jax`, `configs` and `launch` are run.
      folder: the current one of all commands; their caches and home are in it.
      ready: () -> a folder with a small data set and a run, trained and scored with the checkout.
      earlier: the same of the version before, or None where none was named.
    """

    checkout: pathlib.Path
    folder: pathlib.Path
    ready: Callable[[], pathlib.Path]
    earlier: Callable[[], pathlib.Path] | None = None

    def path(self, name: str) -> pathlib.Path:
        return self.folder / name

    def environment(self, **changed: str | None) -> dict[str, str]:
        """Of a process: one CPU device, as users have it; None takes a variable away."""
        environ = os.environ | {
            "PYTHONPATH": str(self.checkout),
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": str(self.path("cache")),
            "MPLCONFIGDIR": str(self.folder.parent / "matplotlib"),  # fonts, searched for once
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "",
        }
        environ.pop("PYTHONUNBUFFERED", None)
        environ |= changed
        return {name: value for name, value in environ.items() if value is not None}

    def start(self, command: Sequence, **options) -> subprocess.Popen:
        """Starts a command in the folder."""
        variables = options.pop("variables", {})
        return subprocess.Popen(
            list(map(str, command)),
            cwd=self.folder,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        )

    def end(self, process: subprocess.Popen) -> Done:
        """Waits for a command's end, and ends it with all of its children where it hangs."""
        try:
            output = process.communicate(timeout=LONGEST)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, status = process.communicate(), None
        return Done(status, *((part or b"").decode(errors="replace") for part in output))

    def asc_jax(self, *words, prefix: Sequence = (), **options) -> Done:
        """Runs `asc-jax` to its end; a prefix stands before the command."""
        return self.end(self.start([*prefix, sys.executable, "-m", "asc_jax", *words], **options))

    def python(self, code: str, *, prefix: Sequence = (), **options) -> Done:
        """Runs some Python on the checkout's modules to its end."""
        return self.end(self.start([*prefix, sys.executable, "-c", code], **options))

    def train_words(self, command: str = "train", config: str | None = None, **changed) -> list:
        """A command that trains; `folds__n_folds=3` changes a field, None takes one away."""
        usual = GAN_FIELDS if command == "gan" else FIELDS
        fields = usual | {name.replace("__", "."): value for name, value in changed.items()}
        workdir = fields.pop("workdir", "gan" if command == "gan" else "run")
        config = config or self.checkout / "configs" / f"{_CONFIGS[command]}.py"
        given = [f"--config.{name}={value}" for name, value in fields.items() if value is not None]
        return [command, f"--config={config}", f"--workdir={workdir}", *given]

    def train(self, command: str = "train", *, prefix: Sequence = (), variables=None, **fields):
        """Runs such a command to its end."""
        words = self.train_words(command, **fields)
        return self.asc_jax(*words, prefix=prefix, variables=variables or {})

    def trained(self) -> "Lab":
        """Puts the small data set and its run into the folder."""
        shutil.copytree(self.ready(), self.folder, dirs_exist_ok=True, symlinks=True)
        return self

    def clips(self, name: str = "set", *, header: str | None = None) -> pathlib.Path:
        """Writes a small data set into the folder; see `write_clips`."""
        return write_clips(self.path(name), header=header)

    def copied(self, name: str = "source") -> "Lab":
        """The same folder with a copy of the checkout, to be edited."""
        source = self.path(name)
        for part in ("asc_jax", "configs"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(self.checkout / part, source / part, ignore=ignored)
        return dataclasses.replace(self, checkout=source)

    def edit(self, file: str, old: str = "", new: str = "", *, more: str = "") -> None:
        """Replaces some text of a file of the (copied) checkout, and adds more at its end."""
        path = self.checkout / file
        text = path.read_text() if path.exists() else ""
        if old not in text or not text:
            raise CannotAskError(f"no such lines in {file}")
        path.write_text(text.replace(old, new, 1) + more)

    def log(self, run: str = "run") -> list[dict]:
        """The epochs in a run's log."""
        lines = self.path(run).joinpath("metrics.jsonl").read_text().splitlines()
        return list(map(json.loads, lines))

    def report(self, run: str = "run") -> dict:
        """A run's `report.json`."""
        return json.loads(self.path(run).joinpath("report.json").read_text())


_CONFIGS = {"train": "demo", "sweep": "demo", "gan": "wavegan"}


def write_clips(root: pathlib.Path, *, header: str | None = None) -> pathlib.Path:
    """Writes 16 stereo clips of a second: two scenes of four places, each a tone of the set's."""
    (root / "audio").mkdir(parents=True)
    rows = [header or "filename\tscene_label\tidentifier"]
    seconds = np.arange(48_000) / 48_000
    for number in range(16):
        label, hz = (("bus", 200), ("tram", 900))[number // 8]
        hz += zlib.crc32(root.name.encode()) % 50  # a set with another name has another sound
        place, take = number // 2 % 4, number % 2
        tone = 0.1 * np.sin(2 * np.pi * hz * seconds)
        sf.write(root / f"audio/{label}{place}{take}.wav", np.stack([tone, tone], axis=1), 48_000)
        rows.append(f"audio/{label}{place}{take}.wav\t{label}\t{root.name}-{label}{place}")
    (root / "meta.csv").write_text("\n".join(rows) + "\n")
    return root


def run(args) -> dict:
    """Asks every check of both checkouts; see `benchmarks.__main__` for the arguments."""
    from benchmarks.mended_checks import CHECKS

    only = "training" if args.quick and not args.only else args.only
    checks = {t: c for t, c in CHECKS.items() if all(w in t for w in only.split())}
    if args.quick:
        checks = dict(list(checks.items())[:1])
    if not checks:
        raise SystemExit(f"--only={only}: there is no such check")
    checkouts = {"before": args.before, "now": HERE} if args.before else {"now": HERE}
    started = time.perf_counter()
    rows = {title: {"check": title} | dict.fromkeys(checkouts, "") for title in checks}
    with tempfile.TemporaryDirectory(prefix="asc_jax_mended_") as folder:
        ready = {
            name: _Once(checkout.resolve(), pathlib.Path(folder) / name)
            for name, checkout in checkouts.items()
        }
        cores = len(os.sched_getaffinity(0))
        with concurrent.futures.ThreadPoolExecutor(cores) as pool:
            asked = {}
            for number, (title, check) in enumerate(checks.items()):
                for name, once in ready.items():
                    place = pathlib.Path(folder) / f"{name}{number}"
                    earlier = ready.get("before") if name == "now" else None
                    lab = Lab(once.checkout, place, once, earlier)
                    asked[pool.submit(_ask, check, lab)] = title, name
            for answer in concurrent.futures.as_completed(asked):
                title, name = asked[answer]
                rows[title][name] = answer.result()
                print(f"{title}: {name} {rows[title][name]}", file=sys.stderr)
    counts = {
        name: f"{sum(row[name].startswith('right') for row in rows.values())} right of {len(rows)}"
        for name in checkouts
    }
    return {
        "rows": [*rows.values(), {"check": "all"} | counts],
        "minutes": (time.perf_counter() - started) / 60,
    }


def _ask(check: Callable, lab: Lab) -> str:
    lab.folder.mkdir()
    try:
        if not check.cold:
            shutil.copytree(lab.ready() / "cache", lab.path("cache"))
        right, seen = check(lab)
    except CannotAskError as error:
        return f"not asked: {error}"
    except Exception as error:  # what a fault leaves may not be what a check reads
        right, seen = False, f"{type(error).__name__}: {error}".splitlines()[0][:80]
    finally:
        shutil.rmtree(lab.folder, ignore_errors=True)
    return f"{'right' if right else 'wrong'}: {seen}"


class _Once:
    """Trains a checkout's small run when it is first asked for."""

    def __init__(self, checkout: pathlib.Path, folder: pathlib.Path):
        self.checkout, self._folder, self._lock = checkout, folder, threading.Lock()

    def __call__(self) -> pathlib.Path:
        with self._lock:
            if not self._folder.exists():
                self._folder.mkdir()
                lab = Lab(self.checkout, self._folder, self)
                lab.clips()
                for done in (lab.train(), lab.asc_jax("evaluate", "--workdir=run")):
                    if done.status:
                        raise RuntimeError(f"{self.checkout}: {done.err}")
                _keep_programs(lab.path("cache/asc_jax"))
        return self._folder


def _keep_programs(cache: pathlib.Path) -> None:
    """Leaves compiled programs alone in a cache: no check need wait for the compiler.

    Where a version keeps programs of its own beside JAX's, these alone: with JAX's, but without
    its own of the same, that version breaks down.
    """
    for folder in cache.glob("*/fingerprint.json"):
        shutil.rmtree(folder.parent)
    if own := list(cache.rglob("*.program")):
        for path in set(cache.rglob("*")) - set(own):
            path.is_file() and path.unlink()
