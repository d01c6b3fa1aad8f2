"""Names that a field may hold, of functions in folders that import this one.

So reading a config imports no training. The functions are in a table of the folder named beside
each line, and a test compares the two.
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
HIGH_BANDS = ("none", "splice")  # gan.clips
