"""The numbers of a recipe that a step reads from its state.

Models that differ in nothing else are one program, on the axis of the folds.
"""

import flax.struct
import jax


@flax.struct.dataclass
class Hyperparameters:
    """One model's; `asc_jax.config.load.PER_MODEL_FIELDS` has them by these names, beside the seed.

    Attributes:
      lr: () float32, the peak learning rate.
      weight_decay: () float32, per step and unit of learning rate, on kernels only.
      label_smoothing: () float32, share of each target that is spread evenly over the classes.
    """

    lr: jax.typing.ArrayLike
    weight_decay: jax.typing.ArrayLike = 0.0
    label_smoothing: jax.typing.ArrayLike = 0.0
