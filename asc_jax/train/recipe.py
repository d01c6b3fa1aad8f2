"""The recipe of a run: the functions that the steps of all its folds are made of."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import optax

from asc_jax.data.crops import Crops
from asc_jax.train.averaging import Averaging
from asc_jax.train.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class Waveforms:
    """How a step augments waveforms.

    Attributes:
      augment: (key, waveform, target, partner, partner_target) -> (waveform, target), of one
        example.
      reach: samples of a clip that `augment` takes.
      features: (B, T) waveforms -> (B, N, M) log-mels.
    """

    augment: Callable[..., tuple[jax.Array, jax.Array]]
    reach: int
    features: Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Model:
    """What the folds of a run have in common: the functions that their steps are made of.

    Attributes:
      network: applied to (B, N, M) log-mels; its variables are drawn by its own initialisers.
      optimizer: of a model's hyperparameters; applied to its gradients.
      schedule: step -> the learning rate as a share of its peak, as the optimizer has it.
      features: (pool, clips) -> (B, N, M) log-mels; with a third argument, (B,) where each
        begins, of crops.
      loss: (logits (B, K), targets (B, K), label_smoothing=()) -> (B,).
      augment: (key, log_mel, target, other_log_mel, other_target) -> (log_mel, target), of one
        example and the next of its batch.
      partners: whether a waveform is mixed with that of a partner, a clip of another class.
      input_shape: (N, M) of a clip, or of a crop.
      n_classes: of the data set, K.
      normalisation: of the clips, of `asc_jax.data.normalisation.KINDS`.
      products: how the steps multiply float32, "float32" or "tensorfloat32".
      accumulate: parts of a batch whose gradients are taken one after the other, each normalised
        by its own clips.
      crops: which parts of clips the network hears; None for whole clips.
      balanced: whether the loss is weighted as if each class had as many training clips.
      waveforms: how waveforms are augmented before the frontend; None for not at all.
      averaging: how parameters are averaged over steps; None for not at all.
      bands: (key, log_mel, another of the batch) -> log_mel, of one example before it is
        standardised; None for nothing.
    """

    network: nn.Module
    optimizer: Optimizer
    schedule: optax.Schedule
    features: Callable[..., jax.Array]
    loss: Callable[..., jax.Array]
    augment: Callable[..., tuple[jax.Array, jax.Array]]
    partners: bool
    input_shape: tuple[int, int]
    n_classes: int
    normalisation: str = "band"
    products: str = "float32"
    accumulate: int = 1
    crops: Crops | None = None
    balanced: bool = False
    waveforms: Waveforms | None = None
    averaging: Averaging | None = None
    bands: Callable[..., jax.Array] | None = None
