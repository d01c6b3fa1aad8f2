"""The optimizer of the classifier, out of optax's parts."""

import jax
import numpy as np
import optax

OPTIMIZERS = {
    "adam": optax.scale_by_adam,
    "sgd": lambda: optax.trace(decay=0.9, nesterov=True),
}

# Learning rate over a run of `steps`, from its peak.
SCHEDULES = {
    "constant": lambda lr, steps: optax.constant_schedule(lr),
    "cosine": lambda lr, steps: optax.cosine_decay_schedule(lr, steps),
    "one_cycle": lambda lr, steps: optax.cosine_onecycle_schedule(steps, lr, pct_start=0.3),
}


def make_optimizer(
    *, name: str, lr: float, schedule: str, n_steps: int, weight_decay: float, clip_norm: float
) -> optax.GradientTransformation:
    """Clipping, the optimizer proper, decoupled weight decay, and the learning rate.

    Args:
      name: a key of `OPTIMIZERS`.
      lr: the peak learning rate.
      schedule: a key of `SCHEDULES`.
      n_steps: steps of the whole run.
      weight_decay: per step and unit of learning rate, on kernels only; 0 for none.
      clip_norm: largest global norm of the gradient; 0 for no clipping.

    Returns:
      An optax transformation.
    """
    parts = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    parts.append(OPTIMIZERS[name]())
    if weight_decay:
        parts.append(optax.add_decayed_weights(weight_decay, mask=_kernels))
    parts.append(optax.scale_by_learning_rate(SCHEDULES[schedule](lr, n_steps)))
    return optax.chain(*parts)


def _kernels(params) -> dict:
    """True for kernels, False for biases and for the scales of normalisations."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def zero_state(optimizer: optax.GradientTransformation, params) -> optax.OptState:
    """`optimizer.init(params)` without XLA, which takes seconds to compile so many zeros.

    Every optimizer of `OPTIMIZERS` begins with zeros.
    """
    shapes = jax.eval_shape(optimizer.init, params)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
