"""How many mel bands? The paper's best row has 80, all others 40."""

import ml_collections

from configs import se_resnet152


def get_config() -> ml_collections.ConfigDict:
    return se_resnet152.get_config()


def get_settings() -> list[dict]:
    return [{"frontend.n_mels": n_mels} for n_mels in (40, 64, 80, 128)]
