"""A run: its folder, and the things that its config names.

A run folder belongs to one config. It holds

    config.json      the resolved config
    splits.json      which clip is on which side of each fold, and a digest of its audio
    synthetic.json   which synthetic clips it trains with, if any, and the same of them
    starts.jsonl     a line per start: what the training was computed by, and on which devices
    metrics.jsonl    a line per epoch
    checkpoints/     the folds' state; checkpoints_damaged/ what failed its checksums, if any
    logits.npz, report.json, report.html, figures/, submission/     from `evaluate`

or, for GANs, corpora.json (which clips each learns from) and classifier.json (which looks at
them) in place of splits.json, samples/ and listen.html.
"""

import contextlib
import os
import pathlib
from collections.abc import Collection, Iterator, Sequence

import flax.linen as nn
import jax.numpy as jnp
import ml_collections
import numpy as np

from asc_jax import models
from asc_jax.config.load import (
    Check,
    changeable,
    check_config,
    flatten,
    from_json,
    frontend_config,
    to_json,
)
from asc_jax.data import pool
from asc_jax.data.clips import Dataset, read_dataset
from asc_jax.data.folds import Split, make_splits
from asc_jax.data.generated import Synthetic, read_manifest, write_record
from asc_jax.data.splits import refuse_other_audio, write_splits
from asc_jax.parallel import hosts
from asc_jax.parallel.mesh import DATA
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole
from asc_jax.runtime.folders import refuse_another, refuse_files

# Fields that a run may change on the way: they say where things are, which devices share the
# work and what becomes of a step that is not finite, or act only on scoring.
# A data set that has moved is still the same one: splits.json says so, and synthetic.json of
# synthetic clips.
FREE_FIELDS = {
    "title",
    "data.root",
    "data.leaderboard_root",
    "data.evaluation_root",
    "data.placement",
    "data.cache_dir",
    "data.workers",
    "synthetic.root",
    "train.save_every",
    "train.keep_checkpoints",
    "train.mesh",
    "train.non_finite",
    "ensemble.rule",
    "ensemble.decision",
    "gan.classifier",
}

# Of these, what a sweep or a reproduction may change: all of its runs are scored alike.
FREE_OF_SEVERAL = FREE_FIELDS - {"ensemble.rule", "ensemble.decision"}

# A run folder's record of its synthetic clips.
SYNTHETIC = "synthetic.json"


@contextlib.contextmanager
def hold(workdir: pathlib.Path) -> Iterator[None]:
    """Makes a run folder and keeps other runs from training in it.

    A folder that is still empty at the end is removed again. Of several processes of one run
    the first one does this.

    Raises:
      InputError: the folder cannot be written, or another process trains in it.
    """
    if not hosts.is_first():
        yield
        return
    with _lock(workdir):
        try:
            yield
        finally:
            (workdir / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                workdir.rmdir()


def _lock(workdir: pathlib.Path):
    """The open and locked `.lock` of a run folder, which is made if need be."""
    import fcntl

    path = workdir / ".lock"
    while True:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            lock = path.open("w")
        except OSError as error:
            raise InputError(
                f"{workdir}: cannot be written ({error.strerror}); use another --workdir"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise InputError(
                f"{workdir}: another process trains in it; wait for it, or use another --workdir"
            ) from None
        # A holder that left between the two has removed it: another process may lock a new one.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        lock.close()


def refuse_foreign_folder(
    workdir: pathlib.Path,
    config,
    *,
    check: Check = check_config,
    free: Collection[str] = FREE_FIELDS,
    mend: str = "use another --workdir",
) -> None:
    """Checks that a run folder is free, or belongs to the config.

    Args:
      workdir: the run folder.
      config: checked.
      check: of configs of its kind.
      free: fields that may differ.
      mend: what to do where they differ.

    Raises:
      InputError: the folder holds something else, or belongs to another config.
    """
    if not hosts.is_first():
        return
    if (workdir / "config.json").exists():
        theirs = fixed_fields(read_config(workdir, check=check), free)
        refuse_another(workdir, "config", theirs, fixed_fields(config, free), mend=mend)
    else:
        refuse_files(workdir, "run folder")


def fixed_fields(config, free: Collection[str] = FREE_FIELDS) -> dict[str, object]:
    """What a run may not change on the way."""
    fields = flatten(config)
    fixed = {name: value for name, value in fields.items() if name not in free}
    if "synthetic.root" in fields:  # its clips may move, but neither come nor go
        fixed["synthetic.root"] = "a folder" if fields["synthetic.root"] else ""
    return fixed


def write_run(
    workdir: pathlib.Path,
    config,
    dataset: Dataset,
    splits: tuple[Split, ...],
    test: np.ndarray,
    synthetic: Synthetic | None,
    digests: Sequence[str],
) -> None:
    """Writes a run's `config.json`, `splits.json` and, with synthetic clips, `synthetic.json`.

    Args:
      workdir: the run folder.
      config: the run's.
      dataset: its development set.
      splits: of its folds.
      test: (n,) indices of clips that no fold trains on.
      synthetic: its synthetic clips, if any.
      digests: of the development set's audio files, and of the synthetic ones behind them.

    Raises:
      InputError: the folder cannot be written.
    """
    if not hosts.is_first():
        return
    write_whole(workdir / "config.json", to_json(config))
    n_clips = len(dataset.clips)
    write_splits(workdir / "splits.json", dataset, splits, test, digests[:n_clips])
    if synthetic is not None:
        write_record(workdir / SYNTHETIC, synthetic, digests[n_clips:])


def refuse_other_sound(
    workdir: pathlib.Path, dataset: Dataset, synthetic: Synthetic | None, digests: Sequence[str]
) -> None:
    """Checks that a run's clips, as they are now decoded, are those of its records.

    Args:
      workdir: the run folder.
      dataset: its development set.
      synthetic: its synthetic clips, if they are used.
      digests: as for `write_run`.

    Raises:
      InputError: naming the first file that differs.
    """
    n_clips = len(dataset.clips)
    refuse_other_audio(workdir / "splits.json", dataset, digests[:n_clips])
    if synthetic is not None:
        refuse_other_audio(workdir / SYNTHETIC, synthetic.dataset, digests[n_clips:])


def with_data(config, data):
    """A run's config with the places of another config's `data` group, where it names any."""
    config = changeable(config)
    config.data.root = data.root or config.data.root
    config.data.cache_dir = data.cache_dir or config.data.cache_dir
    config.data.workers = data.workers or config.data.workers
    return ml_collections.FrozenConfigDict(config)


def read_config(workdir: pathlib.Path, *, check: Check = check_config, field: str = "--workdir"):
    """A run folder's config.

    Args:
      workdir: the run folder.
      check: of the kind of config that is wanted.
      field: or flag that names it.

    Raises:
      InputError: the folder is no run of that kind.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise InputError(f"{path}: not found; {field} must be a folder that train has made")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); restore it") from None
    return from_json(text, str(path), check=check)


def read_data(config) -> tuple[Dataset, tuple[Split, ...], np.ndarray]:
    """The config's data set, its splits and its labelled test clips (maybe none).

    Raises:
      InputError: as `read_dataset` and `make_splits`.
    """
    if not config.data.root:
        raise InputError(
            "data.root: not set; add --config.data.root=FOLDER, the folder that holds meta.csv "
            "and audio/ (asc-jax data synth FOLDER writes a small one)"
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
            f"train.batch_size={config.train.batch_size}: fold {smallest.fold} has only "
            f"{len(smallest.train)} training clips; use at most that"
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
    if not config.synthetic.root:
        return None
    group = config.synthetic
    return read_manifest(group.root, dataset, splits, per_class=group.per_class)


def read_pool(
    config, dataset: Dataset, scene_labels: tuple[str, ...], *, channels: int | None = None
) -> tuple[pool.Pool, tuple[str, ...]]:
    """A data set's pool, on the host, and its files' digests; see `asc_jax.data.pool.load_pool`.

    `channels` takes the place of the config's `data.channels`: synthetic clips have their own.
    """
    return pool.load_pool(
        dataset,
        scene_labels,
        kind=config.data.pool,
        frontend=frontend_config(config),
        clip_seconds=config.data.clip_seconds,
        n_frames=config.data.n_frames,
        channels=config.data.channels if channels is None else channels,
        fit_length=config.data.fit_length,
        cache_dir=config.data.cache_dir,
        workers=config.data.workers,
    )


def make_network(config, n_classes: int, *, axis_name: str | None = DATA) -> nn.Module:
    """The network; `axis_name` is the mesh axis over which its batches are sharded."""
    dtype = jnp.dtype(config.train.precision)
    return models.build(
        config.model,
        n_classes,
        axis_name=axis_name,
        sync_batch_norm=config.train.sync_batch_norm,
        dtype=dtype,
    )


def input_shape(config) -> tuple[int, int]:
    """Frames and mel bands of a clip as the network sees it."""
    frontend = frontend_config(config)
    n_frames = frontend.n_frames(round(config.data.clip_seconds * frontend.sr))
    return min(n_frames, config.data.n_frames or n_frames), frontend.n_mels
