"""The optimizer of the classifier, out of optax's parts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from asc_jax.ops.global_norm import global_norm
from asc_jax.train.hyperparameters import Hyperparameters

# What a step's optimizer is before it knows its model's hyperparameters.
Optimizer = Callable[[Hyperparameters], optax.GradientTransformation]

OPTIMIZERS = {
    "adam": optax.scale_by_adam,
    "sgd": lambda: optax.trace(decay=0.9, nesterov=True),
}

# Learning rate over a run of `steps`, as a share of its peak.
SCHEDULES = {
    "constant": lambda steps: optax.constant_schedule(1.0),
    "cosine": lambda steps: optax.cosine_decay_schedule(1.0, steps),
    "one_cycle": lambda steps: optax.cosine_onecycle_schedule(steps, 1.0, pct_start=0.3),
}


def make_optimizer(
    hyperparameters: Hyperparameters, *, name: str, schedule: str, n_steps: int, clip_norm: float
) -> optax.GradientTransformation:
    """Clipping, the optimizer proper, decoupled weight decay, and the learning rate.

    Args:
      hyperparameters: the model's; they may be traced.
      name: a key of `OPTIMIZERS`.
      schedule: a key of `SCHEDULES`.
      n_steps: steps of the whole run.
      clip_norm: largest global norm of the gradient; 0 for no clipping.

    Returns:
      An optax transformation.
    """
    parts = [_clip_by_global_norm(clip_norm)] if clip_norm else []
    return optax.chain(
        *parts,
        OPTIMIZERS[name](),
        optax.add_decayed_weights(hyperparameters.weight_decay, mask=_kernels),
        optax.scale_by_schedule(SCHEDULES[schedule](n_steps)),
        optax.scale_by_learning_rate(hyperparameters.lr),
    )


def _clip_by_global_norm(largest: float) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm`, with the norm that the step computes anyway."""

    def clip(gradients, params):
        factor = jnp.minimum(1, largest / global_norm(gradients))
        return jax.tree.map(lambda gradient: gradient * factor, gradients)

    return optax.stateless(clip)


def _kernels(params) -> dict:
    """True for kernels, False for biases and for the scales of normalisations."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
