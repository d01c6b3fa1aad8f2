"""The page that a GAN's run folder gets, from the files that `gan` leaves in it."""

import json
import math
import pathlib
import re
import shutil
from urllib.parse import unquote

import numpy as np
from checkout import CONFIGS

from asc_jax.config.load import check_gan_config, load_config, to_json
from asc_jax.data.audio import write_wav
from asc_jax.gan.metrics import collapse
from asc_jax.report.formatting import DASH, MINUS
from asc_jax.report.gan.page import METRICS, number, write_gan_page

CONFIG = str(CONFIGS / "wavegan.py")
SCENES = ("bus", "park")
HOSTILE = "<b onload=x>\"'&_$x_{$"


def make_run(workdir: pathlib.Path, *, conditional: bool, scenes=SCENES, **changed) -> None:
    """What `gan` leaves of one epoch: a GAN for all scenes, or one for each."""
    override = f"--config.gan.conditional={conditional}"
    corpora = [scenes] if conditional else [(scene,) for scene in scenes]
    workdir.mkdir(parents=True)
    config = load_config(CONFIG, [override], check=check_gan_config)
    (workdir / "config.json").write_text(to_json(config))
    described = [
        {"fold": 1, "scene_labels": labels, "unseen": ["a.wav", "b.wav"]} for labels in corpora
    ]
    (workdir / "corpora.json").write_text(json.dumps(described))
    rng = np.random.default_rng(0)
    for scene in scenes:
        for kind in ("real", "generated"):
            for i in range(2):
                path = workdir / "samples" / f"{scene}-fold1-{kind}-{i}.wav"
                write_wav(path, 0.1 * rng.standard_normal(4000), 16_000)
    figures = {name: [0.25] * len(corpora) for name in ("level_db", "spectral_flatness")}
    figures |= {"frechet_distance": [2.0] * len(corpora), "running": [True] * len(corpora)}
    figures |= {name: [value] * len(corpora) for name, value in changed.items()}
    figures |= {"seconds": 1.0, "clips_per_second": 1.0}
    lines = [{"epoch": epoch, "step": 10 * epoch, **figures} for epoch in (0, 1)]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_page_plays_and_names_what_is_in_the_folder(tmp_path, monkeypatch, parse):
    monkeypatch.chdir(tmp_path)
    workdir = pathlib.Path("runs", "gan")
    make_run(workdir, conditional=False)
    page = parse(write_gan_page(workdir))
    players = page.all("audio")
    assert all(p["preload"] == "none" and "controls" in p for p in players)
    labels = [
        f"{s}-fold1, {kind} {i}" for s in SCENES for kind in ("real", "generated") for i in "12"
    ]
    assert [player["aria-label"] for player in players] == labels
    sources = [element["src"] for element in (*players, *page.all("img"))]
    assert len(sources) == 2 * (4 + 1)
    assert all((workdir / unquote(source)).is_file() for source in sources)
    assert "media-src 'self'" in page.all("meta")[1]["content"]
    # A distance of fewer clips is larger: without their numbers it cannot be compared.
    assert " 64 " in page.words and f" {DASH} 2 " in page.words
    html = (workdir / "listen.html").read_bytes()
    for path in (workdir / "samples").glob("*-real-*"):
        path.unlink()
    page = parse(write_gan_page(workdir.resolve()))
    assert len(page.all("audio")) == 4 == len(page.all("h3")) * 2 and not page.all("img")
    shutil.rmtree(workdir)
    make_run(workdir, conditional=False)
    assert write_gan_page(workdir.resolve()).read_bytes() == html


def test_tables_fit_a_phone(tmp_path, look_at):
    measured = dict.fromkeys(METRICS, -1234.5)
    scenes = ("street_pedestrian", "metro_station")
    make_run(tmp_path / "gan", conditional=False, scenes=scenes, **measured)
    for frame in look_at(write_gan_page(tmp_path / "gan")):
        assert frame["needed"] <= frame["width"] and frame["scrolled"] == []


def test_hostile_names_stay_text(tmp_path, parse):
    make_run(tmp_path / "gan", conditional=False, scenes=(HOSTILE, "javascript:alert(1)"))
    config = tmp_path / "gan" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"title": HOSTILE}))
    page = parse(write_gan_page(tmp_path / "gan"))
    assert page.words.count(HOSTILE) >= 4
    assert page.all("audio")[0]["aria-label"] == f"{HOSTILE}-fold1, real 1"
    assert "b" not in [tag for tag, _ in page.elements]
    assert "./samples/javascript%3Aalert%281%29-fold1-real-0.wav" in page.links


def test_the_collapsed_are_named_in_the_overview(tmp_path, parse):
    make_run(
        tmp_path / "gan", conditional=False, running=False, level_db=-95.0, diversity_ratio=1.0
    )
    page = parse(write_gan_page(tmp_path / "gan"))
    ids = [own["id"] for own in page.all("section")]
    assert [a["href"][1:] for a in page.all("a") if a["href"][0] == "#"] == ids
    assert len([own for own in page.all("p") if own.get("class") == "verdict"]) == len(ids) == 2
    # The overview says what it is, the section why.
    fault = collapse(level_db=-95.0, diversity_ratio=1.0).split(":")[0]
    assert page.words.count(fault) == 4 and page.words.count(f"{MINUS}95.0") == 4


def test_a_gan_of_several_scenes_has_a_contact_sheet_of_each(tmp_path, parse):
    workdir = tmp_path / "gan"
    make_run(workdir, conditional=True)
    for path in (workdir / "samples").glob("park-fold1-generated-*.wav"):
        path.unlink()  # fewer clips than scenes were generated
    text = write_gan_page(workdir).read_text()
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings == ["all scenes, fold 1", "bus-fold1", "park-fold1"]
    head = text.split("</header>")[0]
    assert re.findall('<a href="#s(.)">', head) == ["0", "1", "2"]
    assert head.count("<tr>") == 2  # the table is of GANs
    assert [image["src"] for image in parse(text).all("img")] == ["./figures/bus-fold1.svg"]
    every, bus, park = (section.split("</section>")[0] for section in text.split("<section")[1:])
    assert "Fréchet" in every and "Fréchet" not in bus + park
    assert [part.count("<audio") for part in (every, bus, park)] == [0, 4, 2]


def test_numbers_of_metrics():
    found = [("level_db", -38.24), ("diversity_ratio", 0.913), ("frechet_distance", 22_680.4)]
    found += [("own_figure", 0.012345), ("memorisation_ratio", math.nan), ("own_figure", None)]
    shown = [f"{MINUS}38.2", "0.91", "22,680", "0.0123", DASH, DASH]
    assert [number(*pair) for pair in found] == shown
