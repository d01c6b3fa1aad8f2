"""The pages in a real browser: on a phone, in the dark, and alone in the world."""

import re

import pytest

from asc_jax.report.comparison.page import write_comparison
from asc_jax.report.comparison.results import compare_runs
from asc_jax.report.page import write_page


@pytest.fixture(scope="module")
def pages(tmp_path_factory, write_run, write_sweep):
    folder = tmp_path_factory.mktemp("pages")
    settings = {
        "base": ({}, 1.0),
        "model.se_ratio=4,train.a_field_whose_name_is_long=0.25": (
            {"model.se_ratio": 4, "train.a_field_whose_name_is_long": 0.25},
            2.0,
        ),
    }
    sweep = write_sweep(folder / "sweep", settings, seeds=(0, 1))
    results = compare_runs([sweep], kinds=["weighted"])
    return {
        "one run": write_page(write_run(folder / "run")),
        "several": write_comparison(results),
    }


def luminance(colour: str) -> float:
    """Of "rgb(r, g, b)". Source: WCAG 2.2, relative luminance."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one run", "several"])
def test_a_page_fits_is_quiet_and_asks_for_nothing(pages, look_at, name, scheme):
    page = pages[name]
    seen = look_at(page, scheme)
    assert seen["console"] == []
    assert set(seen["served"]) == {f"/{page.name}"}
    for frame in seen["frames"]:
        assert frame["asked"] == []
        assert frame["needed"] <= frame["width"]
        assert frame["sections"] > 2
        paper = luminance(frame["paper"])
        assert (paper > 0.8) if scheme == "light" else (paper < 0.05)
        for part, least in (("ink", 7), ("muted", 4.5), ("link", 4.5)):
            dark, light = sorted((paper, luminance(frame[part])))
            assert (light + 0.05) / (dark + 0.05) > least, part


def test_the_browser_would_tell(tmp_path, look_at):
    page = tmp_path / "page.html"
    page.write_text(
        '<!DOCTYPE html><link rel="icon" href="data:,"><h2 class="muted">a</h2><a>b</a>'
        '<img src="http://pictures.invalid/x.png"><img src="here.png">'
        '<div style="width:1500px">wide</div><script>console.error("loud")</script>'
    )
    seen = look_at(page)
    assert any("loud" in line for line in seen["console"])
    assert "/here.png" in seen["served"]
    for frame in seen["frames"]:
        assert "http://pictures.invalid/x.png" in frame["asked"]
        assert frame["needed"] > frame["width"]
