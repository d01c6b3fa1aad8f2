"""The environment of a process: what JAX cannot do anything with is a line."""

import os
import subprocess
import sys

import jax
import pytest
from refusals import refused

from asc_jax.runtime import environment


def asc_jax(*words, code="", **variables) -> subprocess.CompletedProcess:
    """A command, or a program, in a process with a few variables of its own."""
    names = ("XLA_FLAGS", "JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR")
    ours = {name: value for name, value in os.environ.items() if name not in names}
    command = ["-c", code] if code else ["-m", "asc_jax", *words]
    return subprocess.run(
        [sys.executable, *command], env=ours | variables, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JAX_PLATFORMS", "bogus"),
        ("JAX_ENABLE_COMPILATION_CACHE", "bogus"),
        ("JAX_ENABLE_X64", "1"),
    ],
)
def test_a_variable_that_jax_cannot_use_is_named(variable, value, tmp_path):
    """Before any work, whatever the rest of the command is."""
    words = ["train", "--config=configs/demo.py", f"--workdir={tmp_path / 'run'}"]
    done = asc_jax(*words, **{variable: value})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{variable}=")
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there_is_named_whatever_jax_raises(monkeypatch):
    """Of "cuda" without a GPU JAX says nothing: an assertion of its own fails."""

    def fail():
        raise AssertionError

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(jax, "local_devices", fail)
    with refused(field="JAX_PLATFORMS=cuda"):
        environment.start_devices()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("jax_enable_x64", True),
        ("jax_disable_jit", True),
        ("jax_numpy_dtype_promotion", "strict"),
        ("jax_transfer_guard_host_to_device", "disallow_explicit"),
    ],
)
def test_settings_under_which_nothing_works_are_refused(setting, value):
    environment.import_jax()  # as the tests are run
    before = getattr(jax.config, setting)
    try:
        jax.config.update(setting, value)
        with refused(field=setting.upper()):
            environment.import_jax()
    finally:
        jax.config.update(setting, before)


def test_without_a_home_folder_compiled_programs_are_not_kept():
    code = (
        "import pwd; pwd.getpwuid = {}.__getitem__\n"
        "import os; del os.environ['HOME'], os.environ['XDG_CACHE_HOME']\n"
        "from asc_jax import cli; cli._start_jax()\n"
        "import jax; print(jax.config.jax_compilation_cache_dir)"
    )
    done = asc_jax(code=code, HOME="/nowhere")
    assert (done.stdout, done.stderr) == ("None\n", "")


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").touch()
    code = (
        "from asc_jax import cli; from asc_jax.runtime import environment\n"
        "cli._start_jax(); environment.start_devices()\n"
        "import jax; print(jax.jit(lambda x: x + 1)(1))"
    )
    done = asc_jax(code=code, XDG_CACHE_HOME=str(tmp_path / "file"))
    assert done.stdout == "2\n" and "Traceback" not in done.stderr
