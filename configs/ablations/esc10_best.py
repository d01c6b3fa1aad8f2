r"""What does each part of the recipe for ESC-10 give, and what would others add?

    asc-jax sweep --config=configs/ablations/esc10_best.py --config.data.root=FOLDER \
        --workdir=runs/esc10_best_parts --seeds=0,1,2 --together

Asked on folds 1 and 2 and for a quarter of the epochs: folds 3 to 5 are for the score alone.
"""

import ml_collections

from configs import esc10_best

MASKS = {
    "augment.time_masks": 1,
    "augment.time_mask_frames": 20,  # 0.2 s
    "augment.mel_masks": 1,
    "augment.mel_mask_bands": 10,
}


def get_config() -> ml_collections.ConfigDict:
    config = esc10_best.get_config()
    config.folds.n_folds = 2
    config.train.epochs = 60
    config.train.validate_every = 60
    return config


def get_settings() -> list[dict]:
    without = [
        {"augment.between_class": False},
        {"augment.time_scale": 0.0},
        {"augment.gain_db": 0.0},
        {"data.trim_silence": False},
        {"model.dropout_rate": 0.0},
        {"model.se_ratio": 0},
    ]
    others = [
        {"train.average": "ema", "train.ema_decay": 0.995},
        {"train.average": "swa"},
        {"augment.freq_mixstyle_p": 0.4},
        {"model.drop_path_rate": 0.1},
        MASKS,
        {"augment.filter_db": 6.0},
        {"augment.noise_level": 0.1},
        {"model.width": 16},
        {"frontend.n_mels": 128},
        {"train.crop_seconds": 2.4},
    ]
    return [{}, *without, *others]
