"""What does augmenting the log-mels give? The paper does none of it: its question is GANs."""

import ml_collections

from configs import resnet50

MASKS = {
    "augment.time_masks": 2,
    "augment.time_mask_frames": 50,  # 1 s
    "augment.mel_masks": 2,
    "augment.mel_mask_bands": 5,
}


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    return [
        {},
        {"augment.mixup_alpha": 0.3},
        {"augment.time_roll": 1.0},
        MASKS,
        {"augment.mixup_alpha": 0.3, "augment.time_roll": 1.0} | MASKS,
    ]
