"""How do folds become one answer? "Linearly combined", says the paper (§2.5).

The published test part is what ensembles answer for. Both means stand in each run's report.json,
and so does each fold alone. Weights per fold cannot be fitted: outside the test part, which is
scored, no clip is new to two of the models. Weights per run can, on out-of-fold answers, where
each clip is answered by a model that has not seen its location:

    asc-jax report RUN RUN... --ensemble=weighted --out=weighted.html
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    config = resnet50.get_config()
    config.folds.test_fold = 1
    return config


def get_settings() -> list[dict]:
    return [
        {"ensemble.rule": "mean_logits"},
        {"ensemble.rule": "mean_probabilities"},
        {"ensemble.decision": "threshold"},  # the DCASE baseline's
    ]
