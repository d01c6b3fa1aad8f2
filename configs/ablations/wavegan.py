r"""Which WaveGAN? Its d, loss, conditioning and steps are unstated.

    asc-jax sweep --config=configs/ablations/wavegan.py --workdir=runs/wavegan_settings \
        --config.gan.classifier=runs/se_resnet152

Each setting trains its GANs and synthesises clips. What they are worth to a classifier is asked of
those clips: `--config.synthetic.root=runs/wavegan_settings/SETTING/seed0/clips`.
"""

import ml_collections

from configs import wavegan


def get_config() -> ml_collections.ConfigDict:
    return wavegan.get_config()


def get_settings() -> list[dict]:
    return [
        {},
        {"gan.conditional": True},  # one for all scenes
        {"gan.dim": 32},
        {"gan.loss": "dcgan"},
        {"gan.loss": "lsgan"},
        {"gan.loss": "wgan"},
        {"gan.upsample": "nearest"},
        {"gan.phase_shuffle": 0},
        {"gan.shuffle": "per_example"},
        {"gan.unseen_fraction": 0.1},  # more clips to learn from
        {"train.epochs": 50},
    ]
