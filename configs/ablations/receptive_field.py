"""How much of a clip may a position see? The paper's networks see more than there is of it.

897 frames with 33 convolutions and 2,945 with 101, of 500. Koutini et al. (arXiv:1907.01803) find
that this hurts. From the limit on, kernels are 1x1: depth and channels stay.
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    limits = (0, 57, 97, 193, 385)  # frames; 0: none
    return [{"model.max_receptive_field": limit} for limit in limits]
