"""The scores of a list of clips, as `report.json` holds them: overall, by group, clip by clip."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from asc_jax.data.clips import Clip
from asc_jax.runs.logits import Predictions
from asc_jax.scoring.predictions import systems
from asc_jax.stats.comparison import Comparison
from asc_jax.stats.scores import Score, confusion_matrix, scores_by_location

MOST_WRONG = 50  # clips that are listed with their wrong answers


def score(
    predictions: Predictions, scene_labels: Sequence[str], *, rule: str, decision: str
) -> dict:
    """Scores a labelled list of clips; for the arguments see `systems`."""
    clips, found = predictions.clips, systems(predictions, rule=rule, decision=decision)
    index = {label: k for k, label in enumerate(scene_labels)}
    targets = np.array([index[clip.scene_label] for clip in clips])
    locations = np.array([clip.location for clip in clips])
    logits, primary = next(iter(found.values()))

    def of_part(here: np.ndarray) -> dict:
        scores = _with_intervals(targets[here], primary[here], locations[here], scene_labels)
        kept = ("accuracy", "class_wise_accuracy")
        return {"n_clips": int(here.sum())} | {name: scores[name] for name in kept}

    def by(field: str) -> list[dict]:
        return [{field: name} | of_part(here) for name, here in groups(clips, field).items()]

    per_fold = []
    if predictions.out_of_fold:
        folds = np.unique(predictions.folds)
        per_fold = [{"fold": int(one)} | of_part(predictions.folds == one) for one in folds]
    return {
        "name": predictions.name,
        "title": predictions.title,
        "description": predictions.description,
        "n_clips": len(targets),
        "n_locations": len(set(locations)),
        "systems": [
            {"name": name} | _with_intervals(targets, answer, locations, scene_labels)
            for name, (_, answer) in found.items()
        ],
        "per_fold": per_fold,
        "mean_of_folds": {
            key: float(np.mean([fold[key]["value"] for fold in per_fold]))
            for key in ("accuracy", "class_wise_accuracy")
            if len(per_fold) > 1
        },
        "per_device": by("device"),
        "per_city": by("city"),
        "wrong": _wrong(clips, scene_labels, targets, logits, primary),
    }


def groups(clips: Sequence[Clip], field: str) -> dict[str, np.ndarray]:
    """Groups clips by "city" or "device".

    Returns:
      name -> (n,) bool; none where there are not two. Clips without a name are in no group.
    """
    values = np.array([getattr(clip, field) for clip in clips])
    names = [name for name in np.unique(values) if name]
    return {str(name): values == name for name in names} if len(names) > 1 else {}


def _wrong(
    clips: Sequence[Clip],
    scene_labels: Sequence[str],
    targets: np.ndarray,
    logits: np.ndarray,
    answer: np.ndarray,
) -> dict:
    """How many clips the answers (n,) got wrong, and the clips of the most certain ones."""
    from scipy.special import softmax

    probabilities = softmax(logits.astype(float), axis=-1)
    wrong = np.flatnonzero(answer != targets)
    certain = np.argsort(-probabilities[wrong, answer[wrong]], kind="stable")
    return {
        "n_clips": len(wrong),
        "most_certain": [
            {
                "path": clips[i].path,
                "scene_label": clips[i].scene_label,
                "scene_probability": float(probabilities[i, targets[i]]),
                "answer": scene_labels[answer[i]],
                "answer_probability": float(probabilities[i, answer[i]]),
            }
            for i in wrong[certain[:MOST_WRONG]]
        ],
    }


def _with_intervals(
    targets: np.ndarray, answer: np.ndarray, locations: np.ndarray, scene_labels: Sequence[str]
) -> dict:
    n_classes = len(scene_labels)
    overall, class_wise, recalls = scores_by_location(targets, answer, locations, n_classes)
    confusion = confusion_matrix(targets, answer, n_classes)
    counts = confusion.sum(axis=1).tolist()
    return {
        "accuracy": for_json(overall),
        "class_wise_accuracy": for_json(class_wise),
        "per_class": [
            {"scene_label": label, "n_clips": n, **for_json(recall)}
            for label, n, recall in zip(scene_labels, counts, recalls, strict=True)
        ],
        "confusion": confusion.tolist(),
    }


def for_json(one: Score | Comparison) -> dict:
    """Takes a dataclass apart; None for NaN and infinity, which JSON has not."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in dataclasses.asdict(one).items()
    }
