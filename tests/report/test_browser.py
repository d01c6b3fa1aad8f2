"""The pages in a real browser: on a phone, in the dark, and alone in the world."""

import json
import os
import re

import numpy as np
import pytest
import soundfile

from asc_jax.data.clips import Clip
from asc_jax.report.comparison.page import write_comparison
from asc_jax.report.comparison.results import compare_runs
from asc_jax.report.page import write_page
from asc_jax.report.table4 import render_page
from asc_jax.runs import table4

SCORE = {"value": 1.0, "low": 0.912, "high": 1.0}
OPEN = {"point": "order", "report": "unstated", "here": {"model.order": "post_activation"}}
TABLE = {
    "notes": ["A note."],
    "listen": ["gan/fold1/listen.html"],
    "rows": [
        {"row": row.title, "config": row.config, "published": row.published, "score": SCORE}
        | {"scored_on": "Test: 2,518 clips, 81 locations; ensemble, mean of logits"}
        | {"submissions": [f"{row.config}/submission/leaderboard.csv"], "open": [OPEN]}
        for row in table4.ROWS
    ],
}


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
    several = write_comparison(results)
    table = folder / "table4.html"
    table.write_text(render_page(TABLE, comparison=True))
    return {"one run": write_page(write_run(folder / "run")), "several": several, "table": table}


NAMES = (
    "plain.wav", "a\"b'c.wav", "new\nline.flac", "ha#sh?.ogg", "100%41.wav", "bi\u202edi.wav",
    "<b>&amp;.wav", "javascript:alert(1).wav", "sp ace;é.wav", "no_utf8\udce9.wav",
)  # fmt: skip


def test_recordings_play_whatever_their_names_are(tmp_path, write_run, listen_to):
    root = tmp_path / "set #1?%2F\"'\u202e"
    clips = tuple(Clip(f"{name[0]}/{name}", "park", name) for name in NAMES)
    for clip in clips:
        (root / clip.path).parent.mkdir(parents=True, exist_ok=True)
        with (root / clip.path).open("wb") as file:
            ending = clip.path.rpartition(".")[2]
            soundfile.write(file, np.full(24_000, 0.1), 48_000, format=ending)
    # Models that never answer right.
    workdir = write_run(tmp_path / "runs" / "one", -100.0, lists={"out_of_fold": clips})
    report = json.loads((workdir / "report.json").read_text())
    report["lists"][0]["audio_root"] = os.path.relpath(root, workdir)
    (workdir / "report.json").write_text(json.dumps(report))
    found = listen_to(write_page(workdir))
    assert len(found) == len(clips)
    assert all(seconds == pytest.approx(0.5, abs=0.01) for seconds in found.values()), found
    (root / clips[0].path).unlink()
    found = listen_to(workdir / "report.html")
    assert [name for name, said in found.items() if isinstance(said, str)] == [clips[0].path]


def luminance(colour: str) -> float:
    """Of "rgb(r, g, b)". Source: WCAG 2.2, relative luminance."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one run", "several", "table"])
def test_a_page_fits_is_quiet_and_asks_for_nothing(pages, tab, look_at, name, scheme):
    frames = look_at(pages[name], scheme)
    assert tab.noises == []
    own = pages[name].as_uri()
    assert {url for url, page in tab.asked.items() if page == own and url[:5] != "data:"} == {own}
    for frame in frames:
        assert frame["needed"] <= frame["width"]
        assert frame["scrolled"] == []  # but matrices of many classes
        assert all(height < 110 for height in frame["rows"])  # of forest plots
        assert frame["sections"] >= 2
        paper = luminance(frame["paper"])
        assert (paper > 0.8) if scheme == "light" else (paper < 0.05)
        for part, least in (("ink", 7), ("muted", 4.5), ("link", 4.5)):
            dark, light = sorted((paper, luminance(frame[part])))
            assert (light + 0.05) / (dark + 0.05) > least, part


def test_the_browser_would_tell(tmp_path, tab, look_at):
    page = tmp_path / "page.html"
    page.write_text(
        '<!DOCTYPE html><link rel="icon" href="data:,"><h2 class="muted">a</h2><a>b</a>'
        '<img src="http://pictures.invalid/x.png"><img src="here.png">'
        '<div style="width:1500px">wide</div><script>console.error("loud")</script>'
    )
    frames = look_at(page)
    assert "loud" in str(tab.noises)
    assert {"http://pictures.invalid/x.png", (tmp_path / "here.png").as_uri()} <= tab.asked.keys()
    assert all(frame["needed"] > frame["width"] for frame in frames)
