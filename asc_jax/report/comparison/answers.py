"""What rows of runs said of one list of clips, clip by clip in one order."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from asc_jax.data.clips import Clip
from asc_jax.report.comparison.folders import Row, Run
from asc_jax.runs.logits import Predictions
from asc_jax.runtime.errors import InputError
from asc_jax.scoring.alignment import align
from asc_jax.scoring.blending import blend


@dataclasses.dataclass(frozen=True)
class ClipList:
    """The clips that all rows are scored on.

    Attributes:
      name: of the list in `logits.npz`.
      title: for a reader.
      clips: in the order of their paths.
      scene_labels: the K classes.
      targets: (n,) class indices.
      locations: (n,) names.
    """

    name: str
    title: str
    clips: tuple[Clip, ...]
    scene_labels: tuple[str, ...]
    targets: np.ndarray
    locations: np.ndarray


@dataclasses.dataclass(frozen=True)
class Answers:
    """What one row said.

    Attributes:
      logits: (S, n, K) of S seeds.
      classes: (S, n) class indices.
    """

    logits: np.ndarray
    classes: np.ndarray


def choose_list(rows: Sequence[Row], name: str = "") -> str:
    """The list to compare on: the named one, else "test" if all runs have it, else out of fold.

    Raises:
      InputError: a run has no such list with labels.
    """
    runs = [run for row in rows for run in row.runs]
    if not name:
        name = "test" if all("test" in _labelled(run) for run in runs) else "out_of_fold"
    for run in runs:
        if name not in _labelled(run):
            known = ", ".join(_labelled(run)) or "none"
            raise InputError(
                f"has no list {name!r} with labels (it has: {known}); use --list=NAME of one that "
                "all runs have",
                path=run.path,
            )
    return name


def common_lists(rows: Sequence[Row]) -> list[str]:
    """The lists with labels that all runs have."""
    first, *others = [_labelled(run) for row in rows for run in row.runs]
    return [name for name in first if all(name in other for other in others)]


def _labelled(run: Run) -> list[str]:
    return [name for name, one in run.lists.items() if one.labelled]


def gather(rows: Sequence[Row], name: str) -> tuple[ClipList, list[Answers]]:
    """The rows' answers on a list.

    Args:
      rows: of runs that all have it.
      name: of the list.

    Returns:
      The clips, and the answers of each row.

    Raises:
      InputError: two runs were scored on different clips.
    """
    runs = [run for row in rows for run in row.runs]
    orders = align({str(run.path): run.lists[name].clips for run in runs})
    first = runs[0]
    clips = tuple(first.lists[name].clips[i] for i in orders[str(first.path)])
    index = {label: k for k, label in enumerate(first.scene_labels)}
    if unknown := [clip for clip in clips if clip.scene_label not in index]:
        raise InputError(
            f"{unknown[0].path} has the label {unknown[0].scene_label!r}, which is not one "
            "of its classes; run asc-jax evaluate again",
            path=first.path,
        )
    titles = {one["name"]: one.get("title", name) for one in first.report.get("lists", [])}
    listed = ClipList(
        name,
        titles.get(name, name),
        clips,
        first.scene_labels,
        np.array([index[clip.scene_label] for clip in clips]),
        np.array([clip.location for clip in clips]),
    )
    answers = []
    for row in rows:
        logits = np.stack(
            [fold_mean(run, run.lists[name])[orders[str(run.path)]] for run in row.runs]
        )
        classes = [
            decide(one, run.config.get("ensemble.decision", "argmax"))
            for one, run in zip(logits, row.runs, strict=True)
        ]
        answers.append(Answers(logits, np.stack(classes)))
    return listed, answers


def fold_mean(run: Run, one: Predictions) -> np.ndarray:
    """(n, K) logits of a run: the model's that had not seen the clip, or its folds' ensemble."""
    if one.out_of_fold:
        return one.logits
    return blend(one.logits, rule=run.config.get("ensemble.rule", "mean_logits"))


def decide(logits: np.ndarray, decision: str = "argmax") -> np.ndarray:
    """(..., K) -> (...) class indices, as `ensemble.decide`, which takes JAX."""
    from scipy.special import softmax

    best = logits.argmax(axis=-1)
    if decision == "threshold":
        best = np.where(softmax(logits, axis=-1).max(axis=-1) > 0.5, best, 0)
    return best
