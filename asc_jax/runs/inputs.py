"""What a config's fields name: its data set and splits, synthetic clips, pool and network."""

import contextlib
import dataclasses
import pathlib

import flax.linen as nn
import ml_collections
import numpy as np

from asc_jax import models
from asc_jax.config.load import changeable, frontend_config
from asc_jax.data import cache
from asc_jax.data.audio import LENGTH_TOLERANCE_S
from asc_jax.data.clips import Dataset, read_dataset
from asc_jax.data.crops import Crops
from asc_jax.data.decoding import Decoding
from asc_jax.data.folds import Split, make_splits
from asc_jax.data.generated import Synthetic, add_to_splits, read_manifest
from asc_jax.data.pool import Loaded, Pool, load_pool
from asc_jax.data.responses import read_responses
from asc_jax.frontend import feature_shape
from asc_jax.parallel.agreement import read_by_first
from asc_jax.parallel.mesh import DATA
from asc_jax.runtime import precision
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json
from asc_jax.runtime.functions import is_own


def read_data(config) -> tuple[Dataset, tuple[Split, ...], np.ndarray]:
    """The config's data set, its splits and its labelled test clips (maybe none).

    Raises:
      InputError: as `read_dataset` and `make_splits`.
    """
    if not config.data.root:
        raise InputError(
            "not set; add --config.data.root=FOLDER, a folder with a folder of recordings for each "
            "class, or with meta.csv and audio/ (asc-jax data download fetches TUT's, asc-jax data "
            "synth FOLDER writes a small one)",
            field="data.root",
        )
    dataset = read_dataset(config.data.root)
    splits, test = make_splits(
        dataset,
        kind=config.folds.kind,
        n_folds=config.folds.n_folds,
        seed=config.folds.seed,
        test_fold=config.folds.test_fold,
        inner_fraction=config.folds.inner_fraction,
    )
    smallest = min(splits, key=lambda split: len(split.train))
    if config.train.batch_size > len(smallest.train):
        raise InputError(
            f"fold {smallest.fold} has only {len(smallest.train)} training clips; use at most that",
            field="train.batch_size",
            value=config.train.batch_size,
        )
    return dataset, splits, test


def sets_beside(config) -> dict[str, str]:
    """The roots of the sets that a config names beside its development set, by their names."""
    roots = {"leaderboard": config.data.leaderboard_root, "evaluation": config.data.evaluation_root}
    return {name: root for name, root in roots.items() if root}


def read_synthetic(config, dataset: Dataset, splits: tuple[Split, ...]) -> Synthetic | None:
    """The config's synthetic clips, or None if it names none.

    Raises:
      InputError: as `asc_jax.data.generated.read_manifest`.
    """
    group = config.synthetic
    if not group.root:
        return None
    return read_manifest(group.root, dataset, splits, per_class=group.per_class)


def impulse_folder(config) -> str:
    """Where the impulse responses lie that a config augments by; "" if it does not."""
    group = config.augment
    return "" if is_own(group.name) else group.impulse_responses


def read_impulse_responses(config) -> np.ndarray | None:
    """The impulse responses that a config augments by, or None if it names none.

    Raises:
      InputError: as `asc_jax.data.responses.read_responses`.
    """
    folder = impulse_folder(config)
    return read_responses(folder, config.frontend.sr) if folder else None


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips that a run learns from, decoded, on the host.

    Attributes:
      dataset: the development set.
      splits: of its folds, whose training clips include synthetic ones.
      test: (n,) indices of labelled clips that no fold trains on.
      decoding: of its files.
      pools: of the recorded clips, and of the synthetic ones behind them.
      seconds: of the recorded clips' audio files, how long they are.
      digests: of all audio files, in the order of the pools.
    """

    dataset: Dataset
    splits: tuple[Split, ...]
    test: np.ndarray
    decoding: Decoding
    pools: tuple[Pool, ...]
    seconds: np.ndarray
    digests: tuple[str, ...]


def decode(
    config,
    dataset: Dataset,
    splits: tuple[Split, ...],
    test: np.ndarray,
    synthetic: Synthetic | None = None,
) -> Clips:
    """Decodes a run's clips, or finds them decoded.

    Args:
      config: checked.
      dataset: and what follows: from `read_data`.
      splits: one per fold.
      test: indices of the test clips.
      synthetic: clips to train on as well, from `read_synthetic`.

    Raises:
      InputError: bad audio files, all of them named.
    """
    loaded = [read_pool(config, dataset, dataset.scene_labels)]
    if synthetic is not None:
        splits = add_to_splits(splits, synthetic, len(dataset.clips))
        loaded.append(read_pool(config, synthetic.dataset, dataset.scene_labels, channels=0))
    pools, seconds, digests = zip(*loaded, strict=True)
    return Clips(
        dataset, tuple(splits), test, decoding_of(config), pools, seconds[0], sum(digests, ())
    )


def read_pool(
    config, dataset: Dataset, scene_labels: tuple[str, ...], *, channels: int | None = None
) -> Loaded:
    """A data set's pool, on the host, and its files; see `asc_jax.data.pool.load_pool`.

    `channels` takes the place of the config's `data.channels`: synthetic clips have their own.
    """
    decoding = decoding_of(config)
    if channels is not None:
        decoding = dataclasses.replace(decoding, channels=channels)
    return load_pool(
        dataset,
        scene_labels,
        decoding,
        cache_dir=config.data.cache_dir,
        workers=config.data.workers,
        lengths=config.train.crop_seconds > 0,
    )


def decoding_of(config) -> Decoding:
    """How the config's audio files become clips."""
    data = config.data
    return Decoding(
        data.pool,
        frontend_config(config),
        data.clip_seconds,
        data.n_frames,
        data.channels,
        data.fit_length,
        data.trim_silence,
    )


def with_data(config, data):
    """A run's config with the places of another config's `data` group, where it names any."""
    config = changeable(config)
    config.data.root = data.root or config.data.root
    config.data.cache_dir = data.cache_dir or config.data.cache_dir
    config.data.workers = data.workers or config.data.workers
    return ml_collections.FrozenConfigDict(config)


def with_named_precision(config, workdir: pathlib.Path):
    """A config whose `train.precision` is named: a run keeps that of the devices it began on.

    Args:
      config: of the run.
      workdir: its folder, which may not be there yet.
    """

    def begun_with() -> str:
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # refused later
            fields = parse_json((workdir / "config.json").read_text(encoding="utf-8"))
            return str(fields["train"]["precision"])
        return ""

    config = changeable(config)
    if config.train.precision == "auto":
        begun = read_by_first(begun_with)
        config.train.precision = precision.named(begun if begun in precision.PRECISIONS else "auto")
    return ml_collections.FrozenConfigDict(config)


def make_network(config, n_classes: int, *, axis_name: str | None = DATA) -> nn.Module:
    """The network; `axis_name` is the mesh axis over which its batches are sharded."""
    return models.build(
        config.model,
        n_classes,
        axis_name=axis_name,
        sync_batch_norm=config.train.sync_batch_norm,
        dtype=precision.dtype_of(config.train.precision),
    )


def input_shape(config) -> tuple[int, int]:
    """Frames and mel bands of a clip, or of a crop, as the network sees it."""
    n_frames, n_mels = feature_shape(frontend_config(config), input_samples(config))
    return min(n_frames, kept_frames(config) or n_frames), n_mels


def kept_frames(config) -> int:
    """Log-mel frames that are kept of a clip, from the first; 0 for all, as of a crop."""
    return 0 if config.train.crop_seconds else config.data.n_frames


def input_samples(config) -> int:
    """Samples that the network hears at once."""
    return round((config.train.crop_seconds or config.data.clip_seconds) * config.frontend.sr)


def crops_of(config) -> Crops | None:
    """Which parts of clips the network hears; None for all of them."""
    seconds = config.train.crop_seconds
    if not seconds:
        return None
    sr = config.frontend.sr
    hop = round((config.ensemble.hop_seconds or seconds) * sr)
    return Crops(input_samples(config), hop, round(LENGTH_TOLERANCE_S * sr))


def told_of_lengths(config, seconds: np.ndarray) -> str:
    """What follows for recordings that are not of the config's length; "" if all are.

    Args:
      config: of the run.
      seconds: how long each is.
    """
    longest = config.data.clip_seconds
    shortest, field = longest, "data.clip_seconds"
    if config.train.crop_seconds:
        shortest, field = config.train.crop_seconds, "train.crop_seconds"
    longer = seconds > longest + LENGTH_TOLERANCE_S
    shorter = seconds < shortest - LENGTH_TOLERANCE_S
    counts = {
        f"longer than data.clip_seconds={longest:g}, cut": longer.sum(),
        f"shorter than {field}={shortest:g}, filled with zeros": shorter.sum(),
    }
    parts = [f"{what}: {n} of {len(seconds)}" for what, n in counts.items() if n]
    return f"Recordings {'; '.join(parts)}." if parts else ""


def told_of_silence(clips: Clips) -> str:
    """What is said of recorded clips whose samples are all the same; "" if there are none."""
    constant = np.flatnonzero(np.asarray(clips.pools[0].scale) == cache.CONSTANT)
    if not len(constant):
        return ""
    first = clips.dataset.clips[constant[0]].path
    more = f" and {len(constant) - 1} more" if len(constant) > 1 else ""
    return f"{first}{more}: silence; asc-jax data check lists such recordings."
