"""What is built of the package holds all of it."""

import os
import pathlib
import shutil
import subprocess
import sys

from checkout import ROOT

IMPORT_ALL = """
import pathlib, pkgutil, importlib, asc_jax
for module in pkgutil.walk_packages(asc_jax.__path__, "asc_jax."):
    if not module.name.startswith(("asc_jax.__main__", "asc_jax.configs")):
        importlib.import_module(module.name)
print(pathlib.Path(asc_jax.__file__).parent)
"""


def run(*command, cwd=None, **env) -> str:
    """What a command prints that sees no checkout; it must end well."""
    env = os.environ | {"PYTHONSAFEPATH": "1"} | env
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_has_every_file(tmp_path):
    source, installed = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("asc_jax", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = (sys.executable, "-m", "pip")
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source))
    (wheel,) = tmp_path.glob("*.whl")
    run(*pip, "install", "-q", "--no-deps", "--target", str(installed), str(wheel))
    files = lambda folder: {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    configs = {pathlib.Path("configs") / path for path in files(source / "configs")}
    assert files(installed / "asc_jax") == files(source / "asc_jax") | configs
    (found,) = run(sys.executable, "-c", IMPORT_ALL, PYTHONPATH=str(installed)).splitlines()
    assert pathlib.Path(found) == installed / "asc_jax"
    command = installed / "bin" / "asc-jax"
    asc_jax = lambda *words: run(
        sys.executable, str(command), *words, cwd=tmp_path, PYTHONPATH=str(installed)
    )
    assert "train" in asc_jax("--help")
    (tmp_path / "mine.py").write_text("from configs.demo import get_config\n")
    assert asc_jax("summary", "--config=mine.py") == asc_jax("summary", "--config=demo")
