"""Functions of a user's own files: the one that was meant, and no other."""

import pathlib
import sys

import pytest
from refusals import refused

from asc_jax.runtime import functions

FIELD = "model.name"


def write(file: pathlib.Path, text: str) -> pathlib.Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def load(reference: str, *folders: pathlib.Path):
    return functions.load(functions.find(reference, folders, field=FIELD), field=FIELD)


def test_a_file_is_looked_for_in_the_folders_in_turn(tmp_path):
    for folder, answer in (("first", 1), ("second", 2)):
        write(tmp_path / folder / "mine.py", f"def answer():\n    return {answer}\n")
    write(tmp_path / "second" / "other.py", "def answer():\n    return 3\n")
    folders = (tmp_path / "first", tmp_path / "second")
    assert load("mine.py:answer", *folders)() == 1
    assert load("other.py:answer", *folders)() == 3
    assert functions.find("mine.py:answer", folders, field=FIELD) == f"{folders[0]}/mine.py:answer"


@pytest.mark.parametrize("helper", ["helper", "json5", "flax_layers"])
def test_files_of_two_folders_have_their_own_helpers(tmp_path, helper):
    for folder, answer in (("a", 1), ("b", 2)):
        write(
            tmp_path / folder / "mine.py", f"import {helper}\ndef answer():\n    return {helper}.x"
        )
        write(tmp_path / folder / f"{helper}.py", f"x = {answer}\n")
    one, other = (load("mine.py:answer", tmp_path / folder) for folder in "ab")
    assert (one(), other()) == (1, 2)
    assert not {"mine", helper} & sys.modules.keys()


def test_a_file_is_imported_once_and_no_other_version_of_it_is_used(tmp_path, monkeypatch):
    mine = write(tmp_path / "mine.py", "import helper\ndef answer():\n    return helper.x\n")
    helper = write(tmp_path / "helper.py", "x = 1\n")
    answer = load("mine.py:answer", tmp_path)
    assert load("mine.py:answer", tmp_path) is answer
    assert [file.name for file in functions.read(mine).files] == ["helper.py", "mine.py"]
    helper.write_text("x = 2\n")
    with refused(path=helper):
        load("mine.py:answer", tmp_path)
    assert answer() == 1
    monkeypatch.setattr(functions, "_IMPORTED", {})  # another process
    assert load("mine.py:answer", tmp_path)() == 2


@pytest.mark.parametrize("package", ["", "__init__.py"])
def test_folders_beside_a_file_are_its_own_with_or_without_an_init(tmp_path, package):
    for folder, answer in (("a", 1), ("b", 2)):
        write(tmp_path / folder / "mine.py", "from nets import x\ndef answer():\n    return x.y\n")
        write(tmp_path / folder / "nets" / "x.py", f"y = {answer}\n")
        if package:
            write(tmp_path / folder / "nets" / package, "")
    assert [load("mine.py:answer", tmp_path / folder)() for folder in "ab"] == [1, 2]
    files = functions.read(tmp_path / "b" / "mine.py").files
    assert tmp_path / "b" / "nets" / "x.py" in files


@pytest.mark.parametrize("name", ["random", "foo", "jax"])
def test_a_file_is_itself_whatever_its_name(tmp_path, name):
    write(tmp_path / f"{name}.py", "def answer():\n    return 7\n")
    write(tmp_path / "foo" / "__init__.py", "def answer():\n    return 8\n")
    assert load(f"{name}.py:answer", tmp_path)() == 7


def test_what_python_would_find_elsewhere_is_refused(tmp_path):
    write(tmp_path / "late.py", "def answer():\n    import helper\n    return helper.x\n")
    write(tmp_path / "helper.py", "x = 1\n")
    write(tmp_path / "taken.py", "import numpy\nanswer = numpy.abs\n")
    write(tmp_path / "numpy.py", "abs = None\n")
    for name, line in (("late", 2), ("taken", 1)):
        with refused(path=tmp_path / f"{name}.py:{line}", field=FIELD):
            load(f"{name}.py:answer", tmp_path)


def test_classes_that_are_made_later_find_their_module(tmp_path):
    write(
        tmp_path / "mine.py",
        "from __future__ import annotations\nimport dataclasses\nfrom typing import ClassVar\n"
        "def make():\n    @dataclasses.dataclass\n    class Net:\n        n: int = 3\n"
        "        k: ClassVar[int] = 2\n    return Net()\n",
    )
    assert load("mine.py:make", tmp_path)().n == 3


def test_the_packages_own_functions_are_its_own():
    losses = pathlib.Path(functions.__file__).parents[1] / "train" / "losses.py"
    for reference in (f"{losses}:cross_entropy", "asc_jax.train.losses:cross_entropy"):
        found = functions.find(reference, [pathlib.Path()], field=FIELD)
        assert found == "asc_jax.train.losses:cross_entropy"


def test_a_module_of_a_package_may_import_relatively(tmp_path):
    write(tmp_path / "mine" / "__init__.py", "")
    write(tmp_path / "mine" / "parts.py", "x = 5\n")
    file = write(
        tmp_path / "mine" / "net.py", "from .parts import x\ndef answer():\n    return x\n"
    )
    reference = functions.find("mine.net:answer", [tmp_path], field=FIELD)
    assert reference == f"{file}:answer"
    assert functions.load(reference, field=FIELD)() == 5
    source = functions.read(file)
    assert source.root == tmp_path
    assert {path.name for path in source.files} == {"__init__.py", "net.py", "parts.py"}


def test_an_installed_library_is_not_ones_own():
    reference = "optax.losses:squared_error"
    assert functions.find(reference, [], field=FIELD) == reference
    assert functions.load(reference, field=FIELD).__name__ == "squared_error"


@pytest.mark.parametrize(
    ("reference", "content", "line"),
    [
        ("mine.py:answer", "def other():\n    pass\n", ""),
        ("mine.py:answer", "answer = 3\n", ""),
        ("mine.py:answer", "x = 1\ndef answer(:\n", ":2"),
        ("mine.py:answer", "x = 1\n\nx.nothing\n", ":3"),
        ("mine.py:answer", "import no_such_module\n", ":1"),
    ],
)
def test_a_file_without_the_function_is_named_with_its_line(tmp_path, reference, content, line):
    file = write(tmp_path / "mine.py", content)
    with refused(field=FIELD) as caught:
        load(reference, tmp_path)
    assert f"{file}{line}" in str(caught.value)


@pytest.mark.parametrize("reference", ["mine.py:", "mine.py:a b", "gone.py:x", "no_such.module:x"])
def test_a_reference_to_nothing_is_refused(tmp_path, reference):
    with refused(field=FIELD) as caught:
        load(reference, tmp_path)
    assert reference in str(caught.value)
