"""The numbers of a recipe that a step reads from its state.

Models that differ in nothing else are one program, on the axis of the folds.
"""

import flax.struct
import jax


@flax.struct.dataclass
class Hyperparameters:
    """One model's.

    Attributes:
      lr: () float32, the peak learning rate.
      weight_decay: () float32, per step and unit of learning rate, on kernels only.
      label_smoothing: () float32, share of each target that is spread evenly over the classes.
    """

    lr: jax.typing.ArrayLike
    weight_decay: jax.typing.ArrayLike = 0.0
    label_smoothing: jax.typing.ArrayLike = 0.0


def of_config(config) -> Hyperparameters:
    """Those of a config; `asc_jax.config.SEPARATE_FIELDS` names their fields."""
    return Hyperparameters(
        lr=config.optimizer.lr,
        weight_decay=config.optimizer.weight_decay,
        label_smoothing=config.train.label_smoothing,
    )
