"""The page that a GAN's run folder gets, from the files that `gan` leaves in it."""

import json
import pathlib
import re
from urllib.parse import unquote

import numpy as np
import pytest
from checkout import CONFIGS

from asc_jax.config.load import check_gan_config, load_config, to_json
from asc_jax.data.audio import write_wav
from asc_jax.report.gan.page import write_gan_page

CONFIG = str(CONFIGS / "wavegan.py")
SCENES = ("bus", "park")


def make_run(workdir: pathlib.Path, *, conditional: bool) -> None:
    """What `gan` leaves of one epoch: a GAN for both scenes, or one for each."""
    override = f"--config.gan.conditional={conditional}"
    corpora = [SCENES] if conditional else [(scene,) for scene in SCENES]
    workdir.mkdir(parents=True)
    config = load_config(CONFIG, [override], check=check_gan_config)
    (workdir / "config.json").write_text(to_json(config))
    described = [
        {"fold": 1, "scene_labels": scenes, "unseen": ["a.wav", "b.wav"]} for scenes in corpora
    ]
    (workdir / "corpora.json").write_text(json.dumps(described))
    rng = np.random.default_rng(0)
    for scene in SCENES:
        for kind in ("real", "generated"):
            for number in range(2):
                path = workdir / "samples" / f"{scene}-fold1-{kind}-{number}.wav"
                write_wav(path, 0.1 * rng.standard_normal(4000), 16_000)
    figures = {name: [0.25] * len(corpora) for name in ("level_db", "spectral_flatness")}
    figures |= {"frechet_distance": [2.0] * len(corpora), "running": [True] * len(corpora)}
    figures |= {"seconds": 1.0, "clips_per_second": 1.0}
    lines = [{"epoch": epoch, "step": 10 * epoch, **figures} for epoch in (0, 1)]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("relative", [True, False])
def test_the_page_plays_and_names_what_is_in_the_folder(tmp_path, monkeypatch, relative):
    monkeypatch.chdir(tmp_path)
    workdir = pathlib.Path("runs", "gan") if relative else tmp_path / "runs" / "gan"
    make_run(workdir, conditional=False)
    text = write_gan_page(workdir).read_text()
    assert re.findall("<h2>(.*?)</h2>", text) == ["bus-fold1", "park-fold1"]
    assert "missing" not in text
    sources = [unquote(source) for source in re.findall('<(?:audio|img)[^>]* src="(.*?)"', text)]
    assert len(sources) == 2 * (1 + 4)
    for source in sources:
        assert (tmp_path / "runs" / "gan" / source).is_file(), source


def test_distances_stand_with_the_numbers_of_clips_that_they_are_of(tmp_path):
    """A distance of fewer clips is larger: without their number it cannot be compared."""
    make_run(tmp_path / "gan", conditional=False)
    text = re.sub("<.*?>", " ", write_gan_page(tmp_path / "gan").read_text())
    assert re.search(r"clips generated at a look\s+64\b", text)
    assert re.search(r"unseen clips compared with[\s\N{EN DASH}]+2\b", text)
    assert "compare equal numbers" in text
    for path in (tmp_path / "gan" / "samples").glob("*-real-*"):
        path.unlink()
    assert write_gan_page(tmp_path / "gan")


def test_a_gan_of_several_scenes_has_a_contact_sheet_of_each(tmp_path):
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
    assert re.findall('<img[^>]* src="(.*?)"', text) == ["./figures/bus-fold1.svg"]
    every, bus, park = (section.split("</section>")[0] for section in text.split("<section")[1:])
    assert "Fréchet" in every and "Fréchet" not in bus + park
    assert [part.count("<audio") for part in (every, bus, park)] == [0, 4, 2]


@pytest.mark.parametrize(
    ("conditional", "says"), [(False, "one per scene"), (True, "one for all scenes")]
)
def test_the_page_says_whether_scenes_share_a_gan(tmp_path, conditional, says):
    make_run(tmp_path / "gan", conditional=conditional)
    text = write_gan_page(tmp_path / "gan").read_text()
    assert "<h1>WaveGAN</h1>" in text
    phrases = ("one per scene", "one for all scenes")
    assert [phrase for phrase in phrases if phrase in text] == [says]
