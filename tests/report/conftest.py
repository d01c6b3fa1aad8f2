"""Run folders as evaluate writes them, without training; and a real browser."""

import html.parser
import json
import pathlib
import re

import browser
import numpy as np
import pytest

from asc_jax.data.clips import Clip
from asc_jax.runs.logits import Predictions, write_logits
from asc_jax.scoring.scores import score

SCENES = ("park", "street_pedestrian", "tram")
CITIES = ("paris", "vienna")


def list_clips(first: int) -> tuple[Clip, ...]:
    """Three clips at each of four locations per scene, in two cities and on two devices."""
    return tuple(
        Clip(
            f"audio/{scene}-{CITIES[place % 2]}-{place}-{n}-{'ab'[n % 2]}.wav",
            scene,
            f"{scene}-{CITIES[place % 2]}-{place}",
            CITIES[place % 2],
            "ab"[n % 2],
        )
        for scene in SCENES
        for place in range(first, first + 4)
        for n in range(3)
    )


class Page(html.parser.HTMLParser):
    """What a browser makes of a page, which is well-formed, safe and self-contained.

    Attributes:
      elements: (tag, its attributes), in the order of the page.
      words: its text, a space for each run of them.
    """

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.open, self.words = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []
        self.words = " ".join(self.words.split())
        assert not {"script", "iframe", "object", "form"} & {tag for tag, _ in self.elements}
        assert not re.search(r"https?:|@import|url\(", text)
        assert all(link.startswith(("./", "#", "data:,")) for link in self.links)
        assert {link[1:] for link in self.links if link[0] == "#"} <= set(self.values("id"))
        assert "default-src 'none'" in self.all("meta")[1]["content"]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert not any(name.startswith("on") for name, _ in attrs)
        self.words += " " * (tag in ("td", "th", "dd", "br", "li", "small"))
        if tag not in ("meta", "link", "br", "wbr", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words += data

    def all(self, tag: str) -> list[dict]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def values(self, *names: str) -> list[str]:
        """The values of attributes of these names."""
        return [own[name] for _, own in self.elements for name in names if name in own]

    @property
    def links(self) -> list[str]:
        """What the page links or shows."""
        return self.values("href", "src", "action")


@pytest.fixture(scope="session")
def parse():
    """Parses a page: (its HTML, or its path) -> `Page`."""
    return lambda page: Page(page if isinstance(page, str) else page.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def make_clips():
    """(number of the first location) -> clips of three scenes; see `list_clips`."""
    return list_clips


@pytest.fixture(scope="session")
def write_run():
    """Writes a run folder: (path, skill of the model, seed) and what is not as usual."""

    def write(
        path: pathlib.Path,
        skill: float = 1.0,
        seed: int = 0,
        *,
        fields: dict | None = None,
        lists: dict[str, tuple[Clip, ...]] | None = None,
        scenes: tuple[str, ...] = SCENES,
        title: str = "A network",
        epochs: int = 2,
        draw: int = 0,
    ) -> pathlib.Path:
        rng = np.random.default_rng([draw, seed])
        lists = lists or {"out_of_fold": list_clips(0), "test": list_clips(50)}
        predictions = []
        for name, clips in lists.items():
            folds = (2,) if name == "test" else ()
            logits = rng.normal(size=(*folds, len(clips), len(scenes)))
            for i, clip in enumerate(clips):
                logits[..., i, scenes.index(clip.scene_label)] += skill
            scored_by = np.arange(1, 3) if folds else np.arange(len(clips)) % 2 + 1
            one = (name, name.title(), "Scored by all.", clips, logits.astype("f4"), scored_by)
            predictions.append(Predictions(*one))
        path.mkdir(parents=True)
        config = {"seed": seed, "title": title, "train": {"epochs": 2}, "model": {"se_ratio": 16}}
        for field, value in (fields or {}).items():
            group, name = field.split(".")
            config.setdefault(group, {})[name] = value
        (path / "config.json").write_text(json.dumps(config))
        log = ""
        for epoch in range(1, epochs + 1):
            line = {"epoch": epoch, "seconds": 1800.0, "clips_per_second": 100.0}
            line |= {"loss": [1.0 / epoch, 1.2 / epoch]}
            line |= {"validation_loss": [1.1 / epoch, 1.3 / epoch]}
            line |= {"validation_accuracy": [0.3 * epoch, 0.4 * epoch]}
            log += json.dumps(line) + "\n"
        (path / "metrics.jsonl").write_text(log)
        chosen = {"rule": "mean_logits", "decision": "argmax"}
        network = {"parameters": 1000, "macs": 2000, "receptive_field": 30}
        report = {"format": 1, "title": title, "device": "cpu x 2", "versions": {"jax": "1"}}
        report |= {"network": network, "training": {"epochs": epochs}, "scene_labels": scenes}
        root = {"audio_root": "../set"}
        report["lists"] = [score(one, scenes, **chosen) | root for one in predictions]
        (path / "report.json").write_text(json.dumps(report))
        write_logits(path / "logits.npz", predictions, scenes)
        return path

    return write


@pytest.fixture(scope="session")
def write_sweep(write_run):
    """Writes a sweep's folder: (path, {setting's name: (its fields, its skill)}, seeds)."""

    def write(path: pathlib.Path, settings: dict, seeds=(0, 1, 2)) -> pathlib.Path:
        record = {"config": "configs/x.py", "base": {"model.se_ratio": 16}, "settings": {}}
        for number, (name, (fields, skill)) in enumerate(settings.items()):
            runs = {str(seed): f"{name}/seed{seed}" for seed in seeds}
            record["settings"][name] = {"fields": fields, "runs": runs}
            for seed, place in runs.items():
                title = f"A network, {name}" if fields else "A network"
                more = {"draw": number, "fields": fields, "title": title}
                write_run(path / place, skill, int(seed), **more)
        (path / "sweep.json").write_text(json.dumps(record))
        return path

    return write


MEASURE = """(() => {
  const all = selector => [...document.querySelectorAll(selector)];
  const colour = selector => all(selector).slice(0, 1).map(one => getComputedStyle(one).color)[0];
  all("details").forEach(one => one.open = true);
  const scrolled = all(".scroll").filter(
    box => box.scrollWidth > box.clientWidth && !box.querySelector(".heat"));
  const {clientWidth: width, scrollWidth: needed} = document.documentElement;
  return {width, needed,
    paper: getComputedStyle(document.body).backgroundColor, ink: colour("body"),
    muted: colour(".muted"), link: colour("a"), sections: all("h2").length,
    scrolled: scrolled.map(box => box.textContent),
    rows: all(".forest tbody tr").map(row => row.offsetHeight)};
})()"""


@pytest.fixture(scope="session")
def tab(chromium, tmp_path_factory):
    """A tab of the browser."""
    with browser.tab(chromium, tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def look_at(tab):
    """Opens a page from the disk: (page, colour scheme) -> what is measured on a phone and wide."""

    def look(page: pathlib.Path, scheme: str = "light") -> list[dict]:
        tab.show_as(390, scheme)
        tab.open(page.as_uri())
        narrow = tab.run(MEASURE)
        tab.show_as(1200, scheme)
        return [narrow, tab.run(MEASURE)]

    return look


PLAYERS = "[...document.querySelectorAll('audio')]"


@pytest.fixture
def listen_to(tab):
    """Opens a page from the disk: page -> seconds, or what is wrong, by name of the recording."""

    def listen(page: pathlib.Path) -> dict:
        tab.open(page.as_uri())
        tab.run(f"{PLAYERS}.forEach(one => {{ one.preload = 'metadata'; one.load(); }})")
        tab.until(f"{PLAYERS}.every(one => one.error || one.readyState)")
        said = "[one.getAttribute('aria-label'), one.error ? one.error.message : one.duration]"
        return dict(tab.run(f"{PLAYERS}.map(one => {said})"))

    return listen
