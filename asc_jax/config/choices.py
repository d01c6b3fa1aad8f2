"""What a field may name of the rooms above: so that reading a config imports no training.

Where a name stands for a function, the room's own table has the functions, and a test holds the
two together.
"""

OPTIMIZERS = ("adam", "sgd")  # train.optimizer
SCHEDULES = ("constant", "cosine", "one_cycle")
PRECISIONS = ("float32", "bfloat16")  # of the computation, by numpy's names
PLACEMENTS = ("auto", "device", "sharded", "host")  # train.feed
SELECTIONS = ("last", "inner")
NON_FINITE = ("stop", "skip")
ENSEMBLES = ("mean_logits", "mean_probabilities")  # scoring.ensemble
DECISIONS = ("argmax", "threshold")
GAN_LOSSES = ("wgan_gp", "dcgan", "lsgan", "wgan")  # gan.losses
MERGES = ("concatenate", "crossfade")  # gan.segments
SCREENS = ("argmax", "confidence", "margin_band")  # gan.screen
HIGH_BANDS = ("none", "splice")  # gan.bandwidth
