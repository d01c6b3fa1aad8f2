"""Synthetic clips: the folder that a generator has filled, and what a run keeps of it.

    ROOT/manifest.jsonl   an object per clip: path, scene_label, fold, and how it was made
    ROOT/audio/*.wav      what `path` points to
    ROOT/splits.json      as in a run folder: what each fold's generator was trained on; may lack

A clip belongs to the fold whose training clips its generator saw: for any other fold it could
carry what that fold holds out. Nothing here opens an audio file or imports JAX.
"""

import collections
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from asc_jax.data.clips import Clip, Dataset
from asc_jax.data.folds import Split
from asc_jax.data.manifest import NAME, TO_TRAIN, read_lines
from asc_jax.data.on_disk import first_three
from asc_jax.data.splits import by_path
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, reading, write_whole


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """Synthetic clips as their manifest describes them.

    Attributes:
      dataset: the clips, in the manifest's order. Their location is that of nothing recorded:
        "synthetic-fold1" for all that came from fold 1's generator, which has mixed that
        fold's training locations.
      folds: (n,) int32: the fold, from 1, that may train on each clip.
      digest: of the manifest, hexadecimal.
    """

    dataset: Dataset
    folds: np.ndarray
    digest: str

    @property
    def clips_per_fold(self) -> dict[int, int]:
        """The number of clips by fold."""
        numbers, counts = np.unique(self.folds, return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def read_manifest(
    root: str | pathlib.Path, dataset: Dataset, splits: Sequence[Split], *, per_class: int = 0
) -> Synthetic:
    """Reads a folder of synthetic clips.

    Args:
      root: the folder that holds `manifest.jsonl`.
      dataset: the development set that they are to be trained with.
      splits: its folds.
      per_class: most clips per class and fold, the first of the manifest; 0 for all.

    Returns:
      The clips. A last line without its end, which an interrupted writer leaves, does not
      count. Audio files are checked for existence, not opened.

    Raises:
      InputError: there is no manifest, a line of it cannot be used, a file is not there, a
        fold has no clip, or a generator was trained on other clips than its fold is.
    """
    root = pathlib.Path(root)
    manifest = root / NAME
    lines, digest = _read_lines(manifest)
    folds = [split.fold for split in splits]
    clips, clip_folds = [], []
    seen: dict[pathlib.PurePosixPath, int] = {}  # a/b.wav and ./a//b.wav are one file
    for number, entry in enumerate(lines, start=1):
        where = f"{manifest}: line {number}"
        path = _path_below(entry["path"], where)
        if path in seen:
            raise InputError(
                f"is listed twice, first in line {seen[path]}; delete one of them",
                path=where,
                field="path",
                value=entry["path"],
            )
        seen[path] = number
        if entry["scene_label"] not in dataset.scene_labels:
            raise InputError(
                f"must be one of {', '.join(dataset.scene_labels)}; generate clips of these",
                path=where,
                field="scene_label",
                value=entry["scene_label"],
            )
        if entry["fold"] not in folds:
            raise InputError(
                f"the run has only folds {', '.join(map(str, folds))}; generate clips for these",
                path=where,
                field="fold",
                value=entry["fold"],
            )
        location = f"synthetic-fold{entry['fold']}"
        clips.append(Clip(str(path), entry["scene_label"], location))
        clip_folds.append(entry["fold"])
    _refuse_missing(root, clips)
    for fold in folds:
        if fold not in clip_folds:
            raise InputError(
                f"has no clip for fold {fold}, which would train without any; generate clips "
                f"for all folds {', '.join(map(str, folds))}",
                path=manifest,
            )
    _refuse_other_training(root / "splits.json", dataset, splits)
    kept = _first_of_each(clips, per_class)
    clips, clip_folds = [clips[i] for i in kept], [clip_folds[i] for i in kept]
    described = Dataset(root, tuple(clips), dataset.scene_labels, {})
    return Synthetic(described, np.array(clip_folds, np.int32), digest)


def manifest_digest(root: str | pathlib.Path) -> str:
    """The digest of a folder's manifest, as `Synthetic` has it.

    Raises:
      InputError: there is no manifest that can be read, or it lists no clip.
    """
    return _read_lines(pathlib.Path(root) / NAME)[1]


def _read_lines(manifest: pathlib.Path) -> tuple[list[dict], str]:
    """The lines of a manifest, and their digest."""
    try:
        lines, whole = read_lines(manifest, TO_TRAIN)
    except FileNotFoundError:
        raise InputError(
            "not found; synthetic.root must be a folder of generated clips, with their "
            "manifest.jsonl and audio/ (or '' for none)",
            path=manifest,
        ) from None
    if not lines:
        raise InputError("lists no clips; generate some", path=manifest)
    return lines, hashlib.sha256(whole).hexdigest()


def _path_below(path: str, where: str) -> pathlib.PurePosixPath:
    """A manifest's path, which must name something below its folder."""
    pure = pathlib.PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.name:
        raise InputError(
            "must name a file below the manifest's folder", path=where, field="path", value=path
        )
    return pure


def _refuse_missing(root: pathlib.Path, clips: Sequence[Clip]) -> None:
    missing = [clip.path for clip in clips if not os.path.isfile(root / clip.path)]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(clips)} files that manifest.jsonl lists are missing "
            f"({first_three(missing)}); generate them again, or delete their lines",
            path=root,
        )


def _refuse_other_training(path: pathlib.Path, dataset: Dataset, splits: Sequence[Split]) -> None:
    """Where it is written down, a generator must have seen its fold's training clips only.

    With folds of another seed, its clips would carry what this run's folds hold out.
    """
    if not path.exists():
        return
    with reading(path):
        theirs = parse_json(path.read_text(encoding="utf-8"))["folds"]
        saw = {split.fold: set(theirs[str(split.fold)]["train"]) for split in splits}
    for split in splits:
        unknown = saw[split.fold] - {dataset.clips[i].path for i in split.train}
        if unknown:
            raise InputError(
                f"fold {split.fold}'s generator was trained on {min(unknown)}, which is not a "
                "training clip of that fold here; use clips generated for the same data.root "
                "and folds.*",
                path=path,
            )


def _first_of_each(clips: Sequence[Clip], per_class: int) -> list[int]:
    """Places of the first `per_class` clips of each class and fold, or of all clips."""
    counts: collections.Counter = collections.Counter()
    kept = []
    for i, clip in enumerate(clips):
        group = clip.scene_label, clip.location  # one location to a fold
        counts[group] += 1
        if not per_class or counts[group] <= per_class:
            kept.append(i)
    return kept


def add_to_splits(splits: Sequence[Split], synthetic: Synthetic, n_clips: int) -> tuple[Split, ...]:
    """The splits with each fold's synthetic clips, which stand in the pool behind `n_clips`."""
    return tuple(
        dataclasses.replace(
            split,
            synthetic=(n_clips + np.flatnonzero(synthetic.folds == split.fold)).astype(np.int32),
        )
        for split in splits
    )


def write_record(path: pathlib.Path, synthetic: Synthetic, digests: Sequence[str]) -> None:
    """Writes which synthetic clips a run trains with: the manifest's digest, clips per fold, sound.

    Args:
      path: the file.
      synthetic: the clips.
      digests: of their audio files.

    Raises:
      InputError: the file cannot be written.
    """
    record = {
        "manifest_sha256": synthetic.digest,
        "clips_per_fold": synthetic.clips_per_fold,
        "audio": by_path(synthetic.dataset, digests),
    }
    write_whole(path, json.dumps(record, allow_nan=False) + "\n")


def read_record(path: pathlib.Path) -> tuple[str, dict[int, int]]:
    """What `write_record` wrote: the digest, and the number of clips by fold.

    Raises:
      InputError: the file is not there or not whole.
    """
    with reading(path):
        record = parse_json(path.read_text(encoding="utf-8"))
        counts = {int(fold): int(count) for fold, count in record["clips_per_fold"].items()}
        return record["manifest_sha256"], counts


def refuse_other_manifest(path: pathlib.Path, synthetic: Synthetic) -> None:
    """Checks that a run is resumed with the synthetic clips that it was started with.

    Raises:
      InputError: the manifest is another one.
    """
    if path.exists() and read_record(path)[0] != synthetic.digest:
        raise InputError(
            f"is not the one that the run was trained with, according to {path}; restore "
            "it, or train anew in another --workdir",
            path=synthetic.dataset.root / NAME,
        )
