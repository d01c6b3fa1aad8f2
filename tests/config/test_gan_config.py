"""Configs of GANs: all of them build, and a mistake is one line."""

import pytest
from checkout import CONFIGS

from asc_jax.config.load import check_config, check_gan_config, from_json, load_config, to_json
from asc_jax.runtime.errors import InputError

GANS = sorted(CONFIGS.glob("wavegan*.py"))


@pytest.mark.parametrize("path", GANS, ids=[path.stem for path in GANS])
def test_every_config_of_a_gan_builds(path):
    config = load_config(str(path), check=check_gan_config)
    assert config.title
    assert from_json(to_json(config), "config.json", check=check_gan_config) == config


def gan_refusal(*overrides: str, path=str(CONFIGS / "wavegan.py")) -> str:
    with pytest.raises(InputError) as refused:
        overrides = [f"--config.{override}" for override in overrides]
        load_config(path, overrides, check=check_gan_config)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("gan.loss=wgan-gp", "must be one of wgan_gp, dcgan"),
        ("gan.n_samples=30000", "gan.n_samples=30000: must be a power of 2"),
        ("gan.scene=('tram',)", "did you mean gan.scenes?"),
        ("gan.scenes=(1,)", "each a class's name"),
        ("gan.scenes=bus,tram", "each a class's name"),
        ("synthesis.rules=('argmin',)", "each one of argmax, confidence"),
        ("synthesis.margin_low=20", "must be below synthesis.margin_high=10"),
        ("train.watch_clips=1", "a whole number of at least 2"),
    ],
)
def test_a_gan_that_cannot_be_is_refused(override, said):
    assert said in gan_refusal(override)


def test_the_two_kinds_of_config_are_told_apart():
    assert "start from configs/wavegan.py" in gan_refusal(path=str(CONFIGS / "resnet50.py"))
    with pytest.raises(InputError, match="asc-jax gan"):
        load_config(str(GANS[0]), check=check_config)
