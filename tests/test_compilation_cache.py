"""JAX's cache of compiled programs between processes: whatever is in it, the source decides."""

import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import small
from checkout import COMPILE_QUICKLY
from process import ASC_JAX

import asc_jax

CHECKOUT = pathlib.Path(asc_jax.__file__).parents[1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> pathlib.Path:
    """A copy of the package and the configs, to be edited."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("asc_jax", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / name, folder / name, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def train(checkout, scenes):
    """A function: trains as a process behind `prefix`, in a new folder; returns the losses."""
    cache, runs = checkout / "cache", checkout / "runs"
    environment = {name: v for name, v in os.environ.items() if not name.startswith("ASC_JAX")}
    environment |= {
        "JAX_COMPILATION_CACHE_DIR": str(cache / "xla"),
        # All programs, however quickly they compile.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XDG_CACHE_HOME": str(cache),
        "XLA_FLAGS": COMPILE_QUICKLY,
        "PYTHONPATH": str(checkout),
    }

    def train(*prefix: str) -> np.ndarray:
        workdir = runs / f"run{len(list(runs.glob('*')))}"
        words = [f"--config={small.CONFIG}", f"--config.data.root={scenes}", *small.WORDS]
        words += [f"--workdir={workdir}", "--config.train.epochs=1"]
        done = subprocess.run(
            [*prefix, *ASC_JAX, "train", *words],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        lines = (workdir / "metrics.jsonl").read_text().splitlines()
        return np.array([json.loads(line)["loss"] for line in lines])

    return train


def edit(path: pathlib.Path, before: str, after: str) -> None:
    content = path.read_text()
    assert content.count(before) == 1
    path.write_text(content.replace(before, after))


def test_the_source_decides_and_the_cache_only_saves_time(checkout, train):
    kept = lambda: sorted((checkout / "cache" / "xla").glob("*-cache"))
    first = train()
    entries = kept()
    frontend = checkout / "asc_jax" / "frontend.py"
    frontend.write_text(frontend.read_text() + "# Another source of the same programs.\n")
    # On one core: what the other process has compiled.
    one_core = ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))
    np.testing.assert_allclose(train(*one_core), first, rtol=1e-5)
    assert entries and kept() == entries  # nothing was compiled again
    # Another loss, and cut, altered and deleted files of all else.
    losses = checkout / "asc_jax" / "train" / "losses.py"
    product = "return optax.softmax_cross_entropy("
    edit(losses, product, product.replace("return ", "return 100 * "))
    for number, entry in enumerate(kept()):
        content = bytearray(entry.read_bytes())
        if number % 3 == 0:
            entry.unlink()
        elif number % 3 == 1:
            entry.write_bytes(content[: len(content) // 2])
        else:
            content[len(content) // 2] ^= 0xFF
            entry.write_bytes(content)
    # Adam takes the same steps, whatever the loss is multiplied by.
    np.testing.assert_allclose(train(), 100 * first, rtol=1e-3)
