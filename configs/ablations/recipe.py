"""How to train? "Adam and categorical cross-entropy" is all that the paper says (§4.2)."""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    return [
        {},
        {"optimizer.lr": 3e-4},
        {"optimizer.lr": 3e-3},
        {"optimizer.schedule": "constant"},
        {"optimizer.schedule": "one_cycle"},
        {"optimizer.weight_decay": 0.05},
        {"optimizer.clip_norm": 1.0},
        {"train.label_smoothing": 0.1},
        {"model.dropout_rate": 0.3},  # before the last layer; the DCASE baseline's rate
        {"train.batch_size": 16},
        {"train.batch_size": 64},
    ]
