"""The pool: clips as arrays that all folds share, the whole data set or what a few steps need."""

import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from asc_jax import frontend as frontend_module
from asc_jax.data import audio, cache, many_files
from asc_jax.data.clips import Dataset
from asc_jax.data.decoding import (
    Decoding,
    answer,
    clip_reader,
    computed_by,
    versions,
    written_in,
)
from asc_jax.frontend import Frontend, frontend_function
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import digest


@flax.struct.dataclass
class Pool:
    """Clips as int16, with a scale and an offset each.

    Attributes:
      values: (clips, N, M) of log-mels or (clips, T) of waveforms, int16; or rows, see `as_rows`.
      scale: (clips,) float32.
      offset: (clips,) float32.
      targets: (clips,) int32 class indices; -1 where a clip has no label.
      shape: of a clip whose values are a row; () where they have it.
      lengths: (clips,) int32 samples that were recorded; those behind are zeros. None where all
        clips are taken whole.
      soft_targets: (clips, K) float32 class probabilities to train on in the place of `targets`;
        None where there are none.
    """

    values: jax.Array
    scale: jax.Array
    offset: jax.Array
    targets: jax.Array
    shape: tuple[int, ...] = flax.struct.field(pytree_node=False, default=())
    lengths: jax.Array | None = None
    soft_targets: jax.Array | None = None


def join(pools: Sequence[Pool]) -> Pool:
    """One host pool of several, one after the other: the first one's clips keep their indices."""
    if len(pools) == 1:
        return pools[0]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pools)


def as_rows(pool: Pool) -> Pool:
    """The pool with a row per clip, as the devices have it.

    A TPU takes rows from where they lie; a pool of maps it would lay out anew in every call.
    """
    values = pool.values
    return pool.replace(values=values.reshape(len(values), -1), shape=values.shape[1:])


def shapes_of_one(decoding: Decoding, *, lengths: bool = False) -> Pool:
    """Shapes of a pool of one clip, with its length or without."""
    shape = (decoding.n_samples,)
    if decoding.kind == "log_mel":
        n_frames, n_mels = frontend_module.feature_shape(decoding.frontend, decoding.n_samples)
        shape = min(n_frames, decoding.n_frames or n_frames), n_mels
    of_one = lambda dtype, *shape: jax.ShapeDtypeStruct((1, *shape), dtype)
    affine = of_one(np.float32)
    pool = Pool(of_one(np.int16, *shape), affine, affine, of_one(np.int32))
    return pool.replace(lengths=of_one(np.int32)) if lengths else pool


def read_clips(pools: Sequence[Pool], clips: np.ndarray, size: int) -> Pool:
    """Some clips of host pools, in memory, without reading the others.

    Args:
      pools: one after the other, as `join` takes them.
      clips: (n,) indices, ascending.
      size: clips of the result, at least n; those beyond are zeros.

    Raises:
      InputError: a cache file is gone, or no longer whole.
    """
    values = np.zeros((size, *pools[0].values.shape[1:]), np.int16)
    scale, offset = np.zeros((2, size), np.float32)
    targets = np.zeros(size, np.int32)
    lengths = None if pools[0].lengths is None else np.zeros(size, np.int32)
    soft = pools[0].soft_targets
    if soft is not None:
        soft = np.zeros((size, soft.shape[1]), np.float32)
    start = 0
    for pool in pools:
        n_clips = len(pool.targets)
        low, high = np.searchsorted(clips, [start, start + n_clips])
        rows = clips[low:high] - start
        cache.read_rows(pool.values, rows, values[low:high])
        scale[low:high], offset[low:high] = pool.scale[rows], pool.offset[rows]
        targets[low:high] = pool.targets[rows]
        if lengths is not None:
            lengths[low:high] = pool.lengths[rows]
        if soft is not None:
            soft[low:high] = pool.soft_targets[rows]
        start += n_clips
    return Pool(values, scale, offset, targets, lengths=lengths, soft_targets=soft)


def take(
    pool: Pool, indices: jax.Array, starts: jax.Array | None = None, size: int = 0
) -> jax.Array:
    """Takes clips, or of waveforms a crop of each.

    Args:
      pool: the pool.
      indices: (B,) which clips.
      starts: (B,) the sample at which each crop begins; None for whole clips.
      size: samples of the crops.

    Returns:
      (B, N, M) log-mels or (B, T) waveforms, float32.
    """
    if starts is None:
        values = pool.values[indices].reshape(-1, *(pool.shape or pool.values.shape[1:]))
    else:
        crop = lambda i, start: jax.lax.dynamic_slice(pool.values, (i, start), (1, size))
        values = jax.vmap(crop)(indices, starts).reshape(-1, size)
    trailing = (1,) * (values.ndim - 1)
    scale = pool.scale[indices].reshape(-1, *trailing)
    offset = pool.offset[indices].reshape(-1, *trailing)
    return values.astype(jnp.float32) * scale + offset


def log_mels(
    pool: Pool,
    indices: jax.Array,
    starts: jax.Array | None = None,
    *,
    frontend: Frontend,
    n_frames: int,
    size: int = 0,
) -> jax.Array:
    """(B,) indices -> (B, N, M) log-mels, computed here if the pool holds waveforms.

    Args:
      pool: the pool.
      indices: which clips.
      starts: see `take`; the frontend hears the crops alone.
      frontend: for a pool of waveforms.
      n_frames: frames kept, from the first; 0 for all.
      size: see `take`.
    """
    values = take(pool, indices, starts, size)
    if values.ndim == 2:
        values = features_of(values, frontend=frontend, n_frames=n_frames)
    return values


def features_of(waveforms: jax.Array, *, frontend: Frontend, n_frames: int) -> jax.Array:
    """(B, T) waveforms -> (B, N, M) log-mels; see `log_mels`."""
    return frontend_function(frontend)(waveforms)[:, : n_frames or None]


class Loaded(NamedTuple):
    """A data set's pool, and its files.

    Attributes:
      pool: on the host.
      seconds: (clips,) how long the audio files are.
      digests: of the audio files, as they were decoded.
    """

    pool: Pool
    seconds: np.ndarray
    digests: tuple[str, ...]


def load_pool(
    dataset: Dataset,
    scene_labels: tuple[str, ...],
    decoding: Decoding,
    *,
    cache_dir: str | pathlib.Path = "",
    workers: int = 0,
    lengths: bool = False,
) -> Loaded:
    """Loads the pool of a data set from the cache, or decodes it into the cache.

    If the cache cannot be written, a line on stderr says so, and the clips stay in memory.

    Args:
      dataset: the clips.
      scene_labels: the classes, in the order of the targets.
      decoding: how its files become clips.
      cache_dir: the folder of caches; "" for the user's cache folder.
      workers: decoding threads; 0 for one per core.
      lengths: also keep the recorded part of each clip, for crops.

    Returns:
      The pool, as numpy arrays (the values memory-mapped), and a description of its files.
      `asc_jax.train.feed` copies its clips to the devices.

    Raises:
      InputError: bad files (all of them named), or labels outside `scene_labels`.
    """
    targets = _targets(dataset, scene_labels)
    paths = [dataset.audio_path(clip) for clip in dataset.clips]
    read, named = clip_reader(decoding), computed_by(decoding)
    settings = {
        "decoding": decoding.key,
        "computed_by": named,
        "versions": versions(),
        # To the last bit, here: of this kind of device, and of all that the question does not show.
        "device": jax.local_devices()[0].device_kind,
        "answer": digest(answer(decoding).tobytes()),
        "files": written_in(),
    }
    made_of = cache.fingerprint(paths, settings)

    def clips() -> Iterator[cache.Clip]:
        all_of_it = lambda path: (*read(path), audio.digest(path))
        return many_files.map_files(all_of_it, paths, workers=workers)

    def loaded(entry: cache.Entry) -> Loaded:
        pool = Pool(entry.values, *entry.affine, targets)
        if lengths:
            pool = pool.replace(lengths=_lengths(entry, decoding))
        return Loaded(pool, entry.seconds, entry.digests)

    if None in named.values():  # nobody could tell its work from another's
        return loaded(cache.in_memory(len(paths), clips()))
    place = pathlib.Path(cache_dir) if cache_dir else cache.default_cache_dir()
    try:
        entry = cache.load(place, made_of) or cache.store(place, made_of, clips())
    except OSError as error:
        print(
            f"{place}: the cache cannot be written ({error.strerror or error}): the decoded "
            "clips stay in memory, and the next run decodes them again; free some space, "
            "or set data.cache_dir to a writable folder",
            file=sys.stderr,
        )
        entry = cache.in_memory(len(paths), clips())
    return loaded(entry)


def _lengths(entry: cache.Entry, decoding: Decoding) -> np.ndarray:
    """(clips,) int32, see `Pool.lengths`: one at least."""
    lengths = np.rint(entry.seconds * decoding.frontend.sr)
    return np.clip(lengths, 1, decoding.n_samples).astype(np.int32)


def _targets(dataset: Dataset, scene_labels: tuple[str, ...]) -> np.ndarray:
    index = {label: k for k, label in enumerate(scene_labels)}
    unknown = {clip.scene_label for clip in dataset.clips} - {"", *scene_labels}
    if unknown:
        raise InputError(
            f"scene_label {sorted(unknown)[0]!r} is not one of the classes "
            f"{', '.join(scene_labels)}; correct meta.csv",
            path=dataset.root,
        )
    return np.array([index.get(clip.scene_label, -1) for clip in dataset.clips], np.int32)
