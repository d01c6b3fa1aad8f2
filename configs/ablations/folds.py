"""What is a leak of locations worth, and how many folds?

The paper says "4 folds" and, of each, "the nine remaining folds": four, or ten.

At random, models know the places that they are scored on. Every setting is also scored on the
published test part, whose locations none of them has seen: what a leak adds is the difference
between its out-of-fold score and that of `folds.kind=location`, and the test part shows that the
models are no better for it.
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    config = resnet50.get_config()
    config.folds.test_fold = 1
    return config


def get_settings() -> list[dict]:
    kinds = [{"folds.kind": kind} for kind in ("location", "random")]
    return kinds + [{"folds.n_folds": n_folds} for n_folds in (2, 8, 10)]
