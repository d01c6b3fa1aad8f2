"""SE-ResNet(152)-rev*: 80 mel bands. Paper Table 4: 72.50 % (leaderboard), its best row.

    asc-jax train --config=configs/se_resnet152_mel80.py --config.data.root=FOLDER \
        --workdir=runs/se_resnet152_mel80

Hardware, time and score on TUT Urban Acoustic Scenes 2018: not yet run.
"""

import ml_collections

from configs import se_resnet152


def get_config() -> ml_collections.ConfigDict:
    config = se_resnet152.get_config()
    config.title = "SE-ResNet(152)-rev*"
    config.frontend.n_mels = 80  # bands; paper Table 4
    return config
