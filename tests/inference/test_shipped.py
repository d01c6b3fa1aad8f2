"""The models of the package: asked by name, whatever lies around."""

import functools
import json
import pathlib

import numpy as np
import pytest
from refusals import refused

import asc_jax
from asc_jax import cli
from asc_jax.data.audio import write_wav
from asc_jax.inference import shipped
from asc_jax.inference.card import FIELDS, read_card

pytestmark = pytest.mark.usefixtures("process_as_it_was")

_LARGEST = 2_000_000  # bytes


@pytest.fixture
def wav(tmp_path, monkeypatch):
    """A recording in an otherwise empty current folder."""
    monkeypatch.chdir(tmp_path)
    noise = 0.1 * np.random.default_rng(0).standard_normal(44_100 * 2)
    write_wav(tmp_path / "a.wav", noise.astype(np.float32), 44_100)
    return "a.wav"


load = functools.cache(asc_jax.load)


@pytest.mark.parametrize("name", shipped.names())
def test_a_model_of_the_package_is_of_its_functions_and_has_the_card_beside_it(name, capsys):
    """By other functions it would be refused."""
    path = shipped.FOLDER / f"{name}.safetensors"
    model = load(name)
    assert not capsys.readouterr().err
    assert path.stat().st_size < _LARGEST
    assert model.card["about"] == read_card(path.with_suffix(".toml"))
    assert model.card == shipped.read_cards()[name]


def test_what_each_command_says_of_a_card(wav, capsys):
    assert "esc10" in shipped.names()
    assert cli.main(["predict", "esc10", wav, "--json=-"]) == 0
    said = capsys.readouterr()
    (recording,) = json.loads(said.out)
    assert recording["model"].keys() == FIELDS.keys() and len(recording["probabilities"]) == 10
    assert recording["model"]["accuracy"] in said.err
    assert cli.main(["models"]) == 0
    told = capsys.readouterr().out
    assert all(text.splitlines()[0] in told for text in recording["model"].values())


def test_a_file_or_a_folder_of_the_name_is_never_mistaken_for_it(wav, capsys):
    pathlib.Path("esc10").mkdir()
    with refused(path="esc10"):
        asc_jax.load("esc10")
    assert cli.main(["predict", "esc10", wav]) == 2
    assert "./esc10" in capsys.readouterr().err
    for path in ("./esc10", pathlib.Path("esc10")):  # which is no run
        with refused(path="config.json"):
            asc_jax.load(path)
    assert cli.main(["predict", "./esc10", wav]) == 2
    assert "config.json" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["esc11", "./esc10", pathlib.Path("esc10"), "runs/esc10", ""])
def test_what_is_neither_is_told_the_names(wav, place):
    with refused(path=place) as caught:
        asc_jax.load(place)
    assert all(name in caught.value.message for name in shipped.names())


def test_it_knows_what_it_was_trained_on(esc10):
    """Two clips of each class: it has heard them, so this is no score."""
    model = load("esc10")
    rows = [line.split("\t") for line in (esc10 / "meta.csv").read_text().splitlines()[1:]]
    some = [row for label in model.labels for row in [row for row in rows if row[1] == label][:2]]
    right = [model.predict(esc10 / path).label == label for path, label, *_ in some]
    assert np.mean(right) > 0.4
