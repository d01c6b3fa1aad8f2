r"""Which generated clips are kept, and how do segments become a clip? Paper §1 and §3.

"Chosen if it is correctly classified", says the paper, by "either an ResNet- or an
SE-ResNet-based classifier". Settings share one training of the GANs. The last one is screened by a
ResNet(152)-rev of the same folds, which is trained beforehand:

    asc-jax train --config=configs/resnet152.py --config.data.root=FOLDER --workdir=runs/resnet152
    asc-jax sweep --config=configs/ablations/screening.py --workdir=runs/screening \
        --config.gan.classifier=runs/se_resnet152
"""

import ml_collections

from configs import wavegan


def get_config() -> ml_collections.ConfigDict:
    return wavegan.get_config()


def get_settings() -> list[dict]:
    return [
        {},
        {"synthesis.rules": ()},  # all of them
        {"synthesis.rules": ("argmax", "confidence"), "synthesis.threshold": 0.9},
        {"synthesis.rules": ("margin_band",), "synthesis.margin_high": 5.0},
        {"synthesis.merge": "crossfade"},
        {"synthesis.high_band": "splice"},
        {"synthesis.n_clips": 216},  # per fold; half of the paper's
        {"synthesis.classifier": "runs/resnet152"},
    ]
