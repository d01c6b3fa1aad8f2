"""Cards that people write: kept in every kind of file, and odd ones refused."""

import json

import pytest
import small
from extras import need
from refusals import refused

import asc_jax
from asc_jax import cli
from asc_jax.inference import export
from asc_jax.inference.card import FIELDS, read_card, render
from asc_jax.train.loop import train

pytestmark = pytest.mark.usefixtures("process_as_it_was")

ABOUT = dict.fromkeys(FIELDS, "as said") | {"command": "asc-jax train\nasc-jax export"}


def toml(about) -> str:
    return "".join(f"{field} = {json.dumps(value)}\n" for field, value in about.items())


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "run"
    train(small.config(scenes, "train.epochs=1", "folds.kind=all", "folds.n_folds=1"), folder)
    return folder


@pytest.mark.parametrize("ending", ["stablehlo", "safetensors", "onnx"])
def test_a_card_is_kept(run, tmp_path, ending):
    if ending == "onnx":
        need("jax2onnx", "onnxruntime", extra="onnx")
    card, out = tmp_path / "card.toml", tmp_path / f"m.{ending}"
    card.write_text(toml(ABOUT))
    assert cli.main(["export", str(run), str(out), f"--card={card}"]) == 0
    assert asc_jax.load(out).card["about"] == ABOUT
    assert len(render(ABOUT).splitlines()) == len(FIELDS) + 1


def test_a_model_without_a_card_has_none(run, tmp_path):
    out = tmp_path / "m.safetensors"
    assert cli.main(["export", str(run), str(out)]) == 0
    assert "about" not in asc_jax.load(out).card
    assert asc_jax.load(run).card == {}


ODD = {
    "missing": ({"data": "x"}, "licence"),
    "unknown": (ABOUT | {"colour": "red"}, "colour"),
    "number": (ABOUT | {"accuracy": 0.9}, "accuracy"),
    "empty": (ABOUT | {"date": " "}, "date"),
    "long": (ABOUT | {"measured": "x" * 10_000}, "measured"),
    "control": (ABOUT | {"data": "\x1b[2J"}, "data"),
    "list": (ABOUT | {"licence": ["x"]}, "licence"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_card_is_refused_before_and_after(run, tmp_path, name, capsys):
    about, field = ODD[name]
    card, out = tmp_path / "card.toml", tmp_path / "m.safetensors"
    card.write_text(toml(about))
    with refused(path=card, field=field):
        read_card(card)
    assert cli.main(["export", str(run), str(out), f"--card={card}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not out.exists()
    # Such as somebody makes who knows the form.
    model = asc_jax.load(run)
    export.export(model, out, export.describe(model, None, about))
    with refused(path=out, field=field):
        asc_jax.load(out)


@pytest.mark.parametrize("content", [b"", b"data = ", b"\xff\xfe", b"a = " + b"[" * 100_000])
def test_what_is_no_toml_is_refused(tmp_path, content):
    card = tmp_path / "card.toml"
    card.write_bytes(content)
    with refused(path=card):
        read_card(card)
    with refused(path=tmp_path / "none.toml"):
        read_card(tmp_path / "none.toml")


@pytest.mark.parametrize("about", [None, [], "text", 3])
def test_a_card_of_another_kind_in_a_file_is_refused(run, tmp_path, about):
    model, path = asc_jax.load(run), tmp_path / "m.stablehlo"
    export.export(model, path, export.describe(model, None) | {"about": about})
    with refused(path=path):
        asc_jax.load(path)
