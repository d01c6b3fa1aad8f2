"""Squeeze-and-excitation: none, or by which ratio? The paper names no ratio."""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    return [{"model.se_ratio": ratio} for ratio in (0, 4, 8, 16)]  # 0: none
