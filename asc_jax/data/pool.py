"""The pool: the whole data set on the device, once, shared by all folds."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterator

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from asc_jax.data import audio, cache
from asc_jax.data.clips import Dataset
from asc_jax.errors import InputError
from asc_jax.frontend import FrontendConfig, log_mel

KINDS = ("log_mel", "waveform")

_FRONTEND_BATCH = 16  # clips per call of the frontend while the pool is made


@flax.struct.dataclass
class Pool:
    """Every clip of a data set, as int16 with a scale and an offset per clip.

    Attributes:
      values: (clips, N, M) of log-mels or (clips, T) of waveforms, int16.
      scale: (clips,) float32.
      offset: (clips,) float32.
      targets: (clips,) int32 class indices; -1 where a clip has no label.
    """

    values: jax.Array
    scale: jax.Array
    offset: jax.Array
    targets: jax.Array


def take(pool: Pool, indices: jax.Array) -> jax.Array:
    """(B,) indices -> (B, N, M) log-mels or (B, T) waveforms, float32."""
    trailing = (1,) * (pool.values.ndim - 1)
    scale = pool.scale[indices].reshape(-1, *trailing)
    offset = pool.offset[indices].reshape(-1, *trailing)
    return pool.values[indices].astype(jnp.float32) * scale + offset


def load_pool(
    dataset: Dataset,
    scene_labels: tuple[str, ...],
    *,
    kind: str,
    frontend: FrontendConfig,
    clip_seconds: float,
    n_frames: int,
    channels: int,
    fit_length: bool = False,
    cache_dir: str | pathlib.Path = "",
    workers: int = 0,
) -> Pool:
    """The data set's pool, from the cache if it is there, else decoded into it.

    Args:
      dataset: which clips.
      scene_labels: the classes, in the order of the targets.
      kind: "log_mel", or "waveform" to run the frontend inside the training step.
      frontend: its parameters; for waveforms only `sr` matters.
      clip_seconds: length of every clip, s.
      n_frames: log-mel frames kept, from the first; 0 for all.
      channels: channels that every file must have; 0 for any.
      fit_length: cut or zero-fill clips of another length instead of refusing them.
      cache_dir: where caches live; "" for the user's cache folder.
      workers: decoding threads; 0 for one per core.

    Returns:
      The pool, as host arrays (the values memory-mapped): put it on the devices with
      `jax.device_put`.

    Raises:
      InputError: bad files (all of them named), labels outside `scene_labels`, or a cache
        folder that cannot be written.
    """
    paths = [dataset.audio_path(clip) for clip in dataset.clips]
    n_samples = round(clip_seconds * frontend.sr)
    decoding = {
        "sr": frontend.sr,
        "channels": channels,
        "n_samples": n_samples,
        "fit_length": fit_length,
    }
    settings = {"kind": kind} | decoding
    if kind == "log_mel":
        settings |= {"frontend": dataclasses.asdict(frontend), "n_frames": n_frames}
    made_of = cache.fingerprint(paths, settings)
    cache_dir = pathlib.Path(cache_dir).expanduser() if cache_dir else cache.default_cache_dir()
    opened = cache.load(cache_dir, made_of)
    if opened is None:
        clips = audio.read_clips(paths, **decoding, workers=workers)
        if kind == "log_mel":
            clips = _log_mels(clips, frontend, n_frames)
        opened = cache.store(cache_dir, made_of, clips)
    values, (scale, offset) = opened
    return Pool(values, scale, offset, _targets(dataset, scene_labels))


def _log_mels(
    waveforms: Iterator[np.ndarray], frontend: FrontendConfig, n_frames: int
) -> Iterator[np.ndarray]:
    compute = jax.jit(functools.partial(log_mel, cfg=frontend))
    while batch := list(itertools.islice(waveforms, _FRONTEND_BATCH)):
        log_mels = np.asarray(compute(np.stack(batch)))
        yield from log_mels[:, : n_frames or None]


def _targets(dataset: Dataset, scene_labels: tuple[str, ...]) -> np.ndarray:
    index = {label: k for k, label in enumerate(scene_labels)}
    unknown = {clip.scene_label for clip in dataset.clips} - {"", *scene_labels}
    if unknown:
        raise InputError(
            f"{dataset.root}: scene_label {sorted(unknown)[0]!r} is not one of the classes "
            f"{', '.join(scene_labels)}; correct meta.csv"
        )
    return np.array([index.get(clip.scene_label, -1) for clip in dataset.clips], np.int32)
