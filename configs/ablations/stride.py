"""Where do maps shrink? "Unless noted, the stride is 1", and none is noted: paper Table 1.

The literal stride 1 costs thirteen times as much at 101 convolutions (18.1 GMACs a clip).
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    strides = [(1, 2, 2, 2), (1, 1, 1, 1), (1, 1, 2, 2), (2, 2, 2, 2)]
    return [{"model.stage_strides": stage_strides} for stage_strides in strides]
