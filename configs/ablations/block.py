"""Which residual block? Paper Table 1 prints two 3x3 convolutions; its names say bottleneck.

Order and shortcut are unstated.
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    return [
        {},
        {"model.block": "bottleneck"},
        {"model.order": "pre_activation"},
        {"model.shortcut": "zero_pad"},
        {"model.order": "pre_activation", "model.shortcut": "zero_pad"},
    ]
