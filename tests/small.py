"""The smallest run of `configs/demo.py`: two models of one convolution each on clips of 1 s."""

import pathlib

import ml_collections
from checkout import CONFIGS

from asc_jax.config.load import load_config

CONFIG = "configs/demo.py"
WORDS = (
    "--config.data.clip_seconds=1.0",
    "--config.data.n_frames=50",
    "--config.frontend.n_mels=8",
    "--config.model.stage_sizes=(1,)",
    "--config.model.stage_strides=(1,)",
    "--config.model.width=2",
    "--config.model.se_ratio=0",
    "--config.augment.mixup_alpha=0.0",
    "--config.folds.n_folds=2",
    "--config.folds.test_fold=0",
    "--config.train.batch_size=8",
)


def words(root: pathlib.Path, *fields: str) -> list[str]:
    """The run on a data set as a command has it, and fields of its own, "FIELD=VALUE" each."""
    return [f"--config.data.root={root}", *WORDS, *(f"--config.{field}" for field in fields)]


def config(root: pathlib.Path, *fields: str) -> ml_collections.FrozenConfigDict:
    """The same as its config."""
    return load_config(CONFIGS / "demo.py", words(root, *fields))
