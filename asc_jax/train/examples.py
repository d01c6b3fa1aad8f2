"""What a network is given: log-mels of a pool's clips, augmented to train on, plain to score."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from asc_jax.data.audio import SILENCE
from asc_jax.data.pool import Pool, take
from asc_jax.models.example_keys import example_keys
from asc_jax.parallel.mesh import DATA
from asc_jax.train.recipe import Model

# What a step's key becomes for crops, waveforms and bands, and for the crops of partners the next
# lower number: beyond every place in a batch, and beyond the classifier's own.
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
    if model.waveforms is None:
        starts = _starts(model, pool, clips, key, 0)
        log_mels = model.features(pool, clips[:, 0], *starts)
        targets = _targets(model, pool, clips, 0)
    else:
        waveforms, targets = _waveforms(model, pool, clips, key)
        log_mels = model.waveforms.features(waveforms)
    if model.bands is not None:
        keys = _keys(key, _BANDS, clips)
        log_mels = jax.vmap(model.bands)(keys, log_mels, _next_of_batch(log_mels))
    inputs = standardise(log_mels)
    keys = example_keys(key, len(clips), DATA)
    others = _next_of_batch(inputs), _next_of_batch(targets)
    return jax.vmap(model.augment)(keys, inputs, targets, *others)


def _waveforms(
    model: Model, pool: Pool, clips: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(B, T) augmented waveforms, those of two clips mixed if there are partners, and targets."""
    size, parts = model.waveforms.reach, []
    for column in (0, -1):  # without partners both are the example
        starts = _starts(model, pool, clips, key, column, size)
        waveforms = take(pool, clips[:, column], *starts, size=size)
        parts += [waveforms, _targets(model, pool, clips, column)]
    return jax.vmap(model.waveforms.augment)(_keys(key, _WAVEFORMS, clips), *parts)


def _keys(key: jax.Array, number: int, clips: jax.Array) -> jax.Array:
    """(B,) keys of the examples, for what has this number."""
    return example_keys(jax.random.fold_in(key, number), len(clips), DATA)


def _next_of_batch(examples: jax.Array) -> jax.Array:
    """(B, ...) each example's next one in the whole batch; the last one's is the first.

    Batches are shuffled: it is any other clip (or the same, where a batch begins another pass), and
    none is read or computed for it.
    """
    n_shards, first = jax.lax.axis_size(DATA), examples[:1]
    if n_shards > 1:  # XLA would keep a collective that sends to itself
        from_next = [((shard + 1) % n_shards, shard) for shard in range(n_shards)]
        first = jax.lax.ppermute(first, DATA, from_next)
    return jnp.concatenate([examples[1:], first])


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
    keys = _keys(key, _CROPS + column, clips)
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
