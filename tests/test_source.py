"""Digests of code: the same whatever is said of it, another one for whatever it does."""

import functools
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import asc_jax
from asc_jax import source

PROGRAM = '''
"""A module."""
import math
import math as scale_of
LIMIT = (1, {"a": 2.0})
KNOWN = frozenset({"x", "y"})

class Gain:
    """A class."""
    factor = 2
    def apply(self, x):
        """A method."""
        return self.factor * x

def half(x):
    return x / 2

def read(x, offset=1):
    """A function."""
    # A comment.
    inner = lambda y: half(y) + offset
    return Gain().apply(inner(x)) if x in KNOWN else LIMIT
'''

SAME = {
    "a comment": ("# A comment.", "# Another one.\n"),
    "lines": ("def read", "\n\n\ndef read"),
    "a docstring": ('"""A function."""', '"""Another one."""'),
    "what it does not name": ("import math\n", "import math\nOTHER = 3\n"),
}
OTHER = {
    "a default": ("offset=1", "offset=2"),
    "a constant": ("2.0", "3.0"),
    "a set": ('"y"', '"z"'),
    "an operator": ("+ offset", "- offset"),
    "a function that it calls": ("x / 2", "x / 3"),
    "a class": ("factor = 2", "factor = 3"),
    "a method": ("self.factor * x", "self.factor + x"),
}


def run(text: str) -> dict:
    scope = {"__name__": "of_a_user"}
    exec(text, scope)
    return scope


def changed(change: tuple[str, str]):
    assert change[0] in PROGRAM
    return run(PROGRAM.replace(*change))["read"]


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_does_the_same_has_one_digest(change):
    assert source.digest(changed(change)) == source.digest(run(PROGRAM)["read"])


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_what_does_something_else_has_another_digest(change):
    assert source.digest(changed(change)) != source.digest(run(PROGRAM)["read"])


def made(gain):
    return lambda x: gain * x


def test_what_a_function_was_made_with_counts():
    values = [1, 2, np.ones(2), np.zeros(2), jax.numpy.ones(2), [1], half, made(1), print, len]
    functions = [made(value) for value in values]
    functions += [functools.partial(made, 1), functools.partial(made, 2), jax.jit(made(3))]
    digests = [source.digest(function) for function in functions]
    assert len(set(digests)) == len(functions)
    assert digests == [source.digest(function) for function in functions]
    assert source.digest(jax.jit(made(4))) != digests[-1]


def half(x):
    return x / 2 if x else half(x)


def test_functions_that_name_each_other_and_unusual_objects():
    class Slotted:
        __slots__ = ()

        def __call__(self, x):
            return half(x)

    assert len(source.digest(Slotted(), half, Slotted, Slotted().__call__, print)) == 16


def test_imports_of_a_function_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    digests = set()
    for number in range(2):
        module = tmp_path / f"denoise{number}.py"
        module.write_text(f"def clean(x):\n    return x + {number}\n")
        text = "def read(x):\n    import denoise as d\n    return d.clean(x)\n"
        (tmp_path / "denoise.py").write_text(module.read_text())
        monkeypatch.delitem(sys.modules, "denoise", raising=False)
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        digests.add(source.digest(run(text)["read"]))
        sys.dont_write_bytecode = before
    assert len(digests) == 2


def test_a_digest_is_the_same_in_another_process():
    code = (
        "from asc_jax import source; from asc_jax.data import audio, cache;"
        "print(source.digest(audio.read_clip, cache.quantise))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    ]
    assert said[0] == said[1]


ROOT = pathlib.Path(asc_jax.__file__).parents[1]


def test_digests_of_files(tmp_path):
    package = tmp_path / "asc_jax"
    shutil.copytree(ROOT / "asc_jax", package, ignore=shutil.ignore_patterns("__pycache__"))
    before = source.file_digests(package)
    assert before == source.file_digests(ROOT / "asc_jax")
    assert {"frontend.py", "data/audio.py", "__init__.py"} <= before.keys()
    assert all(len(one) == 16 for one in before.values())
    for path in (package / "frontend.py", package / "data" / "wav.py"):
        path.write_text(path.read_text().replace('"""', '"""Words. ', 1) + "\n# A comment.\n")
    assert source.file_digests(package) == before
    path = package / "frontend.py"
    path.write_text(path.read_text().replace("jnp.log(mel", "jnp.log10(mel"))
    after = source.file_digests(package)
    assert {name for name in after if after[name] != before[name]} == {"frontend.py"}


def test_a_library_is_one_wherever_it_is_installed(tmp_path):
    """In a folder of `pip install --target`, say: only names of it count."""
    folder = tmp_path / "anywhere"
    for package, installed in (("of_others", True), ("of_mine", False)):
        place = folder / package if installed else tmp_path / package
        place.mkdir(parents=True)
        (place / "__init__.py").write_text("def gain():\n    return 1\n")
    (folder / "of_others-1.0.dist-info").mkdir()
    code = (
        "import of_mine, of_others; from asc_jax import source;"
        "print(source.digest(of_mine.gain), source.digest(of_others.gain))"
    )

    def digests() -> list[str]:
        path = f"{pathlib.Path(asc_jax.__file__).parents[1]}:{folder}:{tmp_path}"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, check=True)
        return done.stdout.split()

    before = digests()
    for package in (folder / "of_others", tmp_path / "of_mine"):
        (package / "__init__.py").write_text("def gain():\n    return 22\n")
    after = digests()
    assert before[0] != after[0] and before[1] == after[1]


def test_what_functions_use_may_be_any_depth_away():
    lines = ["def f0(x): return x"]
    lines += [f"def f{i}(x): return f{i - 1}(x)" for i in range(1, 3000)]
    first, second = run("\n".join(lines)), run("\n".join(["def f0(x): return -x", *lines[1:]]))
    assert source.digest(first["f2999"]) != source.digest(second["f2999"])
