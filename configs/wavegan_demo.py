"""A tiny WaveGAN for one scene of the demo: half a minute on two CPU cores.

    make demo

It shows the way from clips to generated clips, and nothing about how good they can be.
"""

import ml_collections

from configs import wavegan


def get_config() -> ml_collections.ConfigDict:
    config = wavegan.get_config()
    config.title = "Demo: a tiny WaveGAN on procedural scenes"
    config.gan.fold = 1
    config.gan.scenes = ("metro",)
    config.gan.unseen_fraction = 0.33  # one location of three
    config.gan.dim = 4
    config.gan.n_samples = 4096  # per segment
    config.gan.n_latent = 16
    config.gan.loss = "lsgan"  # no gradient penalty: compiles in half the time
    config.gan.lr = 5e-4
    config.train.batch_size = 6
    config.train.epochs = 3
    config.train.steps_per_epoch = 100
    config.train.watch_clips = 16
    config.synthesis.n_clips = 8
    config.synthesis.merge = "crossfade"
    config.synthesis.rules = ()  # a tiny GAN may not convince the classifier; see the page
    return config
