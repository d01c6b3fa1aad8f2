"""What the folds of a run have in common: the functions that its config names."""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import optax

from asc_jax.augment import make_augment, takes_partners
from asc_jax.config.load import frontend_config
from asc_jax.data import pool
from asc_jax.data.pool import Pool
from asc_jax.runs.inputs import input_shape, make_network
from asc_jax.runtime import functions
from asc_jax.train.losses import make_loss
from asc_jax.train.optimizer import Optimizer, make_optimizer, make_schedule


@dataclasses.dataclass(frozen=True)
class Model:
    """What the folds of a run have in common: the functions that their steps are made of.

    Attributes:
      network: applied to (B, N, M) log-mels; its variables are drawn by its own initialisers.
      optimizer: of a model's hyperparameters; applied to its gradients.
      schedule: step -> the learning rate as a share of its peak, as the optimizer has it.
      features: (pool, indices) -> (B, N, M) log-mels.
      loss: (logits (B, K), targets (B, K), label_smoothing=()) -> (B,).
      augment: (key, log_mel, target, partner_log_mel, partner_target) -> (log_mel, target), of one
        example.
      partners: whether `augment` uses the partners.
      input_shape: (N, M) of a clip.
      n_classes: of the data set, K.
      normalisation: of the clips, of `asc_jax.data.normalisation.KINDS`.
      accumulate: parts of a batch whose gradients are taken one after the other, each normalised
        by its own clips.
    """

    network: nn.Module
    optimizer: Optimizer
    schedule: optax.Schedule
    features: Callable[[Pool, jax.Array], jax.Array]
    loss: Callable[..., jax.Array]
    augment: Callable[..., tuple[jax.Array, jax.Array]]
    partners: bool
    input_shape: tuple[int, int]
    n_classes: int
    normalisation: str = "band"
    accumulate: int = 1


def make_model(config, n_classes: int, n_steps: int) -> Model:
    """The functions that a config names.

    Args:
      config: checked.
      n_classes: of the data set.
      n_steps: of the whole run, for the schedule of the learning rate.

    Raises:
      InputError: a file with a function of the user's own does not run, or lacks it.
    """
    group = config.optimizer
    schedule = make_schedule(
        _own_or_name(group.schedule, "optimizer.schedule"), n_steps, group.warmup
    )
    return Model(
        network=make_network(config, n_classes),
        optimizer=functools.partial(
            make_optimizer,
            name=_own_or_name(group.name, "optimizer.name"),
            share=schedule,
            clip_norm=group.clip_norm,
            fields=group.to_dict(),
        ),
        schedule=schedule,
        features=functools.partial(
            pool.log_mels, frontend=frontend_config(config), n_frames=config.data.n_frames
        ),
        loss=make_loss(config.train.loss),
        augment=make_augment(config.augment),
        partners=takes_partners(config.augment),
        input_shape=input_shape(config),
        n_classes=n_classes,
        normalisation=config.data.normalisation,
        accumulate=config.train.accumulate,
    )


def _own_or_name(name: str, field: str) -> str | Callable:
    """The function that a field names, if it is the user's own."""
    return functions.load(name, field=field) if functions.is_own(name) else name
