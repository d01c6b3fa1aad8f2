"""A classifier small enough to train in a test: its functions, and its state before training."""

import functools
from collections.abc import Mapping

import jax

from asc_jax import models
from asc_jax.augment import Augmentation, augment
from asc_jax.data.normalisation import band_moments
from asc_jax.data.pool import log_mels
from asc_jax.frontend import FrontendConfig
from asc_jax.parallel.mesh import DATA, one_device
from asc_jax.train import state
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.losses import cross_entropy
from asc_jax.train.optimizer import make_optimizer, make_schedule
from asc_jax.train.recipe import Model

RECIPE = Hyperparameters(lr=1e-2, weight_decay=0.01, label_smoothing=0.1)

FRONTEND = FrontendConfig(n_mels=16)  # of `small_pool`
PLAIN = Augmentation()


def make_model(
    network, *, optimizer="adam", schedule="cosine", frontend=FRONTEND, n_frames=0,
    shape=(24, 16), augmentation=PLAIN, normalisation="band",
) -> Model:  # fmt: skip
    """The functions of a network, or of a config's `model` group, for the clips of `small_pool`."""
    if isinstance(network, Mapping):
        network = models.build(network, 3, axis_name=DATA)
    share = make_schedule(schedule, n_steps=100)
    if isinstance(optimizer, str):
        how = {"name": optimizer, "share": share, "clip_norm": 1.0}
        optimizer = functools.partial(make_optimizer, **how)
    features = functools.partial(log_mels, frontend=frontend, n_frames=n_frames)
    augmented = functools.partial(augment, cfg=augmentation)
    return Model(
        network,
        optimizer,
        share,
        features,
        cross_entropy,
        augmented,
        augmentation.between_class,
        shape,
        3,
        normalisation,
    )


def init_state(model, splits, pool, *, seed=7, recipe=RECIPE, **how) -> state.ClassifierState:
    """The state of a model per split before training, on the host."""
    members = [(split, seed, recipe) for split in splits]
    moments = band_moments(pool, model.features)
    return jax.device_get(state.init_state(model, members, moments, one_device(), **how))
