"""A small SE-ResNet-rev for recordings of one's own: minutes on two CPU cores.

    asc-jax train --config=configs/small.py --config.data.root=FOLDER --workdir=runs/own

Any number of channels and any rate; `asc-jax data check FOLDER` says how long the recordings are.
Of a longer one the first `data.clip_seconds` are heard, a shorter one is filled with zeros. The
score is that of your own recordings, on the folds that hold them out.
"""

import ml_collections

from configs import demo


def get_config() -> ml_collections.ConfigDict:
    config = demo.get_config()
    config.title = "A small SE-ResNet-rev"
    config.data.channels = 0  # any
    config.data.fit_length = True
    config.folds.test_fold = 0  # all recordings are in the folds
    config.augment.time_masks = 2
    config.augment.time_mask_frames = 20
    config.augment.mel_masks = 2
    config.augment.mel_mask_bands = 5
    return config
