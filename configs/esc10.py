"""SE-ResNet(50)-rev on ESC-10: 400 clips of 5 s, 10 classes, the five published folds.

    asc-jax train --config=configs/esc10.py --config.data.root=FOLDER --workdir=runs/esc10

A small real benchmark in the TUT layout. The recipe is ours: the paper's networks with
mixup, time roll and masks, which 320 training clips need. Hardware, time and score: see
docs/reproduction.md.
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    config = resnet50.get_config()
    config.title = "SE-ResNet(50)-rev on ESC-10"
    config.data.clip_seconds = 5.0  # s
    config.data.channels = 1
    config.data.n_frames = 250  # frames; of 251
    config.data.fit_length = True  # 6 of the 400 clips are longer or shorter by 0.05 s or more
    config.frontend.sr = 44_100  # Hz; as recorded
    config.frontend.win_length = 1764  # samples; 40 ms
    config.frontend.hop_length = 882  # samples; 20 ms
    config.folds.kind = "published"
    config.folds.n_folds = 5
    config.model.se_ratio = 16
    config.optimizer.schedule = "one_cycle"
    config.optimizer.lr = 2e-3  # peak
    config.optimizer.weight_decay = 0.05
    config.train.epochs = 60
    config.train.batch_size = 16
    config.augment.mixup_alpha = 0.3
    config.augment.time_roll = 1.0  # any shift: a clip's events may stand anywhere
    config.augment.time_masks = 2
    config.augment.time_mask_frames = 25
    config.augment.mel_masks = 2
    config.augment.mel_mask_bands = 5
    return config
