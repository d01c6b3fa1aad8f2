"""The direction of the imports, and what may not be imported at all."""

import ast
import pathlib
import subprocess
import sys

import pytest

import asc_jax

PACKAGE = pathlib.Path(asc_jax.__file__).parent

# Each place may import those of lower rank, and its own.
RANKS = {
    "runtime.errors": 0,
    "config.format": 0,
    "runtime.environment": 0,
    "runtime.output": 0,
    "runtime.paths": 0,
    "runtime.files": 0,
    "runtime.folders": 0,
    "parallel": 1,
    "runtime.interruption": 0,
    "flags": 0,
    "runtime.backend": 0,
    "sweep_record": 0,
    "ops": 1,
    "data": 1,  # the tables: clips, folds, audio, cache, batches, synth, check
    "frontend": 2,
    "augment": 2,
    "models": 2,
    "ensemble": 2,
    "stats.jackknife": 2,
    "stats.scores": 2,
    "stats.significance": 2,
    "stats.comparison": 2,
    "stats.calibration": 2,
    "blending": 2,
    "alignment": 2,
    "bandwidth": 2,
    "gan_metrics": 2,
    "screen": 2,
    "segments": 2,
    "data.pool": 3,
    "data.normalisation": 3,
    "predictions": 3,
    "provenance": 3,
    "train": 4,  # steps, losses, optimizer, parallel, checkpoint, metrics_log
    "config.rules": 5,
    "config.load": 5,
    "config.files": 5,
    "jobs": 2,
    "table4": 2,
    "config.ablation": 6,
    "run": 6,
    "identity": 6,
    "sweep": 7,
    "train.setup": 7,
    "train.trace": 8,
    "train.watch": 8,
    "train.loop": 8,
    "train.recogniser": 8,
    "train.together": 9,
    "train.gan_setup": 9,
    "train.gan_look": 10,
    "train.gan_loop": 11,
    "evaluate": 9,
    "synthesize": 12,
    "report": 9,
    "reproduce": 10,
    "cli": 13,
    "__main__": 14,
}


def place(module: str) -> str:
    """The entry of `RANKS` that a module of the package, or a name in one, belongs to."""
    parts = module.split(".")
    for length in (2, 1):
        name = ".".join(parts[:length])
        if name in RANKS:
            return name
    raise AssertionError(f"{module} has no place in RANKS")


def imported(tree: ast.AST) -> set[str]:
    """The package's modules that a file imports, at its top or later."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asc_jax"):
            base = node.module.removeprefix("asc_jax").lstrip(".")
            for alias in node.names:
                candidate = f"{base}.{alias.name}".lstrip(".")
                path = PACKAGE / candidate.replace(".", "/")
                exists = path.with_suffix(".py").exists() or (path / "__init__.py").exists()
                found.add(candidate if exists else base)
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("asc_jax.") for a in node.names if "asc_jax." in a.name}
    return found - {""}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_run_one_way(path):
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    if module == "__init__":
        return
    for other in imported(ast.parse(path.read_text())):
        assert RANKS[place(other)] <= RANKS[place(module)], f"{module} imports {other}"


def output_of(code: str) -> str:
    """What a program prints in a fresh process."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("module", ["asc_jax.cli", "asc_jax.data", "asc_jax.data.audio"])
def test_readers_and_flags_wait_for_nothing(module):
    """--help and the tables of a data set need neither JAX nor a decoder."""
    heavy = ("jax", "librosa", "soundfile", "sklearn", "matplotlib", "scipy", "tqdm")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    assert output_of(code) == "[]"


@pytest.mark.parametrize("module", ["asc_jax.train.classifier", "asc_jax.models"])
def test_a_training_step_needs_no_audio_library(module):
    heavy = ("librosa", "soundfile", "sklearn", "matplotlib", "ml_collections")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    assert output_of(code) == "[]"


def test_only_parallel_maps_steps():
    """One place decides how a step runs on folds and devices."""
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        calls = {
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        if room != "parallel":
            assert not calls & {"jax.shard_map", "jax.pmap"}, path
        if room in ("train", "gan", "scoring"):
            assert "jax.jit" not in calls, path
