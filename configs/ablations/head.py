"""How does the last map become one vector? The paper pools the average; its details are open."""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    return [{"model.head": head} for head in ("average", "max", "average_max")]
