"""A WaveGAN per scene, for one fold of a trained classifier. Paper §3, Tables 2 and 3.

    asc-jax gan --config=configs/wavegan.py --config.gan.classifier=runs/se_resnet152 \
        --workdir=runs/wavegan

Every device holds all waveforms: `data.placement` is only for classifiers.

Not yet run on TUT Urban Acoustic Scenes 2018.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.title = "WaveGAN"
    config.seed = 0  # for initial values, batches, latent vectors

    config.data = data = ml_collections.ConfigDict()
    data.root = ""  # folder of the development set ("" for the classifier's)
    data.cache_dir = ""  # decoded data ("" for the user's cache folder)
    data.workers = 0  # decoding threads (0 for one per core)

    config.gan = gan = ml_collections.ConfigDict()
    gan.classifier = ""  # run folder for whose folds clips are generated; must be given
    gan.fold = 1  # the fold whose training clips are used (0 for all folds in one program)
    gan.scenes = ()  # scene labels (() for all)
    gan.conditional = False  # one class-conditional GAN per fold; paper silent: one per scene
    gan.unseen_fraction = 0.2  # share of the fold's training locations kept for comparison
    gan.sr = 16_000  # Hz; paper §2.1
    gan.dim = 64  # d, channels; paper silent: WaveGAN's
    gan.n_samples = 32_768  # samples of a segment; paper Table 2
    gan.n_latent = 200  # Z, latent numbers; paper Table 2
    gan.upsample = "transposed"  # "transposed" or "nearest"; paper Table 2
    gan.phase_shuffle = 2  # frames; paper Table 3
    gan.shuffle = "per_batch"  # "per_batch" or "per_example"; WaveGAN's
    gan.loss = "wgan_gp"  # "wgan_gp", "dcgan", "lsgan" or "wgan"; paper silent: WaveGAN's
    gan.lr = 0.0  # learning rate of both networks (0 for the loss's own: 1e-4 for wgan_gp)

    config.train = train = ml_collections.ConfigDict()
    train.epochs = 200  # of steps_per_epoch; paper silent: WaveGAN's users train 200,000 steps
    train.steps_per_epoch = 1000  # updates of the generator between two evaluations
    train.batch_size = 64  # windows per update and GAN; WaveGAN's
    # "float32", "tensorfloat32", "bfloat16" or "auto": see default.py.
    train.precision = "float32"  # WaveGAN's
    train.mesh = ()  # devices along GANs and along a batch (() for the largest mesh that fits)
    train.watch_clips = 64  # clips generated per GAN in each evaluation
    train.save_every = 0  # steps between saves within an epoch (0: only at the ends of epochs)
    train.keep_checkpoints = 2  # number of the newest kept on disk
    train.writers = ()  # for curves, besides metrics.csv: "tensorboard", "wandb"

    config.synthesis = synthesis = ml_collections.ConfigDict()
    synthesis.n_clips = 432  # per fold, all scenes together; paper §3: 1,728 of four folds
    synthesis.merge = "concatenate"  # of segments, "concatenate" or "crossfade"; paper §3
    # Run folder of the classifier that screens, with the same folds. "" for gan.classifier.
    synthesis.classifier = ""  # paper §1: "either an ResNet- or an SE-ResNet-based" one
    # Conditions that all must hold for a clip: "argmax", "confidence", "margin_band".
    synthesis.rules = ("argmax",)  # paper §1
    synthesis.threshold = 0.5  # least probability of the scene, for "confidence"
    synthesis.margin_low = 0.0  # logits, for "margin_band"
    synthesis.margin_high = 10.0  # logits
    synthesis.most_tries = 50.0  # clips generated per clip wanted before a scene is given up
    synthesis.high_band = "none"  # content above gan.sr / 2, or "splice": that of a recorded clip
    return config
