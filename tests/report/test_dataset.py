"""A data set checked by the command: text, JSON, a page, and the status."""

import json
import shlex

import numpy as np
import pytest
import soundfile
from checkout import CONFIGS

from asc_jax import cli
from asc_jax.data.check import check_dataset

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


def test_the_command_that_it_ends_with_trains(root, tmp_path, process_as_it_was):
    words = shlex.split(check_dataset(root)["command"])
    small = ("model.stage_sizes=(1,)", "model.stage_strides=(1,)", "model.width=2",
             "train.epochs=1", "frontend.n_mels=8", "train.crop_seconds=0.5")  # fmt: skip
    run = tmp_path / "run"
    words = [word for word in words[1:] if not word.startswith("--workdir")]
    words = [word.replace("--config=small", f"--config={CONFIGS / 'small.py'}") for word in words]
    assert cli.main([*words, f"--workdir={run}", *(f"--config.{word}" for word in small)]) == 0
    splits = json.loads((run / "splits.json").read_text())
    assert len(splits["folds"]) == 3 and len(splits["clips"]) == 6
