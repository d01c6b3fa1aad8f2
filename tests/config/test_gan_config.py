"""Configs of GANs: all of them build, and a mistake is one line."""

import pytest
from checkout import CONFIGS
from refusals import refused

from asc_jax.config.load import check_config, check_gan_config, from_json, load_config, to_json

GANS = sorted(CONFIGS.glob("wavegan*.py"))


@pytest.mark.parametrize("path", GANS, ids=[path.stem for path in GANS])
def test_every_config_of_a_gan_builds(path):
    config = load_config(str(path), check=check_gan_config)
    assert config.title
    assert from_json(to_json(config), "config.json", check=check_gan_config) == config


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("gan.loss=wgan-gp", "wgan_gp"),
        ("gan.n_samples=30000", ""),
        ("gan.scene=('tram',)", "gan.scenes"),
        ("gan.scenes=(1,)", ""),
        ("gan.scenes=bus,tram", ""),
        ("synthesis.rules=('argmin',)", "argmax"),
        ("synthesis.margin_low=20", "synthesis.margin_high"),
        ("synthesis.margin_low=10", "synthesis.margin_high"),
        ("train.watch_clips=1", "2"),
    ],
)
def test_a_gan_that_cannot_be_is_refused(override, named):
    word = f"--config.{override}"
    with refused(field=word.partition("=")[0]) as caught:
        load_config(CONFIGS / "wavegan.py", [word], check=check_gan_config)
    assert named in str(caught.value)


def test_one_scene_needs_no_brackets():
    words = ["--config.gan.scenes=tram"]
    config = load_config(CONFIGS / "wavegan.py", words, check=check_gan_config)
    assert config.gan.scenes == ("tram",)


def test_the_two_kinds_of_config_are_told_apart():
    with refused(path="resnet50.py"):
        load_config(CONFIGS / "resnet50.py", check=check_gan_config)
    with refused(path=GANS[0]):
        load_config(GANS[0], check=check_config)
