"""The listening page and its pictures: whole, within their folder, safe against their input."""

import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from asc_jax.frontend import FrontendConfig
from asc_jax.report.formatting import DASH, MINUS
from asc_jax.report.gan.contact_sheet import DARK, contact_sheet
from asc_jax.report.gan.listen import Entry, write_listening_page
from asc_jax.runtime.errors import InputError

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>\"'&_$x_{$"


@pytest.fixture
def noise():
    return lambda n, size=4000: 0.1 * np.random.default_rng(n).standard_normal((n, size))


@pytest.fixture
def folder(tmp_path):
    """A run folder with two clips of each kind."""
    (tmp_path / "samples").mkdir()
    for name in ("real 1", "real 2", "generated_1", "generated_2"):
        (tmp_path / "samples" / f"{name}.wav").write_bytes(b"RIFF")
    return tmp_path


def entry(scene_label="tram", **fields):
    defaults = {
        "contact_sheet": "figures/tram.svg",
        "real": ["samples/real 1.wav", "samples/real 2.wav"],
        "generated": ["samples/generated_1.wav", "samples/generated_2.wav"],
        "metrics": {
            "level_db": {"real": -38.24, "generated": -40.0},
            "diversity_ratio": 0.913,
            "frechet_distance": 22_680.4,
            "own_figure": 0.012345,
            "memorisation_ratio": math.nan,
        },
    }
    return Entry(scene_label, **defaults | fields)


class Page(HTMLParser):
    """What a browser would make of a page: its elements, their attributes, its words."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.words = [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data):
        self.words += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def test_the_page_plays_the_clips_of_its_folder(folder):
    path = write_listening_page(folder, [entry()], title="WaveGAN", run_facts=[("step", 20_000)])
    assert path == folder / "listen.html"
    page = Page(path)
    players = page.all("audio")
    assert [p["src"] for p in players] == [
        "./samples/real%201.wav",
        "./samples/real%202.wav",
        "./samples/generated_1.wav",
        "./samples/generated_2.wav",
    ]
    assert all(p["preload"] == "none" and "controls" in p for p in players)
    assert [p["aria-label"] for p in players[1:3]] == ["tram, real 2", "tram, generated 1"]
    assert [image["src"] for image in page.all("img")] == ["./figures/tram.svg"]
    assert "missing" not in page.words
    html = path.read_text(encoding="utf-8")
    assert not page.all("script")
    assert not re.search(r"https?:|@import|url\(", html)
    policy = page.all("meta")[1]["content"]
    assert "default-src 'none'" in policy and "media-src 'self'" in policy
    for shown in (
        "step20000",
        f"leveldB re full scale, median{MINUS}38.2{MINUS}40.0",
        f"clips'; near 0: all alike{DASH}0.91",
        f"{DASH}22,680",
        f"own figure{DASH}0.0123",
        f"copies{DASH}{DASH}",
    ):
        assert shown in page.words
    # A single scene needs no table to find it.
    assert 'class="overview"' not in html


def test_several_scenes_have_an_overview_that_names_the_collapsed(folder):
    silent = entry("metro_station", collapse="silent: level -95 dB")
    page = Page(write_listening_page(folder, [entry(), silent]))
    ids = [attrs["id"] for attrs in page.all("section")]
    links = [a["href"] for a in page.all("a") if a["href"].startswith("#")]
    assert links == [f"#{i}" for i in ids] and len(ids) == 2
    assert [a["class"] for a in page.all("p") if a.get("class") == "verdict"] == ["verdict"]
    assert page.words.count("silent") == 2 and page.words.count("level -95 dB") == 1


def test_hostile_input_stays_text(folder):
    hostile = entry(
        HOSTILE,
        contact_sheet=f"{HOSTILE}.svg",
        real=["javascript:alert(1)", HOSTILE],
        metrics={HOSTILE: 1.0},
        collapse=HOSTILE,
    )
    path = write_listening_page(folder, [hostile] * 2, title=HOSTILE, run_facts=[(HOSTILE,) * 2])
    page = Page(path)
    assert not page.all("script")
    assert page.words.count(HOSTILE) >= 6
    sources = [attrs["src"] for tag in ("img", "audio") for attrs in page.all(tag)]
    links = [a["href"] for a in page.all("a")]
    assert all(link.startswith(("./", "#s")) for link in sources + links)
    assert "./javascript%3Aalert%281%29" in links
    assert sorted(p.name for p in folder.iterdir()) == ["listen.html", "samples"]


def test_paths_stay_within_the_folder(folder):
    within = folder / "samples" / "real 1.wav"
    page = Page(write_listening_page(folder, [entry(real=[within])]))
    assert page.all("audio")[0]["src"] == "./samples/real%201.wav"
    for outside in ("../x.wav", "samples/../../x.wav", "/etc/x.wav"):
        with pytest.raises(InputError, match="lies outside of") as caught:
            write_listening_page(folder, [entry(generated=[outside])])
        assert "\n" not in str(caught.value)


def test_what_is_not_there_is_said_or_left_out(folder):
    gone = entry(real=["samples/gone.wav"], generated=[], contact_sheet="", metrics={})
    page = Page(write_listening_page(folder, [gone]))
    assert "missing: samples/gone.wav" in page.words
    assert not page.all("audio") and not page.all("img") and not page.all("table")
    assert "Generated" not in page.words
    write_listening_page(folder, [])
    write_listening_page(folder, [Entry("tram")] * 2)


def test_same_input_gives_the_same_bytes(folder, noise):
    def write():
        contact_sheet(folder / "figures" / "tram.svg", "tram", noise(2), noise(1), 16_000)
        write_listening_page(folder, [entry()])
        paths = (folder / "figures" / "tram.svg", folder / "listen.html")
        return [path.read_bytes() for path in paths]

    assert write() == write()


def drawn(path):
    """The sheet's texts, which matplotlib leaves as comments, and its number of pictures."""
    svg = path.read_text()
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    return re.findall(r"<!-- (.*?) -->", svg), len(root.findall(f".//{SVG}image"))


def test_real_clips_stand_above_generated_ones(tmp_path, noise):
    path = tmp_path / "sheet.svg"
    contact_sheet(path, "street_traffic", noise(6), noise(2, 8000) / 10, 16_000, columns=3)
    words, n_pictures = drawn(path)
    titles = [word for word in words if word.startswith(("real", "generated"))]
    assert titles == [
        f"real 1: {MINUS}20 dB",
        f"real 2: {MINUS}20 dB",
        f"real 3: {MINUS}20 dB",
        f"generated 1: {MINUS}40 dB",
        f"generated 2: {MINUS}40 dB",
    ]
    assert "street_traffic" in words and "kHz" in words
    assert n_pictures == 3 + 2 + 1  # and the colours' scale
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
    # A frontend of the caller's, and a clip shorter than its frame.
    cfg = FrontendConfig(sr=8000, n_fft=512, win_length=512, hop_length=128, n_mels=20, power=2.0)
    contact_sheet(path, "short", noise(1, 100), noise(1, 1), 8000, cfg=cfg)


def test_a_sheet_needs_a_clip_of_each_kind(tmp_path, noise):
    with pytest.raises(InputError, match="there is no generated clip to draw"):
        contact_sheet(tmp_path / "sheet.svg", "tram", noise(1), np.empty((0, 4000)), 16_000)
    assert not list(tmp_path.iterdir())
