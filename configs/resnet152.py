"""ResNet(152)-rev: 101 convolutions, 14.5 M parameters. Paper Table 4: 70.33 % (leaderboard).

    asc-jax train --config=configs/resnet152.py --config.data.root=FOLDER --workdir=runs/resnet152

Hardware, time and score on TUT Urban Acoustic Scenes 2018: not yet run.
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    config = resnet50.get_config()
    config.title = "ResNet(152)-rev"
    config.model.stage_sizes = (3, 8, 36, 3)  # blocks; paper Table 1: 2945 frames seen
    return config
