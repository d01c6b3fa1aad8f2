"""Config files as programs: found from anywhere, run, and their mistakes said in one line."""

import os
import pathlib
import subprocess
import sys

import pytest
from checkout import CONFIGS
from refusals import refused

from asc_jax.config.ablation import load_ablation
from asc_jax.config.load import load_config, override
from asc_jax.runtime.errors import InputError


def refusal(path: str, *overrides: str) -> InputError:
    with refused() as caught:
        load_config(path, [f"--config.{override}" for override in overrides])
    return caught.value


def write(folder: pathlib.Path, body: str, name: str = "mine.py") -> str:
    (folder / name).write_text(body)
    return str(folder / name)


def test_a_missing_file_suggests_its_neighbour(tmp_path, monkeypatch):
    assert "configs/demo.py" in refusal("demos.py").hint
    monkeypatch.chdir(tmp_path)
    near = refusal(str(CONFIGS / "se_resnet_152.py"))
    assert near.path == str(CONFIGS / "se_resnet_152.py")
    assert str(CONFIGS / "se_resnet152.py") in near.hint
    for name in ("configs/demo.py", "configs/ablations/esc10.py"):  # as typed in the checkout
        assert str(CONFIGS.parent / name) in refusal(name).hint
    assert f"{CONFIGS}/*.py" in refusal("nowhere/zzz.py").hint
    for other in (CONFIGS, CONFIGS.parent / "pyproject.toml"):
        assert refusal(str(other)).path == str(other)


FROM_DEMO = "from configs import demo\ndef get_config():\n  config = demo.get_config()\n"


@pytest.mark.parametrize(
    ("body", "line", "named"),
    [
        ("def get_config():\n  return 3\n", "", "ConfigDict"),
        ("x = 1\n", "", "get_config()"),
        ("x = 1\ndef get_config(:\n", ":2", "SyntaxError"),
        ("\nimport nowhere_at_all\n", ":2", "ModuleNotFoundError"),
        ("def get_config():\n  x = 1\n  raise ValueError('my own')\n", ":3", "my own"),
        ("\0", "", ""),
        (FROM_DEMO + "  config.trian.epochs = 3\n", ":4", "AttributeError"),
        (FROM_DEMO + "  config.train.epoch = 3\n  return config\n", "", "train.epochs"),
        (FROM_DEMO + "  config.train.epochs = 'x'\n", ":4", "epochs"),
        (FROM_DEMO + "  import jax\n  config.train.mesh = jax.numpy.ones(2)\n", ":5", "mesh"),
        (FROM_DEMO + "  config.optimizer.lr = 10**400\n", ":4", "Overflow"),
        (FROM_DEMO + "  config.seed = 10**5000\n  return config\n", "", "seed"),
        (FROM_DEMO + "  del config.train.epochs\n  return config\n", "", "train.epochs"),
        (FROM_DEMO + "  config.optimizer.lr = float('nan')\n  return config\n", "", "optimizer.lr"),
    ],
)
def test_a_mistake_in_a_config_file(tmp_path, body, line, named):
    path = write(tmp_path, body)
    error = refusal(path)
    assert error.path == path + line and named in str(error)


BEGIN = """
import pathlib, sys
from asc_jax.config import files as config_files
from asc_jax.config.load import load_config, override
"""
LOAD = """
for path in sys.argv[1:]:
    try:
        print(load_config(path).title)
    except ValueError as error:
        print(error)
"""


def loaded_elsewhere(cwd: pathlib.Path, *paths: pathlib.Path, code=BEGIN + LOAD) -> list[str]:
    """What a process that has imported no config yet makes of these, line by line."""
    command = [sys.executable, "-c", code, *map(str, paths)]
    environment = {**os.environ, "PYTHONPATH": str(CONFIGS.parent)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_folders_of_configs_anywhere_build_upon_ours_and_upon_themselves(tmp_path):
    """With or without an `__init__.py` of their own, and whichever is read first."""
    own = "from configs import {0}\ndef get_config():\n  return {0}.get_config()\n"
    paths, titles = (
        [write(tmp_path, own.format("demo"))],
        [load_config(str(CONFIGS / "demo.py")).title],
    )
    for kind in ("plain", "package"):
        folder = tmp_path / kind / "configs" / "deeper"
        folder.mkdir(parents=True)
        if kind == "package":
            (folder.parent / "__init__.py").touch()
        body = FROM_DEMO + f"  config.title = '{kind}'\n  return config\n"
        write(folder.parent, body, f"base_of_{kind}.py")
        paths.append(write(folder, own.format(f"base_of_{kind}")))
        titles.append(kind)
    assert loaded_elsewhere(tmp_path, *paths) == titles
    assert loaded_elsewhere(tmp_path, *reversed(paths)) == titles[::-1]


def test_folders_of_configs_with_the_same_names_are_told_apart(tmp_path):
    """In one process: a sweep has a base and a file of settings."""
    for kind in ("one", "other"):
        folder = tmp_path / kind / "configs"
        folder.mkdir(parents=True)
        write(folder, FROM_DEMO + f"  config.title = '{kind}'\n  return config\n", "base.py")
        write(folder, "from configs import base\nget_config = base.get_config\n")
        assert load_config(str(folder / "mine.py")).title == kind


def test_a_file_edited_within_a_second_is_not_the_one_before(tmp_path):
    folder = tmp_path / "configs"
    folder.mkdir()
    path = write(folder, "from configs import base\nget_config = base.get_config\n")
    for epochs in (3, 4):  # the same length and, in whole seconds, the same time
        body = FROM_DEMO + f"  config.train.epochs = {epochs}\n  return config\n"
        os.utime(write(folder, body, "base.py"), (1e9, 1e9))
        assert load_config(path).train.epochs == epochs


def test_what_a_config_file_does_to_the_process_is_undone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    body = FROM_DEMO + "  import os\n  print('hello')\n  os.chdir('/')\n  return config\n"
    load_config(write(tmp_path, body))
    assert pathlib.Path.cwd() == tmp_path
    assert capsys.readouterr() == ("", "hello\n")
    path = write(tmp_path, "import sys\nsys.exit(0)\n", "ends.py")
    assert refusal(path).path == f"{path}:2"


def test_without_a_checkout_a_config_is_told_what_it_needs(tmp_path):
    path = write(tmp_path, FROM_DEMO + "  return config\n")
    away = (
        "config_files.CONFIGS = pathlib.Path('nowhere')\n"
        "sys.path = [one for one in sys.path if not pathlib.Path(one, 'configs').is_dir()]\n"
    )
    (line,) = loaded_elsewhere(tmp_path, path, code=BEGIN + away + LOAD)
    assert line.startswith(f"{path}:1: ") and "PYTHONPATH" in line


def test_a_value_is_blamed_on_where_it_stands(tmp_path):
    """On the override that gave it, else on the file, also where an ablation's settings did."""
    path = write(tmp_path, FROM_DEMO + "  config.train.select_after = 50\n  return config\n")
    both = refusal(path, "seed=1", "train.select_after=70")
    assert (both.path, both.field) == ("", "--config.train.select_after")
    alone = refusal(path, "seed=1")
    assert (alone.path, alone.field) == (path, "train.select_after")
    for text in ("abc", "0"):
        with refused(path="mine.py", field="train.epochs"):
            words = [f"--config.train.epochs={text}"]
            override(load_config(str(CONFIGS / "demo.py")), words, "mine.py")


PARAMETERISED = """
from configs import demo
from ml_collections import config_dict
def get_config(kind):
  config = demo.get_config()
  config.title = kind
  config.data.root = config_dict.required_placeholder(str)
  config.folds.seed = config.get_ref('seed') * 2
  return config
def get_settings():
  return [{}, {'model.width': 8}]
"""


def test_what_ml_collections_can_do_a_config_file_may(tmp_path):
    """An argument of `get_config`, placeholders, and fields that refer to others."""
    folder = tmp_path / "a:b, c"
    folder.mkdir()
    path = write(folder, PARAMETERISED)
    config = load_config(f"{path}:a:b", ["--config.data.root=here", "--config.seed=3"])
    assert (config.title, config.data.root, config.folds.seed) == ("a:b", "here", 6)
    ablation = load_ablation(f"{path}:a", overrides=["--config.data.root=here"])
    assert [setting.config.title for setting in ablation.settings] == ["a", "a"]
    assert refusal(f"{path}:a").field == "data.root"
    assert refusal(path).path == path
    demo = str(CONFIGS / "demo.py")
    assert refusal(f"{demo}:small").path == demo
