"""Distillation: targets in which another run's models have a share, and that leak nothing.

A training clip's teacher is the model of that run that held the clip out. No teacher has heard what
the new run is scored on. `distillation.json` of the run folder keeps the teachers' logits, so that
the run resumes without them, and what they had heard.

Source: Hinton et al., arXiv:1503.02531, section 2. There a second loss compares the student's
softened probabilities with the teacher's, times the square of the temperature. Here there is one
loss, of a mixed target, and the teacher's logits alone are divided by the temperature: the gradient
does not shrink with it, and no factor makes up for it.
"""

import dataclasses
import functools
import json
import operator
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from asc_jax.data.folds import Split
from asc_jax.data.splits import read_splits
from asc_jax.parallel import hosts
from asc_jax.parallel.agreement import read_by_first
from asc_jax.runs.folder import read_config
from asc_jax.runs.inputs import Clips
from asc_jax.runs.logits import read_logits
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import reading, write_whole
from asc_jax.train.heard import DISTILLATION, Heard, earlier, heard, read_earlier, read_record

_FIELD = "distillation.run"


@dataclasses.dataclass(frozen=True)
class Teachers:
    """An evaluated run, whose models teach.

    Attributes:
      folder: of the run.
      labels: the classes, in the order of the logits.
      answers: audio digest -> the fold whose model held that clip out, and its logits (K,).
      heard: fold -> what its model has heard.
    """

    folder: pathlib.Path
    labels: tuple[str, ...]
    answers: Mapping[str, tuple[int, Sequence[float]]]
    heard: Mapping[int, Heard]


def read_teachers(folder: str) -> Teachers:
    """Reads the run that `distillation.run` names. Its data and its weights are not needed.

    Raises:
      InputError: it is no evaluated run, or none whose models have held clips out.
    """
    source = pathlib.Path(folder)
    read = read_by_first(lambda: _read(source))
    with reading(source / "splits.json"):  # one of an earlier version has no digests
        record, before = read["splits"], read["earlier"]
        parts = lambda fold: (heard(record, fold, "train"), heard(record, fold, "inner"))
        known = {
            int(fold): functools.reduce(operator.or_, parts(fold), earlier(before, fold))
            for fold in record["folds"]
        }
        answers = {record["audio"][path]: (fold, row) for path, fold, row in read["answers"]}
        if any(fold not in known for fold, _ in answers.values()):
            raise ValueError("logits of folds that it does not have")
    return Teachers(source, tuple(read["labels"]), answers, known)


def _read(source: pathlib.Path) -> dict:
    """What `Teachers` are made of, as JSON has it."""
    config = read_config(source, field=_FIELD)
    lists, labels = read_logits(source / "logits.npz")
    if "out_of_fold" not in lists:
        raise InputError(
            "holds no out-of-fold logits; name a run that has held clips out (folds.kind is not "
            "'all'), and evaluate it",
            field=_FIELD,
            value=str(source),
        )
    stored = lists["out_of_fold"]
    rows = zip(stored.clips, stored.folds.tolist(), stored.logits.tolist(), strict=True)
    return {
        "labels": labels,
        "answers": [(clip.path, fold, row) for clip, fold, row in rows],
        "splits": read_splits(source / "splits.json"),
        "earlier": read_earlier(source, config),
    }


@dataclasses.dataclass(frozen=True)
class Distillation:
    """What the models of a run learn from their teachers.

    Attributes:
      record: for `distillation.json`: `source`, `logits` by the training clips' paths, and `heard`
        by fold.
    """

    record: Mapping

    def apply(self, clips: Clips, config) -> Clips:
        """The clips with soft targets: (1 - weight) * label + weight * softmax(logits / T)."""
        group, (pool,) = config.distillation, clips.pools
        targets = np.eye(len(clips.dataset.scene_labels))[pool.targets]
        places = {clip.path: i for i, clip in enumerate(clips.dataset.clips)}
        rows = [places[path] for path in self.record["logits"]]
        logits = np.array(list(self.record["logits"].values())) / group.temperature
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        taught = powers / powers.sum(axis=1, keepdims=True)
        targets[rows] = (1 - group.weight) * targets[rows] + group.weight * taught
        pool = pool.replace(soft_targets=targets.astype(np.float32))
        return dataclasses.replace(clips, pools=(pool,))

    def write(self, workdir: pathlib.Path) -> None:
        """Writes `distillation.json`; of several processes the first one does."""
        if hosts.is_first():
            write_whole(workdir / DISTILLATION, json.dumps(self.record) + "\n")


def read_distillation(workdir: pathlib.Path, clips: Clips) -> Distillation:
    """Reads what `Distillation.write` has written in the folder of a resumed run.

    Raises:
      InputError: it is missing, or not whole.
    """
    path = workdir / DISTILLATION
    record = read_by_first(lambda: read_record(path))
    with reading(path):
        shape = len(record["logits"]), len(clips.dataset.scene_labels)
        paths = {clip.path for clip in clips.dataset.clips}
        logits = np.array(list(record["logits"].values()), float)
        if logits.shape != shape or not paths >= record["logits"].keys():
            raise ValueError("not the logits of these clips")
    return Distillation(record)


def distil(teachers: Teachers, clips: Clips) -> Distillation:
    """Finds the teacher of each training clip.

    Args:
      teachers: to choose from.
      clips: of the new run.

    Raises:
      InputError: the classes differ, a training clip has no teacher, its teacher has heard it, or
        has heard what one of the folds that train on it is scored on, or chooses its epoch by.
    """
    labels = clips.dataset.scene_labels
    if teachers.labels != tuple(labels):
        theirs = ", ".join(teachers.labels)
        message = (
            f"has the classes {theirs}, and the data set {', '.join(labels)}; name another run"
        )
        raise _refusal(teachers, message)
    each, digests = clips.dataset.clips, clips.digests
    known = {}
    for split in clips.splits:
        _refuse_unanswered(split.train, teachers, clips)
        folds = {teachers.answers[digests[i]][0] for i in split.train}
        for fold in sorted(folds):
            _refuse_leak(split, fold, teachers, clips)
        known[split.fold] = functools.reduce(operator.or_, map(teachers.heard.get, folds))
    trained = sorted({int(i) for split in clips.splits for i in split.train})
    return Distillation(
        {
            "source": str(teachers.folder.absolute()),
            "logits": {each[i].path: teachers.answers[digests[i]][1] for i in trained},
            "heard": {str(fold): one.as_json() for fold, one in known.items()},
        }
    )


def _refuse_unanswered(train: np.ndarray, teachers: Teachers, clips: Clips) -> None:
    """Refuses training clips whose teacher there is not, or has heard them."""
    path_of = lambda i: clips.dataset.clips[i].path
    without = [i for i in train if clips.digests[i] not in teachers.answers]
    if without:
        message = (
            f"has held out none of {len(without)} of {len(train)} training clips "
            f"({path_of(without[0])}); name a run that is cross-validated on all of them"
        )
        raise _refusal(teachers, message)
    for i in train:
        fold, _ = teachers.answers[clips.digests[i]]
        if clips.digests[i] in teachers.heard[fold].audio:
            message = (
                f"its model of fold {fold} has heard {path_of(i)}, which it should have held out: "
                "the same sound is there twice; remove one, and train it again"
            )
            raise _refusal(teachers, message)


def _refuse_leak(split: Split, fold: int, teachers: Teachers, clips: Clips) -> None:
    """Refuses a teacher that has heard what a fold is scored on, or chooses its epoch by."""
    each, teacher = clips.dataset.clips, teachers.heard[fold]
    unseen = [*split.held_out, *clips.test, *split.inner]
    # Folds at random hear the locations that they are scored on anyway.
    places = {each[i].location for i in unseen} - {each[i].location for i in split.train}
    known = teacher.locations & places
    if known or teacher.audio & {clips.digests[i] for i in unseen}:
        what = f"location {min(known)!r}" if known else "a clip"
        message = (
            f"its model of fold {fold} was trained on {what} or chose its epoch by it, and "
            f"fold {split.fold} is scored on it or chooses its epoch by it; set "
            "folds.kind='all' and folds.inner_fraction=0, and give both runs the same "
            "folds.test_fold"
        )
        raise _refusal(teachers, message)


def _refusal(teachers: Teachers, message: str) -> InputError:
    return InputError(message, field=_FIELD, value=str(teachers.folder))
