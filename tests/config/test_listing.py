"""A config as a file: what it says is what it was, with the comments of those who wrote it."""

import re

import pytest
from checkout import CONFIGS

from asc_jax import cli
from asc_jax.config.listing import render
from asc_jax.config.load import flatten, load_config

PATHS = sorted(path for path in CONFIGS.glob("*.py") if "get_config()" in path.read_text())


def read(path, *overrides):
    return load_config(str(path), overrides, check=lambda *_: None)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_file_gives_the_same_config(path, tmp_path):
    config = read(path)
    text = render(config, str(path))
    (tmp_path / "mine.py").write_text(text)
    assert read(tmp_path / "mine.py") == config
    again = render(read(tmp_path / "mine.py"), str(tmp_path / "mine.py"))
    assert "[mine.py]" in again and ".py] [" not in again
    values = re.findall(r"^    \w+\.\w+ = (?!(?:\w+ = )?ml_collections).*", text, re.M)
    assert all(re.search(r"# .*\[\w+\.py\]$", value) for value in values)


def test_a_field_has_its_comment_its_origin_and_the_command_lines_value():
    text = render(read("demo", "--config.optimizer.lr=0.5"), "demo", ["optimizer.lr"])
    assert "data.clip_seconds = 4.0  # s [demo.py]" in text
    assert "optimizer.lr = 0.5  # peak [the command line]" in text
    assert re.search(r"# Devices along folds .*\n.*\n +train\.mesh = \(\)  # \[default\.py\]", text)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_value_has_the_source_of_another(path):
    config = read(path)
    of_the_command_line = render(config, path.stem, list(flatten(config)))
    assert not re.search("paper|baseline's|librosa's|WaveGAN's|[0-9] ms", of_the_command_line)
    whole, source = render(config, path.stem), path.read_text()
    for line in re.findall(rf"# .*paper.* \[{path.name}\]$", whole, re.M):
        of_value = line.removesuffix(f" [{path.name}]").rpartition("; ")[2].removeprefix("# ")
        assert of_value in source


def test_a_value_has_its_own_source():
    text = render(read("se_resnet152_mel80"), "se_resnet152_mel80")
    assert "frontend.n_mels = 80  # bands; paper Table 4 [se_resnet152_mel80.py]" in text
    text = render(read("esc10_best"), "esc10_best")
    assert "frontend.win_length = 2048  # samples; 46 ms [esc10_best.py]" in text
    assert "frontend.n_mels = 80  # bands [esc10_best.py]" in text


def test_a_group_that_begins_anew_has_nothing_of_the_one_before(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import ml_collections\nfrom configs import demo\n\n"
        "def get_config():\n    config = demo.get_config()\n"
        "    config.model = ml_collections.ConfigDict({'name': 'baseline', 'width': 3})\n"
        "    return config\n"
    )
    text = render(read(tmp_path / "mine.py"), str(tmp_path / "mine.py"))
    assert re.search(
        r"model\.name = 'baseline'  # \[mine\.py\]\n +model\.width = 3  # \[mine", text
    )


def test_groups_within_groups_and_a_config_of_another_name(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import ml_collections\nfrom configs import demo\n\n"
        "def get_config():\n    mine = demo.get_config()\n    mine.optimizer.lr = 0.5  # high\n"
        "    mine.user = ml_collections.ConfigDict({'more': {'depth': 1}, 'note': 'a'})\n"
        "    return mine\n"
    )
    config = read(tmp_path / "mine.py")
    text = render(config, str(tmp_path / "mine.py"))
    assert "optimizer.lr = 0.5  # peak [mine.py]" in text
    assert re.search(r"user\.more\.depth = 1  # \[mine\.py\]", text)
    (tmp_path / "again.py").write_text(text)
    assert read(tmp_path / "again.py") == config


@pytest.mark.parametrize(
    "words", [["demo"], ["--config=demo"], ["--config", str(CONFIGS / "demo.py")]]
)
def test_the_command_takes_a_file_either_way(words, capsys, process_as_it_was):
    assert cli.main(["config", *words, "--config.seed=4"]) == 0
    said = capsys.readouterr().out
    assert "config.seed = 4" in said and "[the command line]" in said and "small SE-ResNet" in said
