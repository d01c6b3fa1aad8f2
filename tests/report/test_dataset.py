"""A data set checked by the command: text, JSON, a page, and the status."""

import json
import shlex

import numpy as np
import pytest
import soundfile

from asc_jax import cli
from asc_jax.config.load import load_config
from asc_jax.data.check import check_dataset
from asc_jax.flags import parse
from asc_jax.runs.inputs import read_data
from asc_jax.train.setup import set_up

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def root(tmp_path):
    """A folder per class, one of which has a name that would be an element of a page."""
    for number in range(6):
        folder = tmp_path / "set" / ("dog" if number % 2 else EVIL)
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 8000)
        soundfile.write(folder / f"{number}.wav", noise, 8000)
    return tmp_path / "set"


def test_text_json_and_page_say_the_same(root, tmp_path, capsys, parse):
    page = tmp_path / "check.html"
    assert cli.main(["data", "check", str(root), "--page", str(page)]) == 0
    assert EVIL in capsys.readouterr().out
    assert EVIL not in page.read_text() and "&lt;img" in page.read_text()
    (root / "dog" / "1.wav").write_bytes(b"RIFF")
    assert cli.main(["data", "check", str(root), "--json", "--page", str(page)]) == 2
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert list(found["unreadable"]) == ["dog/1.wav"] and "dog/1.wav" in err
    assert "dog/1.wav" in parse(page).words
    page.write_text("mine")
    assert cli.main(["data", "check", str(root), "--page", str(page)]) == 2
    assert page.read_text() == "mine"


def test_the_page_fits_a_phone(root, tmp_path, look_at):
    (root / "dog").rename(root / "a_dog_that_has_a_rather_long_name")
    page = tmp_path / "check.html"
    assert cli.main(["data", "check", str(root), "--page", str(page)]) == 0
    for frame in look_at(page):
        assert frame["needed"] <= frame["width"] and frame["scrolled"] == []


def test_the_command_that_it_ends_with_can_train(root):
    args = parse(shlex.split(check_dataset(root)["command"])[1:])
    assert args.command == "train"
    config = load_config(args.config, args.overrides)
    setup = set_up(config, *read_data(config))
    assert len(setup.splits) == 3 and len(setup.clips.dataset.clips) == 6
