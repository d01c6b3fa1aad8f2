"""Which clips make up each batch: a stream of indices per fold, a function of the seed alone."""

from collections.abc import Callable, Sequence

import numpy as np

from asc_jax.data.folds import Split

MOST_STEPS_PER_CALL = 32  # a signal is heard, and a loss looked at, between two calls

# Streams of one fold that must not repeat each other, and what each adds for its shuffles of
# the synthetic clips.
BATCH_STREAM, PARTNER_STREAM = 0, 1
_SYNTHETIC = 2
_OTHERS = 4  # beyond the streams of synthetic clips


def pass_sizes(split: Split, share: float) -> tuple[int, int]:
    """Real and synthetic clips in a pass of a fold's stream.

    Args:
      split: the fold.
      share: of the pass that is to be synthetic, below 1, to the nearest whole clip; 0.0 for
        each synthetic clip once.
    """
    n = len(split.train)
    if not share or not len(split.synthetic):
        return n, len(split.synthetic)
    return n, max(1, round(n * share / (1 - share)))


def steps_per_epoch(splits: Sequence[Split], batch_size: int, share: float = 0.0) -> int:
    """Steps in which every fold does at least one pass (see `pass_sizes`), the longest just one.

    Synthetic clips thus make an epoch longer: each real training clip still comes up in it.
    """
    return -(-max(sum(pass_sizes(split, share)) for split in splits) // batch_size)


def class_counts(
    split: Split, targets: np.ndarray, n_classes: int, share: float = 0.0
) -> np.ndarray:
    """(K,) training examples of each class in a pass, of synthetic clips those to be expected.

    Args:
      split: with its synthetic clips, if any.
      targets: (clips,) class indices of the whole pool.
      n_classes: K.
      share: see `pass_sizes`.
    """
    n_synthetic = pass_sizes(split, share)[1]
    counts = np.bincount(targets[split.train], minlength=n_classes).astype(float)
    if n_synthetic:
        generated = np.bincount(targets[split.synthetic], minlength=n_classes)
        counts += n_synthetic * generated / len(split.synthetic)
    return counts


def steps_per_call(n_steps: int, most: int = MOST_STEPS_PER_CALL) -> int:
    """Steps of one dispatch off a CPU, where a config names none.

    They follow one another without the host. A number that divides them all needs one program,
    any other a second one.

    Args:
      n_steps: between two saves.
      most: at most so many.
    """
    numbers = range(most, most // 4, -1)
    return next((one for one in numbers if not n_steps % one), min(n_steps, most))


def epoch_indices(
    splits: Sequence[Split],
    *,
    seed: int | Sequence[int],
    epoch: int,
    n_steps: int,
    batch_size: int,
    share: float = 0.0,
    targets: np.ndarray | None = None,
) -> np.ndarray:
    """The clips of one epoch's batches, and each one's partner to be mixed with.

    A fold's stream is its training clips shuffled anew in every pass, pass after pass; its
    synthetic clips, themselves an endless sequence of shuffled passes, are shuffled in. It
    does not depend on the other folds, nor on how many epochs were run in one go.

    Args:
      splits: one per fold of the program.
      seed: the run's, or one per split.
      epoch: from 0.
      n_steps: steps of an epoch.
      batch_size: clips per step and fold B.
      share: of the entries that are synthetic; see `pass_sizes`.
      targets: (clips,) class indices, for partners of another class; None for no partners.

    Returns:
      (F, n_steps, B, 2) int32 indices into the pool: [..., 0] the clip, [..., 1] its partner;
      (F, n_steps, B, 1) without partners.
    """
    per_epoch = n_steps * batch_size
    seeds = np.broadcast_to(seed, len(splits)).tolist()
    streams = [
        [
            _stream(split, seed, stream, epoch * per_epoch, per_epoch, share)
            for stream in ((BATCH_STREAM,) if targets is None else (BATCH_STREAM, PARTNER_STREAM))
        ]
        for split, seed in zip(splits, seeds, strict=True)
    ]
    indices = np.array(streams, np.int32)  # (F, 2 or 1, n_steps * B)
    if targets is not None:
        for split, seed, (clips, others) in zip(splits, seeds, indices, strict=True):
            _of_other_classes(clips, others, targets, split, (seed, split.fold, _OTHERS, epoch))
    return np.moveaxis(indices.reshape(len(splits), -1, n_steps, batch_size), 1, -1)


def _of_other_classes(
    clips: np.ndarray,
    partners: np.ndarray,
    targets: np.ndarray,
    split: Split,
    key: tuple[int, ...],
) -> None:
    """Draws a training clip in the place of each partner (n,) of the class of its clip (n,)."""
    rng = np.random.default_rng(key)
    alike = targets[clips] == targets[partners]
    for label in np.unique(targets[clips[alike]]):
        places = np.flatnonzero(alike & (targets[clips] == label))
        others = split.train[targets[split.train] != label]
        partners[places] = rng.choice(others, len(places))


def answer() -> np.ndarray:
    """The batches of three epochs of a fold that is always the same; see `provenance`."""
    recorded, generated = np.split(np.arange(26, dtype=np.int32), [20])
    none = np.array([], np.int32)
    fold = Split(1, recorded, none, none, generated)
    targets = np.arange(26) % 3
    sizes = {"n_steps": 3, "batch_size": 5, "share": 0.2, "targets": targets}
    return np.stack([epoch_indices([fold], seed=0, epoch=epoch, **sizes) for epoch in range(3)])


def _stream(
    split: Split, seed: int, stream: int, start: int, length: int, share: float
) -> np.ndarray:
    """Entries start to start + length of a fold's stream."""
    n_real, n_synthetic = pass_sizes(split, share)

    def mixed_pass(number: int) -> np.ndarray:
        if not n_synthetic:
            return split.train
        key = (seed, split.fold, stream + _SYNTHETIC)
        first = number * n_synthetic
        drawn = _shuffled(lambda _: split.synthetic, key, len(split.synthetic), first, n_synthetic)
        return np.concatenate([split.train, drawn])

    return _shuffled(mixed_pass, (seed, split.fold, stream), n_real + n_synthetic, start, length)


def _shuffled(
    clips_of_pass: Callable[[int], np.ndarray],
    key: tuple[int, ...],
    n: int,
    start: int,
    length: int,
) -> np.ndarray:
    """Entries start to start + length of an endless sequence of passes, each n clips shuffled."""
    first, last = start // n, (start + length - 1) // n
    passes = [
        np.random.default_rng([*key, number]).permutation(clips_of_pass(number))
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
