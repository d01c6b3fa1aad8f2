"""A small SE-ResNet-rev on four folds of the procedural data set: minutes on two CPU cores.

    asc-jax data synth build/scenes
    asc-jax train --config=configs/demo.py --config.data.root=build/scenes --workdir=runs/scenes

It shows that everything works, and nothing about acoustic scenes.
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    config = resnet50.get_config()
    config.title = "Demo: a small SE-ResNet-rev on procedural scenes"
    config.data.clip_seconds = 4.0  # s
    config.data.n_frames = 200  # frames; of 201
    config.folds.test_fold = 1  # the ensemble is scored on the published test part
    config.model.stage_sizes = (1, 1, 1)  # blocks
    config.model.stage_strides = (1, 2, 2)
    config.model.width = 16
    config.model.se_ratio = 4
    config.optimizer.lr = 2e-3
    config.train.precision = "auto"
    config.train.epochs = 30
    config.train.batch_size = 16
    config.augment.mixup_alpha = 0.2
    config.augment.time_roll = 1.0
    return config
