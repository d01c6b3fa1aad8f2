"""SE-ResNet(152)-rev with a recipe of ours, for TUT Urban Acoustic Scenes 2018.

    asc-jax train --config=configs/se_resnet152_best.py --config.data.root=FOLDER \
        --workdir=runs/se_resnet152_best

What it adds to the paper's row has helped others on this data set and its successors (mixup,
receptive fields: Koutini et al., arXiv:1907.01803; Freq-MixStyle: Kim et al., DCASE 2022). None of
it is tuned. Hardware, time and score: not yet measured.
"""

import ml_collections

from configs import se_resnet152


def get_config() -> ml_collections.ConfigDict:
    config = se_resnet152.get_config()
    config.title = "SE-ResNet(152)-rev, recipe of ours"
    config.frontend.n_mels = 128
    config.model.max_receptive_field = 128  # frames; 2.6 s
    config.model.drop_path_rate = 0.1
    config.model.dropout_rate = 0.3
    config.optimizer.schedule = "one_cycle"
    config.optimizer.weight_decay = 0.01
    config.optimizer.clip_norm = 5.0
    config.train.precision = "auto"
    config.train.epochs = 120
    config.train.validate_every = 10
    config.train.average = "swa"
    config.augment.mixup_alpha = 0.3
    config.augment.time_roll = 1.0
    config.augment.freq_mixstyle_p = 0.4
    return config
