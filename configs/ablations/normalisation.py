"""What are log-mels standardised by? The paper is silent; the DCASE baseline does it per band.

An augmentation's masks are 0 in all of them, which is the mean in all but the last.
"""

import ml_collections

from configs import resnet50


def get_config() -> ml_collections.ConfigDict:
    return resnet50.get_config()


def get_settings() -> list[dict]:
    return [{"data.normalisation": kind} for kind in ("band", "global", "clip", "none")]
