"""What of the official baseline's ways matters? Its code says all of them, the paper none."""

import ml_collections

from configs import baseline


def get_config() -> ml_collections.ConfigDict:
    return baseline.get_config()


def get_settings() -> list[dict]:
    return [
        {},
        {"ensemble.decision": "argmax"},
        {"frontend.pad_mode": "reflect"},  # as librosa padded when it was published
        {"train.selection": "last", "train.select_after": 0},
        {"model.dropout_rate": 0.0},
        # As the paper's other rows: an ensemble of four folds.
        {
            "folds.kind": "location",
            "folds.n_folds": 4,
            "folds.test_fold": 1,
            "ensemble.decision": "argmax",
        },
    ]
