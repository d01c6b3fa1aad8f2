"""ResNet(50)-rev: 33 convolutions, 5.3 M parameters. Paper Table 4: 69.83 % (leaderboard).

    asc-jax train --config=configs/resnet50.py --config.data.root=FOLDER --workdir=runs/resnet50

Hardware, time and score on TUT Urban Acoustic Scenes 2018: not yet run.
"""

import ml_collections

from configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.title = "ResNet(50)-rev"
    config.model = model = ml_collections.ConfigDict()
    model.name = "resnet"
    model.stage_sizes = (3, 4, 6, 3)  # blocks; paper Table 1
    model.stage_strides = (1, 2, 2, 2)  # of first blocks; as Table 1 is printed, 1 in all
    model.width = 32  # channels of the first stage; paper Table 1
    model.block = "basic"  # two 3x3, or "bottleneck"; paper Table 1 (its names suggest the other)
    model.order = "post_activation"  # "post_activation" or "pre_activation"; paper silent
    model.shortcut = "projection"  # "projection" or "zero_pad"; paper silent
    model.se_ratio = 0  # reduction ratio of squeeze-and-excitation (0 for none)
    model.max_receptive_field = 0  # frames (0 for no limit)
    model.head = "average"  # "average", "max" or "average_max", of the last map; paper Table 1
    model.dropout_rate = 0.0  # before the last layer (0 for none); paper silent
    # Probability of dropping the residual branch of the last block in training; it rises linearly
    # over the blocks. 0 for none.
    model.drop_path_rate = 0.0  # paper silent
    model.pcen = False  # trainable PCEN (needs frontend.name="mel", data.normalisation="none")
    model.remat = False  # recompute feature maps for the gradient: less memory, a third more work
    config.train.precision = "float32"  # on any device; paper silent
    return config
