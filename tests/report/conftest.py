"""Run folders as evaluate writes them, without training; and a real browser."""

import contextlib
import html
import html.parser
import http.server
import json
import pathlib
import re
import socketserver
import subprocess
import threading

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


MEASURE = """<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,">
<body style="margin:0"><iframe style="border:0;width:390px;height:800px" src="PAGE"></iframe>
<iframe style="border:0;width:1200px;height:800px" src="PAGE"></iframe>
<pre id="found"></pre><script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, style = frame.contentWindow.getComputedStyle;
    page.querySelectorAll("details").forEach(details => details.open = true);
    const scrolled = [...page.querySelectorAll(".scroll")].filter(
      box => box.scrollWidth > box.clientWidth && !box.querySelector(".heat"));
    const rows = [...page.querySelectorAll(".forest tbody tr")].map(row => row.offsetHeight);
    const colours = s => [...page.querySelectorAll(s)].slice(0, 1).map(e => style(e).color)[0];
    return {width: frame.clientWidth, needed: page.documentElement.scrollWidth,
      paper: style(page.body).backgroundColor, ink: style(page.body).color,
      scrolled: scrolled.map(box => box.textContent), rows,
      muted: colours(".muted"), link: colours("a"), sections: page.querySelectorAll("h2").length,
      asked: frame.contentWindow.performance.getEntriesByType("resource").map(e => e.name)};
  });
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script></body>"""


class _Recorder(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and keeps what it was asked for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def _serve(folder: pathlib.Path):
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    def handler(*args):
        return _Recorder(*args, directory=str(folder))

    with Server(("127.0.0.1", 0), handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browse(chromium, tmp_path_factory):
    """Runs the browser: (address, flags) -> what the page's script found, and the console."""

    def run(address: str, *flags: str) -> tuple:
        profile = tmp_path_factory.mktemp("browser")
        flags = "--virtual-time-budget=3000", "--dump-dom", *flags, address
        command = browser.command(chromium, profile, *flags)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout)
        assert found, done.stdout + done.stderr
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return json.loads(html.unescape(found[1])), console

    return run


@pytest.fixture(scope="session")
def look_at(browse):
    """Opens a page in the browser: (page, colour scheme) -> what was measured, said, served."""

    def look(page: pathlib.Path, scheme: str = "light") -> dict:
        wrapper = page.with_name("measure.html")
        wrapper.write_text(MEASURE.replace("PAGE", page.name))
        with _serve(page.parent) as server:
            address = f"http://127.0.0.1:{server.server_address[1]}/{wrapper.name}"
            colours = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
            frames, console = browse(address, colours)
        wrapper.unlink()
        served = [path for path in server.asked if path != f"/{wrapper.name}"]
        return {"frames": frames, "console": console, "served": served}

    return look


PLAYERS = "[...document.querySelectorAll('audio')]"


@pytest.fixture(scope="session")
def listen_to(chromium, tmp_path_factory):
    """Opens a page from the disk: page -> seconds, or what is wrong, by name of the recording."""

    def listen(page: pathlib.Path) -> dict:
        with browser.tab(chromium, tmp_path_factory.mktemp("browser")) as tab:
            tab.open(page.as_uri())
            tab.run(f"{PLAYERS}.forEach(one => {{ one.preload = 'metadata'; one.load(); }})")
            tab.until(f"{PLAYERS}.every(one => one.error || one.readyState)")
            said = "[one.getAttribute('aria-label'), one.error ? one.error.message : one.duration]"
            return dict(tab.run(f"{PLAYERS}.map(one => {said})"))

    return listen
