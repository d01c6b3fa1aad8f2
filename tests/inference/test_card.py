"""Cards that people write: kept in every kind of file, and odd ones refused."""

import json

import pytest
from extras import need
from refusals import refused

import asc_jax
from asc_jax import cli
from asc_jax.inference import export
from asc_jax.inference.card import FIELDS, read_card, render

pytestmark = pytest.mark.usefixtures("process_as_it_was")

ABOUT = dict.fromkeys(FIELDS, "as said") | {"command": "asc-jax train\nasc-jax export"}


def toml(about) -> str:
    return "".join(f"{field} = {json.dumps(value)}\n" for field, value in about.items())


@pytest.mark.parametrize("ending", ["stablehlo", "safetensors", "onnx"])
def test_a_card_is_kept(run, tmp_path, ending):
    if ending == "onnx":
        need("jax2onnx", "onnxruntime", extra="onnx")
    card, out = tmp_path / "card.toml", tmp_path / f"m.{ending}"
    card.write_text(toml(ABOUT))
    assert cli.main(["export", str(run), str(out), f"--card={card}"]) == 0
    assert asc_jax.load(out).card["about"] == ABOUT
    assert len(render(ABOUT).splitlines()) == len(FIELDS) + 1


ODD = {
    "missing": ({"data": "x"}, "licence"),
    "unknown": (ABOUT | {"colour": "red"}, "colour"),
    "number": (ABOUT | {"accuracy": 0.9}, "accuracy"),
    "empty": (ABOUT | {"date": " "}, "date"),
    "long": (ABOUT | {"measured": "x" * 10_000}, "measured"),
    "control": (ABOUT | {"data": "\x1b[2J"}, "data"),
    "list": (ABOUT | {"licence": ["x"]}, "licence"),
}


@pytest.mark.parametrize(("about", "field"), ODD.values(), ids=ODD)
def test_an_odd_card_is_refused(tmp_path, about, field):
    card = tmp_path / "card.toml"
    card.write_text(toml(about))
    with refused(path=card, field=field):
        read_card(card)


def test_an_odd_card_is_neither_written_nor_read(run, model, tmp_path, capsys):
    about, field = ODD["number"]
    card, out = tmp_path / "card.toml", tmp_path / "m.safetensors"
    card.write_text(toml(about))
    assert cli.main(["export", str(run), str(out), f"--card={card}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not out.exists()
    # Such as somebody makes who knows the form.
    for made, said in ((about, field), (None, "data")):
        export.export(model, out, export.describe(model, None) | {"about": made})
        with refused(path=out, field=said):
            asc_jax.load(out)


@pytest.mark.parametrize("content", [b"", b"data = ", b"\xff\xfe", b"a = " + b"[" * 100_000])
def test_what_is_no_toml_is_refused(tmp_path, content):
    card = tmp_path / "card.toml"
    card.write_bytes(content)
    with refused(path=card):
        read_card(card)
    with refused(path=tmp_path / "none.toml"):
        read_card(tmp_path / "none.toml")
