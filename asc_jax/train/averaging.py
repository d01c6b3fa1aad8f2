"""Averaged weights: a network whose parameters are a mean over the steps of training."""

import dataclasses
import math
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Average:
    """The averaged network of one fold.

    Attributes:
      count: () int32, steps whose parameters are in the mean.
      params: the mean.
      untrained: its variables that no gradient trains, by collection: statistics of its own, as
        of the last checkpoint (see `of_batch`); they are not averaged over steps.
    """

    count: jax.Array
    params: dict
    untrained: dict


@dataclasses.dataclass(frozen=True)
class Averaging:
    """Which steps are averaged, and how.

    Attributes:
      decay: weight of a step's parameters against those of the next step; 1 for equal weights.
      after: steps that are not in the mean; until then the averaged network is the trained one.

    Sources: Polyak and Juditsky, SIAM Journal on Control and Optimization 30, 1992; for equal
    weights at the end of training Izmailov et al., arXiv:1803.05407.
    """

    decay: float
    after: int = 0

    def begin(self, params: dict, untrained: dict) -> Average:
        """The average before the first step, which counts for nothing after it."""
        params, untrained = jax.tree.map(jnp.copy, (params, untrained))  # steps consume both
        return Average(jnp.zeros((), jnp.int32), params, untrained)

    def update(self, average: Average, params: dict, step: jax.Array) -> Average:
        """Takes the parameters that a step has made into the mean.

        Args:
          average: before it.
          params: after it.
          step: () int32, steps before it.
        """
        count = jnp.where(step <= self.after, 1, average.count + 1)
        share = self._share(count)
        mix = lambda mean, new: ((1 - share) * mean + share * new).astype(mean.dtype)
        return average.replace(count=count, params=jax.tree.map(mix, average.params, params))

    def _share(self, count: jax.Array) -> jax.Array:
        """The newest parameters' share of a mean over so many steps; 1 of the first.

        The weights decay ** 0, decay ** 1, ... are divided by their sum.
        """
        if self.decay == 1:
            return 1 / count
        log = math.log(self.decay)
        return jnp.expm1(log) / jnp.expm1(log * count)


def make_averaging(group, n_steps: int) -> Averaging | None:
    """What a config's `train` group says; None for no average.

    Args:
      group: checked.
      n_steps: of the whole run.
    """
    if group.average == "none":
        return None
    if group.average == "ema":
        return Averaging(group.ema_decay)
    return Averaging(1.0, round(group.average_after * n_steps))


def of_batch(update: Callable[[dict], dict], before: dict) -> dict:
    """Statistics of a batch alone, out of an update of moving averages, whatever their momentum.

    A moving average keeps a share m of its value and takes 1 - m of the batch's. Another value
    to start from shows m, and so what the batch's is. An update that forgets its start gives it at
    once; one that keeps all of it, as a counter, or is of integers, is taken as it is.

    Args:
      update: variables before a batch -> after it.
      before: the variables, by collection.
    """
    if not jax.tree.leaves(before):  # which no map takes
        return before
    is_real = lambda leaf: jnp.issubdtype(leaf.dtype, jnp.floating)
    # As far off as they are large: a difference of two near numbers would be rounding.
    offset = lambda x: jnp.maximum(1, jnp.abs(x)) if is_real(x) else jnp.zeros_like(x)
    offsets = jax.tree.map(offset, before)
    # Nothing but the averages themselves is computed twice.
    starts = jax.tree.map(lambda x, off: jnp.stack([x, x + off]), before, offsets)

    def forget(x, off, after):
        if not is_real(x):
            return after[0]
        kept = (after[1] - after[0]) / off
        alone = (after[0] - kept * x) / (1 - kept)
        return jnp.where(jnp.abs(kept) < 1 - 1e-4, alone, after[0]).astype(x.dtype)

    return jax.tree.map(forget, before, offsets, jax.vmap(update)(starts))
