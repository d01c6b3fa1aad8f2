"""The smallest run of `configs/demo.py`: two models of one convolution each on clips of 1 s."""

CONFIG = "configs/demo.py"
WORDS = (
    "--config.data.clip_seconds=1.0",
    "--config.data.n_frames=50",
    "--config.frontend.n_mels=8",
    "--config.model.stage_sizes=(1,)",
    "--config.model.stage_strides=(1,)",
    "--config.model.width=2",
    "--config.folds.n_folds=2",
    "--config.folds.test_fold=0",
    "--config.train.batch_size=8",
)
