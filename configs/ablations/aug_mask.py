r"""SE-ResNet(152)-rev-aug with the bands from 8 kHz on masked, in every clip.

    asc-jax train --config=configs/ablations/aug_mask.py --config.data.root=FOLDER \
        --config.synthetic.root=runs/synthetic --workdir=runs/aug_mask

The question: do generated clips help once no band tells them from recordings? The bands below
8 kHz stay what they are in the row, 9 of 40 are 0; aug_band_limit.py redraws all bands instead.
The control is the same without generated clips: `--config.synthetic.root=`. Two more bands
begin below 8 kHz and end above it, so that a trace of the gap is left in them;
`--config.synthetic.mask_above=7000` masks them too.

Hardware, time and score on TUT Urban Acoustic Scenes 2018: not yet run.
"""

import ml_collections

from configs import se_resnet152_aug


def get_config() -> ml_collections.ConfigDict:
    config = se_resnet152_aug.get_config()
    config.title = "SE-ResNet(152)-rev-aug, bands from 8 kHz masked"
    config.synthetic.mask_above = 8000.0  # Hz; half of WaveGAN's sampling rate
    return config
