"""The splits of a run, written down: which clip is on which side of each fold."""

import json
import pathlib

import numpy as np

from asc_jax.data.clips import Dataset
from asc_jax.data.folds import Split
from asc_jax.errors import InputError
from asc_jax.files import write_whole


def write_splits(
    path: pathlib.Path, dataset: Dataset, splits: tuple[Split, ...], test: np.ndarray
) -> None:
    """Writes every clip's label and location, and the paths on each side of each fold.

    Raises:
      InputError: the file cannot be written.
    """
    write_whole(path, json.dumps(_describe(dataset, splits, test)) + "\n")


def _describe(dataset: Dataset, splits: tuple[Split, ...], test: np.ndarray) -> dict:
    """Which clip is on which side of each fold, by its path."""

    def paths(indices) -> list[str]:
        return sorted(dataset.clips[i].path for i in indices)

    return {
        "clips": {clip.path: [clip.scene_label, clip.location] for clip in dataset.clips},
        "test": paths(test),
        "folds": {
            str(split.fold): {
                "train": paths(split.train),
                "inner": paths(split.inner),
                "held_out": paths(split.held_out),
            }
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
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
        differing = _first_difference(theirs, _describe(dataset, splits, test))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise InputError(f"{path}: cannot be read; restore it from a backup") from None
    if differing:
        raise InputError(
            f"{dataset.root}: is not what {path} says the run was trained on ({differing}); "
            "restore the data set, or train anew in another --workdir"
        )


def _first_difference(theirs: dict, ours: dict) -> str:
    for clip in sorted(theirs["clips"].keys() | ours["clips"].keys()):
        if theirs["clips"].get(clip) != ours["clips"].get(clip):
            return f"{clip} is new, gone, or has another label or location"
    if theirs == ours:
        return ""
    for fold, parts in ours["folds"].items():
        for part, clips in parts.items():
            moved = set(clips) ^ set(theirs["folds"].get(fold, {}).get(part, ()))
            if moved:
                return f"{min(moved)} is on another side of fold {fold}"
    return "the test clips"
