"""How many generated clips to train with? The paper adds 1,728, 20 % of its 8,640 (§3)."""

import ml_collections

from configs import se_resnet152_aug


def get_config() -> ml_collections.ConfigDict:
    return se_resnet152_aug.get_config()


def get_settings() -> list[dict]:
    shares = [{"synthetic.share": share} for share in (0.1, 0.3, 0.5)]  # of a fold's examples
    per_class = [{"synthetic.per_class": n_clips} for n_clips in (10, 20)]
    return [{"synthetic.root": ""}, {}, *shares, *per_class]
