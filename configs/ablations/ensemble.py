"""How do folds become one answer? "Linearly combined", says the report (§2.5).

The published test part is what ensembles answer for. Both means stand in each run's report.json,
and so does each fold alone; fitted weights can be had from the run's stored logits.
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
