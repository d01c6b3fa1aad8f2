"""The official baseline, by its own protocol: published fold 1, one model, no ensemble.

    asc-jax train --config=configs/baseline.py --config.data.root=FOLDER --workdir=runs/baseline

Published: 59.7 ± 0.7 % on fold 1, 62.5 % on the leaderboard (paper Table 4).
Hardware, time and score of this config: not yet run.
Source of every value: DCASE-REPO/dcase2018_baseline, task1.
"""

import ml_collections

from configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.title = "Baseline"
    config.folds.kind = "published"
    config.folds.n_folds = 1
    config.folds.inner_fraction = 0.3  # of the training part, by location
    config.model = model = ml_collections.ConfigDict()
    model.name = "baseline"
    model.dropout_rate = 0.3
    config.optimizer.schedule = "constant"
    config.train.precision = "float32"  # on any device
    config.train.epochs = 200
    config.train.batch_size = 16
    config.train.selection = "inner"  # the best epoch by the inner clips
    config.train.select_after = 50  # epochs
    config.ensemble.decision = "threshold"
    return config
