"""How long to train, and which epoch to take? The paper is silent on both."""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    lengths = [{"train.epochs": epochs} for epochs in (15, 30, 60, 120)]
    best_inner = {
        "train.selection": "inner",
        "folds.inner_fraction": 0.3,
    }
    return [*lengths, best_inner]
