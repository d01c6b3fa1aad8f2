"""Ablations: each expands into settings that can be run, and a mistake in one is one line."""

import functools

import jax
import numpy as np
import pytest
from checkout import CONFIGS
from refusals import refused

from asc_jax import cli
from asc_jax.config.ablation import is_gan_config, load_ablation, name_of
from asc_jax.config.load import flatten, load_config, override
from asc_jax.config.overrides import as_overrides
from asc_jax.runs.inputs import make_network
from asc_jax.runs.table4 import questions

read = functools.cache(load_ablation)
ABLATIONS = sorted(p for p in (CONFIGS / "ablations").glob("*.py") if p.stem != "__init__")
SE = str(CONFIGS / "ablations" / "se.py")


def shallow(setting):
    """The setting's config, with a block to a stage unless it is depth that it sets."""
    sizes = setting.config.model.get("stage_sizes", ())
    if not sizes or "model.stage_sizes" in setting.fields:
        return setting.config
    return override(setting.config, [f"--config.model.stage_sizes={(1,) * len(sizes)}"], "it")


@functools.cache
def output(network) -> jax.ShapeDtypeStruct:
    """The network's output for a clip of 500 x 40, by tracing alone; each network once."""
    clip = jax.ShapeDtypeStruct((1, 500, 40), np.float32)
    init = functools.partial(network.init_with_output, train=False)
    return jax.eval_shape(init, jax.random.key(0), clip)[0]


@pytest.mark.parametrize("path", ABLATIONS, ids=[path.stem for path in ABLATIONS])
def test_every_ablation_expands_into_settings_that_can_be_run(path):
    ablation = read(str(path))
    assert len(ablation.settings) >= 2
    base, seen = flatten(ablation.base), []
    for setting in ablation.settings:
        fields = flatten(setting.config)
        assert {field for field in fields if fields[field] != base[field]} <= setting.fields.keys()
        assert all(fields[field] == value for field, value in setting.fields.items())
        assert len(setting.name) < 200 and "/" not in setting.name
        assert fields not in seen, f"{setting.name} asks nothing new"
        seen.append(fields)
        if not is_gan_config(setting.config):
            network = make_network(shallow(setting), 10, axis_name=None)
            assert output(network).shape == (1, 10)


@pytest.mark.parametrize(
    ("docstring", "question"),
    [
        ('"""Which block? The paper says none."""', "Which block?"),
        ("'''Blocks, and what they cost.\n\nIs this asked? No.'''", "Blocks, and what they cost"),
        ("# Which block?", ""),
    ],
)
def test_an_ablation_asks_what_its_first_line_says(docstring, question, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"{docstring}\nfrom configs.ablations.se import get_config, get_settings\n")
    assert load_ablation(str(file)).question == question
    assert read(SE).question == "Squeeze-and-excitation: none, or by which ratio?"


def test_what_the_report_leaves_open_can_be_asked():
    asked = {
        field
        for path in ABLATIONS
        for setting in read(str(path)).settings
        for field in setting.fields
    }
    open_to_it = {field for question in questions() for field in question.fields}
    assert asked >= open_to_it - {"train.steps_per_epoch"}  # beside a GAN's epochs


def test_every_ablation_of_the_bands_has_its_control():
    ablation = read(str(CONFIGS / "ablations" / "bandwidth.py"))
    fields = [setting.fields for setting in ablation.settings]
    for one in fields:
        assert {**one, "synthetic.root": ""} in fields
    assert ablation.base.synthetic.root


def test_another_base_takes_the_same_settings():
    ablation = load_ablation(
        SE, base=str(CONFIGS / "demo.py"), overrides=["--config.model.width=4"]
    )
    assert [setting.config.model.se_ratio for setting in ablation.settings] == [0, 4, 8, 16]
    assert {setting.config.model.width for setting in ablation.settings} == {4}
    assert ablation.base.model.se_ratio == 4
    assert ablation.path.endswith("demo.py")


def test_a_setting_with_a_network_of_the_users_own_is_what_its_command_trains(tmp_path):
    (tmp_path / "parts.py").write_text(
        "import flax.linen as nn\n\nclass Cnn(nn.Module):\n    n_classes: int\n    width: int\n"
    )
    path = tmp_path / "mine.py"
    path.write_text(BODY.format("[{}, {'model.name': 'parts.py:Cnn'}]"))
    overrides = ["--config.model.width=4", "--config.model.se_ratio=2"]
    _, own = load_ablation(str(path), overrides=overrides).settings
    command = load_config(str(path), [*overrides, *as_overrides(own.resolved)])
    assert own.config == command
    assert {*own.config.model} == {"name", "width", "se_ratio"}  # which the run refuses


def test_a_setting_wins_over_an_override():
    ablation = load_ablation(SE, overrides=["--config.model.se_ratio=2"])
    assert [setting.config.model.se_ratio for setting in ablation.settings] == [0, 4, 8, 16]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "base"),
        ({"model.se_ratio": 4, "optimizer.lr": 3e-4}, "model.se_ratio=4,optimizer.lr=0.0003"),
        ({"model.stage_sizes": (3, 4)}, "model.stage_sizes=3-4"),
        ({"frontend.htk": True}, "frontend.htk=True"),
        ({"synthetic.root": "", "synthesis.rules": ()}, "synthetic.root=none,synthesis.rules=none"),
        ({"synthetic.root": "../a folder/of 'clips'"}, "synthetic.root=.._a_folder_of_clips_"),
    ],
)
def test_a_setting_is_called_by_what_it_sets(fields, name):
    assert name_of(fields) == name


def test_a_name_that_no_folder_can_have_is_cut_and_tells_settings_apart(tmp_path):
    fields = {f"synthetic.root{i}": f"a_rather_long_folder_{i}_é" for i in range(20)}
    names = [name_of(fields | {"train.epochs": epochs}, suffix=".log") for epochs in (3, 4)]
    assert names[0] != names[1]
    for name in names:
        (tmp_path / f"{name}.log").touch()
        assert name.startswith("synthetic.root0=a_rather_long_folder_0_é,")
    for length, is_cut in ((255, False), (256, True)):  # bytes
        value = "x" * (length - len("title="))
        assert (name_of({"title": value}) != f"title={value}") == is_cut
    (tmp_path / name_of({"title": "x" * 300})).mkdir()


BODY = """
from configs import demo
def get_config():
  return demo.get_config()
def get_settings():
  return {}
"""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("[{'model.se_ration': 4}]", "model.se_ratio"),
        ("[{'train.epochs': 0}]", "train.epochs"),
        ("[{'model.se_ratio': 2.5}]", "model.se_ratio"),
        ("[{'model.stage_sizes': (1, 2)}]", "model.stage_sizes"),
        ("[{'seed': 4}]", "--seeds"),
        ("[{}, {}]", "base"),
        ("[{'optimizer.lr': 1}, {'optimizer.lr': 1.0}]", "optimizer.lr=1.0"),
        ("[{'synthetic.root': 'a b'}, {'synthetic.root': 'a_b'}]", "a_b"),
        ("[{'title': 'x', 'model.width': 4}, {'model.width': 4, 'title': 'x'}]", "model.width=4"),
        *((listed, "get_settings()") for listed in ("[]", "{'seed': 4}", "[('seed', 4)]")),
        ("[{4: 4}]", "get_settings()"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_mistake_in_an_ablation_is_one_line(
    settings, expected, tmp_path, capsys, process_as_it_was
):
    load_ablation(SE)  # makes `configs` importable
    path = tmp_path / "mine.py"
    path.write_text(BODY.format(settings))
    status = cli.main(["sweep", f"--config={path}", f"--workdir={tmp_path / 'sweep'}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert line.startswith(f"{path}:") and expected in line


def test_a_plain_config_is_no_ablation():
    with refused(path="demo.py"):
        load_ablation(str(CONFIGS / "demo.py"))
