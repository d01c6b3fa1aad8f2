"""How much do scores differ by chance alone? Other assignments of locations to folds.

Initial values and batches are what `--seeds=0,1,2,3,4` varies, here as in any sweep.
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    return [{"folds.seed": seed} for seed in range(3)]
