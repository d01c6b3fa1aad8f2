r"""Squeeze-and-excitation and mel bands on a small real benchmark.

    asc-jax sweep --config=configs/ablations/esc10.py --config.data.root=FOLDER \
        --workdir=runs/esc10_settings --seeds=0,1,2
"""

import ml_collections

from configs import esc10


def get_config() -> ml_collections.ConfigDict:
    return esc10.get_config()


def get_settings() -> list[dict]:
    return [{}, {"model.se_ratio": 0}, {"frontend.n_mels": 80}]
