"""What a page says of a run's recipe."""

import pytest
from checkout import CONFIGS

from asc_jax.config.load import flatten, load_config
from asc_jax.report.facts import recipe


def of_config(name: str, *overrides: str) -> dict[str, str]:
    """The recipe of a config of ours, without what it leaves out."""
    words = ["--config.data.root=/set", *(f"--config.{word}" for word in overrides)]
    config = flatten(load_config(str(CONFIGS / f"{name}.py"), words))
    return {name: value for name, value in recipe(config) if value}


def test_what_is_off_is_left_out():
    found = of_config("resnet50", "model.se_ratio=0", "seed=0")
    assert not {"Augmentation", "Crops"} & found.keys()
    assert found["Seed"] == "0" and found["Loss"] == "cross_entropy"
    assert found["Optimizer"] == "adam, learning rate 0.001"
    assert found["Learning rate schedule"] == "cosine" and found["Precision"] == "float32"
    assert found["Network"].startswith("resnet, ") and "(3, 4, 6, 3)" in found["Network"]
    assert not any(word in found["Network"] for word in ("SE", "dropout", "pcen", "remat"))


def test_what_is_on_is_said():
    found = of_config(
        "esc10", "model.pcen=True", "frontend.name=mel", "data.normalisation=none",
        "data.pool=waveform", "optimizer.warmup=0.05", "optimizer.clip_norm=1.5",
        "train.label_smoothing=0.1", "train.class_weights=balanced", "train.crop_seconds=2.5",
        "augment.mel_masks=0", "augment.freq_mixstyle_p=0.5", "seed=7",
    )  # fmt: skip
    assert {"SE ratio 16", "pcen", "width 32"} <= set(found["Network"].split(", "))
    assert found["Frontend"] == "mel" and found["Seed"] == "7"
    assert found["Loss"] == "cross_entropy, class weights balanced, label smoothing 0.1"
    assert found["Crops"] == "2.5 s of each clip"
    assert found["Optimizer"] == "adam, clip norm 1.5, learning rate 0.002, weight decay 0.05"
    assert found["Learning rate schedule"] == "one_cycle, warm-up over 0.05 of the steps"
    # Masks of mel bands are off, however wide.
    pairs = "time masks 2 (up to 25 frames), freq mixstyle p 0.5 (alpha 0.4)"
    assert found["Augmentation"] == f"mixup alpha 0.3, time roll 1, {pairs}"


def test_what_is_of_another_optimizer_or_schedule_is_left_out():
    found = of_config(
        "resnet50", "optimizer.name=sgd", "optimizer.schedule=steps", "optimizer.drops=(0.5, 0.75)"
    )
    assert found["Optimizer"] == "sgd, learning rate 0.001, momentum 0.9"
    assert found["Learning rate schedule"] == "steps, drops (0.5, 0.75), drop factor 0.1"


def test_functions_of_ones_own_are_named_with_their_fields():
    own = {"model.name": "parts.py:Net", "model.width": 8, "train.loss": "parts.py:focal"}
    own |= {"augment.name": "parts.py:tilt", "augment.most": 0.5, "augment.time_masks": 3}
    found = dict(recipe(own))
    assert found["Network"] == "parts.py:Net, width 8" and found["Loss"] == "parts.py:focal"
    assert found["Augmentation"] == "parts.py:tilt, most 0.5, time masks 3"


@pytest.mark.parametrize("config", [{}, {"augment.name": "standard"}])
def test_what_is_not_known_is_left_out(config):
    assert not any(value for _, value in recipe(config))
