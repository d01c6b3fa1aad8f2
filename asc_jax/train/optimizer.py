"""The optimizer of the classifier, out of optax's parts."""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp
import optax

from asc_jax.ops.global_norm import global_norm
from asc_jax.train.hyperparameters import Hyperparameters

# What a step's optimizer is before it knows its model's hyperparameters.
Optimizer = Callable[[Hyperparameters], optax.GradientTransformation]

# A step of an optimizer but for its length. Weight decay is decoupled from it: with one, Adam is
# AdamW.
OPTIMIZERS = {
    "adam": optax.scale_by_adam,
    "adamw": optax.scale_by_adam,
    "nadam": functools.partial(optax.scale_by_adam, nesterov=True),
    "radam": optax.scale_by_radam,
    "lamb": optax.scale_by_adam,
    "lion": optax.scale_by_lion,
    "rmsprop": optax.scale_by_rms,
    "sgd": functools.partial(optax.trace, decay=0.9, nesterov=True),
}

# Learning rate over `steps`, as a share of its peak.
SCHEDULES = {
    "constant": lambda steps: optax.constant_schedule(1.0),
    "cosine": lambda steps: optax.cosine_decay_schedule(1.0, steps),
    "linear": lambda steps: optax.linear_schedule(1.0, 0.0, steps),
    "one_cycle": lambda steps: optax.cosine_onecycle_schedule(steps, 1.0, pct_start=0.3),
    "steps": lambda steps, drops=(), factor=0.1: optax.join_schedules(
        [optax.constant_schedule(factor**i) for i in range(len(drops) + 1)], list(drops)
    ),
}


def make_optimizer(
    hyperparameters: Hyperparameters,
    *,
    name: str | Callable,
    share: optax.Schedule,
    clip_norm: float,
    momentum: float = 0.9,
    fields: Mapping[str, object] = MappingProxyType({}),
) -> optax.GradientTransformation:
    """Clipping, the optimizer proper, decoupled weight decay, and the learning rate.

    Args:
      hyperparameters: the model's; they may be traced.
      name: a key of `OPTIMIZERS`, or a function (learning rate of a step, the config's
        `optimizer` group) -> transformation, which has its own way with weight decay.
      share: step -> learning rate as a share of its peak; see `make_schedule`.
      clip_norm: largest global norm of the gradient; 0 for no clipping.
      momentum: of "sgd".
      fields: the config's `optimizer` group, for a function.

    Returns:
      An optax transformation.
    """
    parts = [_clip_by_global_norm(clip_norm)] if clip_norm else []
    if callable(name):
        own = fields | {"lr": hyperparameters.lr, "weight_decay": hyperparameters.weight_decay}
        return optax.chain(*parts, name(lambda step: share(step) * hyperparameters.lr, own))
    after = [optax.scale_by_trust_ratio()] if name == "lamb" else []
    return optax.chain(
        *parts,
        OPTIMIZERS[name](**({"decay": momentum} if name == "sgd" else {})),
        optax.add_decayed_weights(hyperparameters.weight_decay, mask=_kernels),
        *after,
        optax.scale_by_schedule(share),
        optax.scale_by_learning_rate(hyperparameters.lr),
    )


def make_schedule(
    schedule: str | Callable,
    n_steps: int,
    warmup: float = 0.0,
    *,
    drops: Sequence[float] = (),
    drop_factor: float = 0.1,
) -> optax.Schedule:
    """Makes the learning rate by step, as a share of its peak.

    Args:
      schedule: a key of `SCHEDULES`, or a function (step, n_steps) -> share of the peak.
      n_steps: of the whole run.
      warmup: share of the run in which the rate first rises evenly from 0 to its peak.
      drops: of "steps": shares of the run after which the rate falls, ascending.
      drop_factor: that the rate is then multiplied by.
    """
    n_warmup = round(warmup * n_steps)
    left = max(1, n_steps - n_warmup)
    if callable(schedule):
        share = functools.partial(schedule, n_steps=left)
    elif schedule == "steps":
        after_warmup = [round(drop * n_steps) - n_warmup for drop in drops]
        share = SCHEDULES[schedule](left, after_warmup, drop_factor)
    else:
        share = SCHEDULES[schedule](left)
    if not n_warmup:
        return share
    return optax.join_schedules([optax.linear_schedule(0.0, 1.0, n_warmup), share], [n_warmup])


def _clip_by_global_norm(largest: float) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm`, with the norm that the step computes anyway."""

    def clip(gradients, params):
        factor = jnp.minimum(1, largest / global_norm(gradients))
        return jax.tree.map(lambda gradient: gradient * factor, gradients)

    return optax.stateless(clip)


def _kernels(params) -> dict:
    """True for kernels, False for biases and for the scales of normalisations."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
