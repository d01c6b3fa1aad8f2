"""The direction of the imports, and what may not be imported at all."""

import ast
import pathlib
import subprocess
import sys

import pytest

import asc_jax

PACKAGE = pathlib.Path(asc_jax.__file__).parent

# The rooms and the loose files, from the bottom up: each imports only what stands before it.
ORDER = (
    "runtime",  # the process and its files
    "stats",  # numbers about numbers
    "ops",  # array kernels
    "parallel",  # devices and processes
    "frontend",
    "augment",
    "models",
    "data",
    "config",
    "runs",
    "train",
    "scoring",
    "inference",
    "gan",
    "report",
    "serve",  # a page for recordings
    "experiments",
    "flags",
    "cli",
    "__main__",
    "__init__",
)


def imported(tree: ast.AST) -> set[str]:
    """The package's modules that a file imports, at its top or later."""
    found = set()
    for node in ast.walk(tree):
        assert not getattr(node, "level", 0), "relative imports are not seen here"
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
def test_imports_run_downwards(path):
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    room = module.split(".")[0]
    for other in imported(ast.parse(path.read_text())):
        theirs = other.split(".")[0]
        if theirs != room:
            assert ORDER.index(theirs) < ORDER.index(room), f"{module} imports {other}"


def output_of(code: str) -> str:
    """What a program prints in a fresh process."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("module", ["asc_jax.cli", "asc_jax.data", "asc_jax.data.audio"])
def test_readers_and_flags_wait_for_nothing(module):
    """--help and the tables of a data set need neither JAX nor a decoder."""
    heavy = ("jax", "librosa", "soundfile", "sklearn", "matplotlib", "scipy", "tqdm", "jinja2")
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


def test_nothing_of_jaxs_private_modules_is_imported():
    """Any version of JAX may move them."""
    for path in PACKAGE.rglob("*.py"):
        assert "jax._src" not in path.read_text(), path
