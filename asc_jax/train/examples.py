"""What a network is given: log-mels of a pool's clips, augmented to train on, plain to score."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from asc_jax.data.audio import SILENCE
from asc_jax.data.pool import Pool, take
from asc_jax.models.example_keys import example_keys
from asc_jax.parallel.mesh import DATA
from asc_jax.train.recipe import Model

# What a step's key becomes for crops, waveforms and bands, and of partners the next lower number:
# beyond every place in a batch, and beyond the classifier's own.
_CROPS, _WAVEFORMS, _BANDS = 2**32 - 3, 2**32 - 5, 2**32 - 7


def training_examples(
    model: Model, standardise: Callable, pool: Pool, clips: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The examples of one fold's share of a batch.

    Args:
      model: the functions of the run.
      standardise: log-mels as the fold's network takes them.
      pool: the clips.
      clips: (B, 2) int32 indices into the pool: each example and its partner; (B, 1) without
        partners.
      key: of the step.

    Returns:
      (B, N, M) float32 and (B, K) float32 class probabilities.
    """
    columns = (0, -1)
    finish = functools.partial(_finished, model, standardise, key)
    if model.waveforms is None:
        inputs = [
            finish(-i, model.features(pool, clips[:, i], *_starts(model, pool, clips, key, i)))
            for i in columns
        ]
        targets = [_targets(model, pool, clips, i) for i in columns]
    else:
        inputs, targets = _from_waveforms(model, finish, pool, clips, key)
    keys = example_keys(key, clips.shape[0], DATA)
    return jax.vmap(model.augment)(keys, inputs[0], targets[0], inputs[1], targets[1])


def _from_waveforms(
    model: Model, finish: Callable, pool: Pool, clips: jax.Array, key: jax.Array
) -> tuple[list[jax.Array], list[jax.Array]]:
    """Log-mels and targets of examples and of their partners, both augmented as waveforms."""
    columns, size = (0, -1), model.waveforms.reach
    waveforms = [
        take(pool, clips[:, i], *_starts(model, pool, clips, key, i, size), size=size)
        for i in columns
    ]
    targets = [_targets(model, pool, clips, i) for i in columns]
    inputs, mixed = [], []
    for number, order in enumerate((slice(None), slice(None, None, -1))):
        (waveform, partner), (target, other) = waveforms[order], targets[order]
        keys = example_keys(jax.random.fold_in(key, _WAVEFORMS - number), len(clips), DATA)
        augmented = jax.vmap(model.waveforms.augment)(keys, waveform, target, partner, other)
        inputs.append(finish(number, model.waveforms.features(augmented[0])))
        mixed.append(augmented[1])
    return inputs, mixed


def _finished(
    model: Model, standardise: Callable, key: jax.Array, number: int, log_mels: jax.Array
) -> jax.Array:
    """(B, N, M) log-mels of examples (0) or of their partners (1), augmented and standardised."""
    if model.bands is not None:
        keys = example_keys(jax.random.fold_in(key, _BANDS - number), len(log_mels), DATA)
        log_mels = jax.vmap(model.bands)(keys, log_mels, _next_of_batch(log_mels))
    return standardise(log_mels)


def _next_of_batch(examples: jax.Array) -> jax.Array:
    """(B, ...) each example's next one in the whole batch; the last one's is the first.

    Batches are shuffled: it is any other one, and no further clip is read or computed for it.
    """
    n_shards = jax.lax.axis_size(DATA)
    from_next = [((shard + 1) % n_shards, shard) for shard in range(n_shards)]
    return jnp.concatenate([examples[1:], jax.lax.ppermute(examples[:1], DATA, from_next)])


def _targets(model: Model, pool: Pool, clips: jax.Array, column: int) -> jax.Array:
    if pool.soft_targets is not None:
        return pool.soft_targets[clips[:, column]]
    return jax.nn.one_hot(pool.targets[clips[:, column]], model.n_classes)


def _starts(
    model: Model, pool: Pool, clips: jax.Array, key: jax.Array, column: int, size: int = 0
) -> tuple[jax.Array, ...]:
    """Where the crops of examples begin, or of their partners; () where clips are heard whole."""
    if model.crops is None:
        return ()
    keys = example_keys(jax.random.fold_in(key, _CROPS + column), len(clips), DATA)
    return (model.crops.at_random(keys, pool.lengths[clips[:, column]], size),)


def scored_windows(
    model: Model, standardise: Callable, pool: Pool, windows: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What a fold's network is given of windows to answer for.

    Args:
      model: the functions of the run.
      standardise: log-mels as the fold's network takes them.
      pool: the clips.
      windows: (B, 2) int32: indices into the pool, and the sample at which each begins.

    Returns:
      (B, N, M) log-mels, and (B,) bool: whether there is a sound.
    """
    clips, starts = windows[:, 0], windows[:, 1]
    waveforms = take(pool, clips, starts, model.crops.size)
    loud = jnp.abs(waveforms).max(axis=-1) >= SILENCE
    return standardise(model.features(pool, clips, starts)), loud
