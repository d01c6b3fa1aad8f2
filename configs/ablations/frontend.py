"""Which log-mels? The paper says 40 ms, 20 ms and 40 bands, and nothing of the rest."""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    return [
        {},
        {"frontend.power": 2.0},
        {"frontend.window": "hann"},
        {"frontend.htk": True},
        {"frontend.norm": "none"},
        {"frontend.pad_mode": "reflect"},  # librosa before 0.9
        {"frontend.log_floor": 1e-6},
        {"frontend.power": 2.0, "frontend.window": "hann", "frontend.htk": True},
    ]
