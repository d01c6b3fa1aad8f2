"""How many residual blocks? The paper's two depths, and two that see less of the clip.

Paper Table 1 prints both depths, and Table 4 has them half a point apart (69.83 and 70.33 %), far
within the noise of 600 clips.
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    depths = [(1, 1, 1, 1), (2, 2, 2, 2), (3, 4, 6, 3), (3, 8, 36, 3)]
    return [{"model.stage_sizes": stage_sizes} for stage_sizes in depths]
