"""A small SE-ResNet-rev for your own recordings: minutes on two CPU cores.

    asc-jax train --config=configs/small.py --config.data.root=FOLDER --workdir=runs/own
    asc-jax evaluate --workdir=runs/own

Recordings may have any number of channels, any rate, and any length up to `data.clip_seconds`. The
network is trained on crops of `train.crop_seconds`, drawn anew in each epoch, and scored on windows
of that length over whole recordings. The score is for your recordings, each by a fold that held it
out. A final model is then trained on all of them and has no score of its own:

    asc-jax train --config=configs/small.py --config.folds.kind=all \\
        --config.data.root=FOLDER --workdir=runs/final
"""

import ml_collections

from configs import demo


def get_config() -> ml_collections.ConfigDict:
    config = demo.get_config()
    config.title = "A small SE-ResNet-rev"
    config.data.clip_seconds = 30.0  # s; longer recordings are cut, with a message
    config.data.channels = 0  # any
    config.data.fit_length = True
    config.data.pool = "waveform"
    config.folds.n_folds = 0  # up to 4, as many as the locations of each class allow
    config.folds.test_fold = 0  # all recordings are in the folds
    config.train.crop_seconds = 3.0  # s
    config.train.class_weights = "balanced"
    config.augment.time_masks = 2
    config.augment.time_mask_frames = 15
    config.augment.mel_masks = 2
    config.augment.mel_mask_bands = 5
    return config
