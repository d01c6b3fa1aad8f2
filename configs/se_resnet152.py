"""SE-ResNet(152)-rev: 14.6 M parameters. Paper Table 4: 71.12 % (leaderboard).

    asc-jax train --config=configs/se_resnet152.py --config.data.root=FOLDER \
        --workdir=runs/se_resnet152

Hardware, time and score on TUT Urban Acoustic Scenes 2018: not yet run.
"""

import ml_collections

from configs import resnet152


def get_config() -> ml_collections.ConfigDict:
    config = resnet152.get_config()
    config.title = "SE-ResNet(152)-rev"
    config.model.se_ratio = 16  # reduction ratio; paper silent: Hu et al.'s
    return config
