"""Contact sheets: real clips above generated ones."""

import functools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from asc_jax.report.figures import draw_svg
from asc_jax.report.formatting import MINUS
from asc_jax.report.gan.contact_sheet import DARK, contact_sheet

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>\"'&_$x_{$"


@pytest.fixture
def noise():
    return lambda n, size=4000: 0.1 * np.random.default_rng(n).standard_normal((n, size))


def drawn(path):
    """The sheet's texts, which matplotlib leaves as comments, and its number of pictures."""
    svg = path.read_text()
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    return re.findall(r"<!-- (.*?) -->", svg), len(root.findall(f".//{SVG}image"))


def test_real_clips_stand_above_generated_ones(tmp_path, noise):
    path = tmp_path / "sheet.svg"
    contact_sheet(path, "street_traffic", noise(6), noise(2, 8000) / 10, 16_000)
    words, n_pictures = drawn(path)
    titles = [word for word in words if word.startswith(("real", "generated"))]
    assert titles == [
        f"real 1: {MINUS}20 dB",
        f"real 2: {MINUS}20 dB",
        f"real 3: {MINUS}20 dB",
        f"real 4: {MINUS}20 dB",
        f"generated 1: {MINUS}40 dB",
        f"generated 2: {MINUS}40 dB",
    ]
    assert "street_traffic" in words and "kHz" in words
    assert n_pictures == 4 + 2 + 1  # and the colours' scale
    svg = path.read_text()
    for light, dark in DARK.items():
        assert svg.count(light) > 1 and f"{dark}!important" in svg


def test_broken_clips_are_drawn_and_named(tmp_path, noise):
    generated = np.stack([np.full(4000, np.nan), np.zeros(4000), np.ones(4000)])
    generated[0, 1] = np.inf
    path = tmp_path / "sheet.svg"
    contact_sheet(path, HOSTILE, noise(1), generated, 16_000)
    words, _ = drawn(path)
    assert "generated 1: not finite" in words
    assert "generated 2: silence" in words
    assert "generated 3: 0 dB" in words
    contact_sheet(path, "silence", np.zeros((1, 4000)), np.zeros((1, 4000)), 16_000)
    contact_sheet(path, "shorter than a frame", noise(1, 100), noise(1, 1), 8000)


def test_the_last_digits_of_a_layout_change_no_byte():
    """Its solver gives others now and then."""

    def draw(figure, left):
        figure.set_layout_engine("none")
        figure.add_axes((left, 0.1, 0.8, 0.8)).plot([0, 1])

    drawn = [draw_svg(functools.partial(draw, left=left), 3, 2) for left in (0.1, 0.1 + 1e-13)]
    assert drawn[0] == drawn[1]
