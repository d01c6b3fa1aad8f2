"""Answers by the logits of a list of clips, and submissions of them."""

import csv
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from asc_jax.data.clips import Clip
from asc_jax.runs.logits import Predictions
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole

# The leaderboard's file, and DCASE's.
SUBMISSION_ENDINGS = ("_leaderboard.csv", "_dcase.txt")


def systems(
    predictions: Predictions, *, rule: str, decision: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The answers to compare on one list.

    Args:
      predictions: the list.
      rule: the primary one of `ensemble.RULES`.
      decision: one of `choices.DECISIONS`.

    Returns:
      name -> (n, K) logits and the (n,) class indices decided by them, the primary system first.
    """
    from asc_jax.scoring import ensemble  # not at the top: stored logits are read without JAX

    if predictions.out_of_fold:
        logits = {"one model per fold": predictions.logits}
    else:
        by_fold = zip(predictions.folds, predictions.logits, strict=True)
        logits = {f"fold {fold}": one for fold, one in by_fold}
        if len(logits) > 1:  # an ensemble of one is that one
            rules = sorted(ensemble.RULES, key=lambda name: name != rule)
            combined = {one: ensemble.RULES[one](predictions.logits) for one in rules}
            logits = {one.replace("_", " of "): mean for one, mean in combined.items()} | logits
    return {
        name: (np.asarray(one), np.asarray(ensemble.decide(one, decision)))
        for name, one in logits.items()
    }


def write_submission(
    folder: pathlib.Path, predictions: Predictions, answer: np.ndarray, scene_labels: Sequence[str]
) -> list[pathlib.Path]:
    """Writes a list's answers in the leaderboard's and in DCASE's format.

    Args:
      folder: where to.
      predictions: the list.
      answer: (n,) class indices.
      scene_labels: the classes.

    Returns:
      The two files.

    Raises:
      InputError: a file cannot be written.

    Source: DCASE 2018 Task 1: the Kaggle leaderboard's `Id,Scene_label`, and the
    submission's path TAB label without a header.
    """
    named = [(clip, scene_labels[k]) for clip, k in zip(predictions.clips, answer, strict=True)]
    leaderboard = [("Id", "Scene_label"), *((clip.stem, label) for clip, label in named)]
    dcase = [(clip.path, label) for clip, label in named]
    tables = (leaderboard, ","), (dcase, "\t")
    files = [folder / f"{predictions.name}{ending}" for ending in SUBMISSION_ENDINGS]
    for file, (rows, delimiter) in zip(files, tables, strict=True):
        content = io.StringIO()
        csv.writer(content, delimiter=delimiter, lineterminator="\n").writerows(rows)
        write_whole(file, content.getvalue())
    return files


def refuse_double_ids(clips: Sequence[Clip], source: pathlib.Path) -> None:
    """Refuses clips that a leaderboard's submission could not tell apart.

    Args:
      clips: to be answered.
      source: the set's folder.

    Raises:
      InputError: naming two files of one `Clip.stem`.
    """
    first: dict[str, Clip] = {}
    for clip in clips:
        other = first.setdefault(clip.stem, clip)
        if other is not clip:
            raise InputError(
                f"{other.path} and {clip.path} would both have the Id {clip.stem!r} in a "
                "submission; rename one of them",
                path=source,
            )
