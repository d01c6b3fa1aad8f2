"""Scoring a run: every fold's logits, their ensemble, the report and the submissions.

Every score says which clips it was made on, and none is made on clips that the model, or
the choice of its epoch, has seen.
"""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from asc_jax.config.load import flatten, override
from asc_jax.config.overrides import field_of
from asc_jax.data.clips import Dataset
from asc_jax.data.pool import Pool
from asc_jax.data.splits import refuse_other_splits
from asc_jax.runs import provenance
from asc_jax.runs.folder import read_config, refuse_other_sound, refuse_untrained
from asc_jax.runs.inputs import read_data, read_pool, told_of_lengths
from asc_jax.runs.logits import Predictions, read_logits, refuse_non_finite, write_logits
from asc_jax.runs.own_functions import own_functions
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, remove, write_whole
from asc_jax.scoring.description import describe_run
from asc_jax.scoring.other_sets import read_others, refuse_seen_audio, refuse_seen_locations
from asc_jax.scoring.predictions import (
    SUBMISSION_ENDINGS,
    refuse_double_ids,
    systems,
    write_submission,
)
from asc_jax.scoring.scores import score
from asc_jax.train.feed import make_feed
from asc_jax.train.heard import heard_before
from asc_jax.train.predict import predict
from asc_jax.train.restore import restore_chosen
from asc_jax.train.setup import Setup, set_up
from asc_jax.train.start import describe_start
from asc_jax.train.state import ClassifierState

# The fields that scoring may change: where things are, and how the work is done.

PLACES = (
    "data.root",
    "data.leaderboard_root",
    "data.evaluation_root",
    "data.cache_dir",
    "data.workers",
    "data.placement",
)
# And of the sets beside the development set: which clips are taken.
_OF_OTHERS = ("data.fit_length", "data.channels")


def evaluate(
    workdir: pathlib.Path,
    roots: Sequence[str] = (),
    overrides: Sequence[str] = (),
    *,
    other_functions: bool = False,
) -> dict:
    """Scores a trained run and writes `logits.npz`, `report.json` and `submission/`.

    Scores of further data sets from an earlier call for the same trained state are kept.

    Args:
      workdir: the run folder.
      roots: further data sets in the same layout; those with labels are scored, for the
        others submissions are written.
      overrides: "--config.FIELD=VALUE" each, for the fields of `PLACES`, and for `data.fit_length`
        and `data.channels`, which then apply only to further data sets.
      other_functions: score the run even if the functions that trained it have changed since.

    Returns:
      The report, as `report.json` holds it.

    Raises:
      InputError: there is no trained state yet, or a data set cannot be used.
    """
    config, of_others = _configs(workdir, overrides)
    others = read_others(config, roots)
    if config != of_others and not others:
        raise InputError("are only for sets of --data; add one", field=", ".join(_OF_OTHERS))
    refuse_untrained(workdir)
    if config.data.root and not pathlib.Path(config.data.root).is_dir():
        raise InputError(
            "no such folder; the run was trained on the clips there: if they have moved, add "
            "--config.data.root=FOLDER",
            path=config.data.root,
        )
    copies = {os.path.relpath(f, workdir) for _, one, _ in own_functions(config) for f in one.files}
    if copies:
        used = ", ".join(sorted(copies))
        print(f"{workdir}: its own functions are the copies in {used}", file=sys.stderr)
    dataset, splits, test = read_data(config)
    refuse_other_splits(workdir / "splits.json", dataset, splits, test)
    if not (others or len(test) or any(len(split.held_out) for split in splits)):
        raise InputError(
            "has no held-out clips to score (folds.kind='all'); add --data=FOLDER with "
            "other recordings, or score a run of the same config with folds.kind='location'",
            path=workdir,
        )
    setup = set_up(config, dataset, splits, test)
    refuse_other_sound(workdir, dataset, None, setup.clips.digests)
    pools, told, before = {}, {}, heard_before(workdir, config)
    for name, other in others.items():
        refuse_seen_locations(other, setup, before)
        if not other.labelled:
            refuse_double_ids(other.clips, other.root)
        loaded = read_pool(of_others, other, dataset.scene_labels)
        refuse_seen_audio(other, loaded.digests, setup, before)
        pools[name], told[name] = loaded.pool, told_of_lengths(of_others, loaded.seconds)
    state, progress, epochs = restore_chosen(workdir, config, setup.like)
    start = describe_start(setup)
    provenance.refuse_another(workdir, start, step=progress.step, allowed=other_functions)

    predictions = []
    if any(len(split.held_out) for split in splits):
        predictions.append(_predict_out_of_fold(setup, state, config))
    if len(setup.clips.test):
        predictions.append(_predict_test(setup, state, config))
    for name, other in others.items():
        one = _predict_other(name, other, pools[name], setup, state, of_others)
        described = f"{one.description} {told[name]}".strip()
        predictions.append(dataclasses.replace(one, description=described))

    about = describe_run(workdir, config, setup, state, progress, epochs, start)
    predictions += _earlier(workdir, about, {one.name for one in predictions})
    chosen = {"rule": config.ensemble.rule, "decision": config.ensemble.decision}
    return write_evaluation(workdir, about, predictions, setup.clips.dataset.scene_labels, **chosen)


def write_evaluation(
    workdir: pathlib.Path,
    about: Mapping,
    predictions: Sequence[Predictions],
    labels: Sequence[str],
    *,
    rule: str,
    decision: str,
) -> dict:
    """Writes what `evaluate` is to write, and takes away what else an earlier one has written.

    A run with a page is evaluated to its end: `write_page` makes it of these files.

    Args:
      workdir: the run folder.
      about: what `report.json` says besides the scores.
      predictions: every list.
      labels: the classes.
      rule: see `systems`, as `decision`.
      decision: of the answers.

    Returns:
      The report.

    Raises:
      InputError: a file cannot be written, or logits are not finite: then all files are left
        as they were.
    """
    for one in predictions:
        refuse_non_finite(one, workdir)
    remove(workdir / "report.html")
    chosen = {"rule": rule, "decision": decision}
    unlabelled = []
    for one in predictions:
        if not one.labelled:
            _, primary = next(iter(systems(one, **chosen).values()))
            files = write_submission(workdir / "submission", one, primary, labels)
            files = [file.relative_to(workdir).as_posix() for file in files]
            entry = {"name": one.name, "title": one.title, "n_clips": len(primary), "files": files}
            unlabelled.append(entry)
    report = {
        **about,
        "lists": [
            score(one, labels, **chosen)
            | {"audio_root": os.path.relpath(one.root, workdir) if one.root else ""}
            for one in predictions
            if one.labelled
        ],
        "unlabelled": unlabelled,
    }
    write_logits(workdir / "logits.npz", predictions, labels)
    write_whole(workdir / "report.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    written = {file for one in unlabelled for file in one["files"]}
    for path in (workdir / "submission").glob("*"):
        ours = path.name.endswith(SUBMISSION_ENDINGS)
        if ours and path.relative_to(workdir).as_posix() not in written:
            remove(path)
    return report


def _configs(workdir: pathlib.Path, overrides: Sequence[str]):
    """The run's config with the fields that scoring may change, and that of the sets beside."""
    config = read_config(workdir)
    for field in map(field_of, overrides):
        if field in flatten(config) and field not in PLACES + _OF_OTHERS:
            raise InputError(
                f"a run is scored as it was trained; evaluate takes {', '.join(PLACES)}, and for "
                f"sets of --data {' and '.join(_OF_OTHERS)}",
                field=f"--config.{field}",
            )
    places = [word for word in overrides if field_of(word) in PLACES]
    source = str(workdir / "config.json")
    return tuple(override(config, words, source, typed=True) for words in (places, overrides))


def _earlier(workdir: pathlib.Path, about: Mapping, names: set[str]) -> list[Predictions]:
    """The lists of an earlier evaluation of the same state that this one does not make anew.

    Args:
      workdir: the run folder.
      about: of this evaluation's report.
      names: of its lists.
    """
    try:
        report = parse_json((workdir / "report.json").read_text(encoding="utf-8"))
        listed = {
            one["name"]: {
                "title": one["title"],
                "description": one.get("description", ""),
                "root": workdir / one["audio_root"] if one.get("audio_root") else None,
            }
            for one in (*report["lists"], *report["unlabelled"])
        }
        training = dict(report["training"].items())
        lists, labels = read_logits(workdir / "logits.npz")
    except FileNotFoundError:
        return []
    except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError):
        print(
            f"{workdir}: report.json or logits.npz of an earlier evaluation cannot be read; what "
            "was scored with --data is left out: add it again",
            file=sys.stderr,
        )
        return []
    others = [name for name in listed if name in lists and name not in names]
    now = about["training"]
    same = training.get("state") == now["state"] and provenance.are_same(
        training.get("scored_by"), now["scored_by"]
    )
    if others and not (same and list(labels) == about["scene_labels"]):
        print(
            f"{workdir}: the results on {', '.join(others)} are of another state of the run "
            f"(step {training.get('steps')}, now {now['steps']}) or of other functions and "
            "are left out: add --data to score these sets again",
            file=sys.stderr,
        )
        return []
    return [dataclasses.replace(lists[name], **listed[name]) for name in others]


def _predict_out_of_fold(setup: Setup, state: ClassifierState, config) -> Predictions:
    description = "Each clip is scored by the one model that was not trained on it."
    if config.folds.kind == "random":
        description += " Folds ignore locations (folds.kind is random), so the score is too high."
    if told := setup.clips.dataset.no_identifiers:
        description += f" {told}"
    description += _windows(config)
    held_out = [split.held_out for split in setup.splits]
    logits = predict(setup, state, held_out)
    return Predictions(
        "out_of_fold",
        "Cross-validation" if len(setup.splits) > 1 else "Held-out part of the fold",
        description,
        tuple(setup.clips.dataset.clips[i] for i in np.concatenate(held_out)),
        np.concatenate(logits),
        np.concatenate([np.full(len(s.held_out), s.fold) for s in setup.splits]),
        setup.clips.dataset.root,
    )


def _predict_test(setup: Setup, state: ClassifierState, config) -> Predictions:
    lists = [setup.clips.test] * len(setup.splits)
    return Predictions(
        "test",
        "Test",
        f"The evaluate part of published fold {config.folds.test_fold}: no fold trained on it; "
        f"the ensemble of all folds scores it.{_windows(config)}",
        tuple(setup.clips.dataset.clips[i] for i in setup.clips.test),
        np.stack(predict(setup, state, lists)),
        np.array([split.fold for split in setup.splits]),
        setup.clips.dataset.root,
    )


def _predict_other(
    name: str, dataset: Dataset, pool: Pool, setup: Setup, state: ClassifierState, config
) -> Predictions:
    feed = make_feed([pool], setup.mesh, config.data.placement)
    lists = [np.arange(len(dataset.clips))] * len(setup.splits)
    description = f"The clips of {name}, scored by the ensemble of all folds."
    description += _windows(config)
    return Predictions(
        name,
        name,
        description,
        dataset.clips,
        np.stack(predict(setup, state, lists, feed)),
        np.array([split.fold for split in setup.splits]),
        dataset.root,
    )


def _windows(config) -> str:
    """Describes the windows of a model that is trained on crops; "" for whole clips."""
    seconds = config.train.crop_seconds
    if not seconds:
        return ""
    hop = config.ensemble.hop_seconds or seconds
    return (
        f" A clip's probabilities are the mean over windows of {seconds:g} s, one every {hop:g} s."
    )
