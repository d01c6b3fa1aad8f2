r"""SE-ResNet(152)-rev-aug: WaveGAN's clips as well. Paper Table 4: 70.50 % (leaderboard).

    for fold in 1 2 3 4; do
      asc-jax gan --config=configs/wavegan.py --config.gan.classifier=runs/se_resnet152 \
          --config.gan.fold=$fold --workdir=runs/wavegan$fold
      asc-jax synthesize --workdir=runs/wavegan$fold --out=runs/synthetic
    done
    asc-jax train --config=configs/se_resnet152_aug.py --config.data.root=FOLDER \
        --config.synthetic.root=runs/synthetic --workdir=runs/se_resnet152_aug

It asks whether clips that a GAN has learnt from a fold's own training clips help that fold; the
answer without them is configs/se_resnet152.py. Generated clips hold nothing above 8 kHz, by which
alone a network can tell them from recordings: configs/ablations/bandwidth.py asks what that does.

Hardware, time and score on TUT Urban Acoustic Scenes 2018: not yet run.
"""

import ml_collections

from configs import se_resnet152


def get_config() -> ml_collections.ConfigDict:
    config = se_resnet152.get_config()
    config.title = "SE-ResNet(152)-rev-aug"
    # No default of "": the row must not train without, unasked. 1,728 of four folds: paper §3.
    config.synthetic.root = "runs/synthetic"
    config.synthetic.share = 0.0  # share of clips; paper silent: each once per epoch
    return config
