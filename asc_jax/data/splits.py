"""The splits of a run, written down: which clip is on which side of each fold, and its sound."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np

from asc_jax.data.clips import Dataset
from asc_jax.data.folds import Split
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, reading, write_whole


def write_splits(
    path: pathlib.Path,
    dataset: Dataset,
    splits: tuple[Split, ...],
    test: np.ndarray,
    digests: Sequence[str],
) -> None:
    """Writes every clip's label and location, its digest, and the paths on each side of each fold.

    Args:
      path: the file.
      dataset: a labelled data set.
      splits: of its folds.
      test: (n,) indices of clips that no fold trains on.
      digests: of the clips' audio files.

    Raises:
      InputError: the file cannot be written.
    """
    described = _describe(dataset, splits, test) | {"audio": by_path(dataset, digests)}
    write_whole(path, json.dumps(described) + "\n")


def read_splits(path: pathlib.Path) -> dict:
    """What `write_splits` has written.

    Raises:
      InputError: the file is missing, or not whole.
    """
    with reading(path):
        record = parse_json(path.read_text(encoding="utf-8"))
        texts = [text for pair in record["clips"].values() for text in pair]
        parts = [set(sides) for fold, sides in record["folds"].items() if int(fold)]
        if not all(isinstance(text, str) for text in texts) or not all(
            {"train", "held_out"} <= sides for sides in parts
        ):
            raise ValueError("not what write_splits has written")
    return record


def by_path(dataset: Dataset, digests: Sequence[str]) -> dict[str, str]:
    """The digests of a data set's audio files by the clips' paths."""
    return {clip.path: digest for clip, digest in zip(dataset.clips, digests, strict=True)}


def _describe(dataset: Dataset, splits: tuple[Split, ...], test: np.ndarray) -> dict:
    """Which clip is on which side of each fold, by its path."""

    def paths(indices) -> list[str]:
        return sorted(dataset.clips[i].path for i in indices)

    parts = ("train", "inner", "held_out")
    return {
        "clips": {clip.path: [clip.scene_label, clip.location] for clip in dataset.clips},
        "test": paths(test),
        "folds": {
            str(split.fold): {part: paths(getattr(split, part)) for part in parts}
            for split in splits
        },
    }


def refuse_other_splits(
    path: pathlib.Path, dataset: Dataset, splits: tuple[Split, ...], test: np.ndarray
) -> None:
    """Checks that a data set is still split as it was written down, if it was.

    A clip added, a label mended or another version of scikit-learn would move clips between
    folds, and a model would be scored on clips that it has seen.

    Raises:
      InputError: naming the first clip that differs.
    """
    if not path.exists():
        return
    with reading(path):
        theirs = parse_json(path.read_text(encoding="utf-8"))
        theirs.pop("audio", None)
        differing = _first_difference(theirs, _describe(dataset, splits, test))
    if differing:
        raise InputError(
            f"is not what the run was trained on, according to {path} ({differing}); "
            "restore the data set, or train anew in another --workdir",
            path=dataset.root,
        )


def refuse_other_audio(path: pathlib.Path, dataset: Dataset, digests: Sequence[str]) -> None:
    """Checks that clips sound as they did when a run's record of them was written, if it was.

    Args:
      path: a run's `splits.json`, or its `synthetic.json`. One of an earlier version has no
        digests, and is not compared.
      dataset: the clips that it is about.
      digests: of their audio files.

    Raises:
      InputError: naming the first file that differs.
    """
    if not path.exists():
        return
    with reading(path):
        theirs = parse_json(path.read_text(encoding="utf-8")).get("audio", {})
        ours = by_path(dataset, digests)
        differing = [clip for clip in sorted(ours) if theirs.get(clip, ours[clip]) != ours[clip]]
    if differing:
        raise InputError(
            f"is not the audio that the run was trained on, according to {path} "
            f"({len(differing)} of {len(ours)} files differ); restore the data set, or "
            "train anew in another --workdir",
            path=dataset.root / differing[0],
        )


def _first_difference(theirs: dict, ours: dict) -> str:
    for clip in sorted(theirs["clips"].keys() | ours["clips"].keys()):
        if theirs["clips"].get(clip) != ours["clips"].get(clip):
            if clip not in theirs["clips"]:
                return f"{clip} is new"
            if clip not in ours["clips"]:
                return f"{clip} is gone"
            return f"{clip} has another label or location"
    if theirs == ours:
        return ""
    for fold, parts in ours["folds"].items():
        for part, clips in parts.items():
            moved = set(clips) ^ set(theirs["folds"].get(fold, {}).get(part, ()))
            if moved:
                return f"{min(moved)} is on another side of fold {fold}"
    return "the test clips"
