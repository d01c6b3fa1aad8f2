"""Does computing in bfloat16 cost accuracy? Parameters, statistics and the loss stay float32."""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    return [{"train.precision": "float32"}, {"train.precision": "bfloat16"}]
