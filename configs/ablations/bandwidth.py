r"""Do generated clips help once their bandwidth no longer gives them away?

They hold nothing above 8 kHz, by which alone a network can tell them from recordings: 9 of 40 mel
bands begin above it. Either all bands end there, more finely than before (`frontend.fmax`; what is
left of the gap is the resampling filter's slope, from 7.5 kHz on), or the bands that begin above it
are masked in every clip (`synthetic.mask_above`; from 7 kHz on, also the two that reach across).
Each has its own control without generated clips (`synthetic.root` empty).

    asc-jax sweep --config=configs/ablations/bandwidth.py --config.data.root=FOLDER \
        --config.synthetic.root=runs/synthetic --workdir=runs/bandwidth
"""

import ml_collections

from configs import se_resnet152_aug

BANDS = (
    {},
    {"frontend.fmax": 8000.0},  # Hz; half of WaveGAN's sampling rate
    {"frontend.fmax": 7500.0},
    {"synthetic.mask_above": 8000.0},  # Hz
    {"synthetic.mask_above": 7000.0},
)


def get_config() -> ml_collections.ConfigDict:
    return se_resnet152_aug.get_config()


def get_settings() -> list[dict]:
    return [bands | control for bands in BANDS for control in ({}, {"synthetic.root": ""})]
