r"""SE-ResNet(152)-rev-aug below 8 kHz: mel bands end where the generated clips' sound ends.

    asc-jax train --config=configs/ablations/aug_band_limit.py --config.data.root=FOLDER \
        --config.synthetic.root=runs/synthetic --workdir=runs/aug_band_limit

The question: do generated clips help once recordings have no wider band than they? All 40 bands
then lie below 8 kHz, more finely than before, so the answer needs its own control, the same
without generated clips: `--config.synthetic.root=`. What is left of the gap is the slope of the
resampling filter, which begins at 7.5 kHz (`--config.frontend.fmax=7500` leaves that out too).

Hardware, time and score on TUT Urban Acoustic Scenes 2018: not yet run.
"""

import ml_collections

from configs import se_resnet152_aug


def get_config() -> ml_collections.ConfigDict:
    config = se_resnet152_aug.get_config()
    config.title = "SE-ResNet(152)-rev-aug, bands below 8 kHz"
    config.frontend.fmax = 8000.0  # Hz; half of WaveGAN's sampling rate
    return config
