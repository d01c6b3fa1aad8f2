"""Names that a field may hold, of functions in folders that import this one.

So reading a config imports no training. The functions are in a table of the folder named beside
each line, and a test compares the two.
"""

# Fields that may name a function of the user's own.
FUNCTION_FIELDS = (
    "frontend.name",
    "model.name",
    "augment.name",
    "train.loss",
    "optimizer.schedule",
    "optimizer.name",
)

# train.optimizer
OPTIMIZERS = ("adam", "adamw", "nadam", "radam", "lamb", "lion", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "linear", "one_cycle", "steps")
LOSSES = ("cross_entropy",)  # train.losses
CLASS_WEIGHTS = ("none", "balanced")
AUGMENTATIONS = ("standard",)  # augment.make_augment
WRITERS = ("tensorboard", "wandb")  # runs.curves
PRECISIONS = ("auto", "float32", "tensorfloat32", "bfloat16")  # runtime.precision
PLACEMENTS = ("auto", "device", "sharded", "host")  # train.feed
SELECTIONS = ("last", "inner")
AVERAGES = ("none", "ema", "swa")  # train.averaging
NON_FINITE = ("stop", "skip")
ENSEMBLES = ("mean_logits", "mean_probabilities")  # scoring.ensemble
DECISIONS = ("argmax", "threshold")
GAN_LOSSES = ("wgan_gp", "dcgan", "lsgan", "wgan")  # gan.losses
MERGES = ("concatenate", "crossfade")  # gan.segments
SCREENS = ("argmax", "confidence", "margin_band")  # gan.screen
HIGH_BANDS = ("none", "splice")  # gan.clips
