"""Which clips make up each batch: a stream of indices per fold, a function of the seed alone."""

from collections.abc import Sequence

import numpy as np

from asc_jax.data.folds import Split

# Streams of one fold that must not repeat each other.
BATCH_STREAM, PARTNER_STREAM = 0, 1


def steps_per_epoch(splits: Sequence[Split], batch_size: int) -> int:
    """Steps in which the largest fold sees each of its clips once."""
    return -(-max(len(split.train) for split in splits) // batch_size)


def epoch_indices(
    splits: Sequence[Split], *, seed: int, epoch: int, n_steps: int, batch_size: int
) -> np.ndarray:
    """The clips of one epoch's batches, and each one's mixup partner.

    A fold's stream is its training clips shuffled anew in every pass, pass after pass. It
    does not depend on the other folds, nor on how many epochs were run in one go.

    Args:
      splits: one per fold of the program.
      seed: the run's.
      epoch: from 0.
      n_steps: steps of an epoch.
      batch_size: clips per step and fold B.

    Returns:
      (F, n_steps, B, 2) int32 indices into the pool: [..., 0] the clip, [..., 1] its partner.
    """
    per_epoch = n_steps * batch_size
    streams = [
        [
            _stream(split, seed, stream, epoch * per_epoch, per_epoch)
            for stream in (BATCH_STREAM, PARTNER_STREAM)
        ]
        for split in splits
    ]
    indices = np.array(streams, np.int32)  # (F, 2, n_steps * B)
    return np.moveaxis(indices.reshape(len(splits), 2, n_steps, batch_size), 1, -1)


def _stream(split: Split, seed: int, stream: int, start: int, length: int) -> np.ndarray:
    """Entries start to start + length of an endless sequence of shuffled passes."""
    n = len(split.train)
    first, last = start // n, (start + length - 1) // n
    passes = [
        np.random.default_rng([seed, split.fold, stream, number]).permutation(split.train)
        for number in range(first, last + 1)
    ]
    return np.concatenate(passes)[start - first * n :][:length]


def padded_indices(indices: Sequence[np.ndarray], batch_size: int) -> np.ndarray:
    """Lists of clips of any lengths, as equally many whole batches for every fold.

    Args:
      indices: one (n_f,) list per fold.
      batch_size: clips per batch B.

    Returns:
      (F, n_batches, B) int32; beyond a list's end stands -1.
    """
    longest = max(len(one) for one in indices)
    n_batches = max(1, -(-longest // batch_size))
    padded = np.full((len(indices), n_batches * batch_size), -1, np.int32)
    for row, one in zip(padded, indices, strict=True):
        row[: len(one)] = one
    return padded.reshape(len(indices), n_batches, batch_size)
