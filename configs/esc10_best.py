"""A small SE-ResNet-rev on ESC-10: short crops, between-class mixing, windows in scoring.

    asc-jax train --config=configs/esc10_best.py --config.data.root=FOLDER --workdir=runs/esc10

The recipe is ours; what it rests on, and what has been measured: docs/recipe.md.
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    config = resnet50.get_config()
    config.title = "A small SE-ResNet-rev on ESC-10"
    config.data.clip_seconds = 5.0  # s
    config.data.channels = 1
    config.data.n_frames = 0  # all
    config.data.fit_length = True
    config.data.trim_silence = True  # many clips are filled with zeros
    config.data.pool = "waveform"
    config.frontend.sr = 44_100  # Hz; as recorded
    config.frontend.win_length = 2048  # samples; 46 ms
    config.frontend.hop_length = 441  # samples; 10 ms
    config.frontend.n_mels = 80
    config.frontend.window = "hann"
    config.frontend.power = 2.0
    config.frontend.log_floor = 1e-5
    config.folds.kind = "published"
    config.folds.n_folds = 5
    config.model.stage_sizes = (2, 2, 2)
    config.model.stage_strides = (1, 2, 2)
    config.model.se_ratio = 8
    config.model.dropout_rate = 0.3
    config.optimizer.schedule = "one_cycle"
    config.optimizer.lr = 4e-3  # peak
    config.optimizer.weight_decay = 0.01
    config.optimizer.clip_norm = 5.0
    config.train.epochs = 240
    config.train.batch_size = 64
    config.train.validate_every = 10
    config.train.crop_seconds = 1.6  # s
    config.ensemble.hop_seconds = 0.35
    config.augment.time_scale = 1.25
    config.augment.between_class = True
    config.augment.gain_db = 6.0
    return config
