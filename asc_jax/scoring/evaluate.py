"""Scoring a run: every fold's logits, their ensemble, the report and the submissions.

Every score says which clips it was made on, and none is made on clips that the model, or
the choice of its epoch, has seen.
"""

import dataclasses
import datetime
import itertools
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from asc_jax.config.load import flatten, override
from asc_jax.config.overrides import field_of
from asc_jax.data.clips import Dataset, read_dataset
from asc_jax.data.generated import read_record
from asc_jax.data.pool import Pool
from asc_jax.data.splits import refuse_other_splits
from asc_jax.models.summary import summarise
from asc_jax.parallel.arrays import fetch
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import Progress, digest_arrays
from asc_jax.runs.folder import SYNTHETIC, read_config, refuse_other_sound
from asc_jax.runs.inputs import input_shape, make_network, read_data, read_pool, sets_beside
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, remove, write_whole
from asc_jax.scoring.predictions import (
    SUBMISSION_ENDINGS,
    Predictions,
    read_logits,
    refuse_double_ids,
    refuse_non_finite,
    score,
    systems,
    write_logits,
    write_submission,
)
from asc_jax.train.classifier import ClassifierState
from asc_jax.train.feed import make_feed
from asc_jax.train.setup import (
    Setup,
    describe_start,
    predict,
    refuse_untrained,
    restore_chosen,
    set_up,
)

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

_LONGEST_NAME = 100  # bytes of a set's name, which names files


def evaluate(
    workdir: pathlib.Path,
    roots: Sequence[str] = (),
    overrides: Sequence[str] = (),
    *,
    other_functions: bool = False,
) -> dict:
    """Scores a trained run and writes `logits.npz`, `report.json` and `submission/`.

    What an earlier call has scored beside, of the same trained state, is kept.

    Args:
      workdir: the run folder.
      roots: further data sets in the same layout; those with labels are scored, for the
        others submissions are written.
      overrides: "--config.FIELD=VALUE" each, of `PLACES`; of `data.fit_length` and
        `data.channels`, for the sets beside the development set alone.
      other_functions: score the run though the functions that trained it have changed since.

    Returns:
      The report, as `report.json` holds it.

    Raises:
      InputError: nothing is trained yet, or a data set cannot be used.
    """
    config, of_others = _configs(workdir, overrides)
    others = _other_datasets(config, roots)
    if config != of_others and not others:
        raise InputError("data.fit_length and data.channels are of sets of --data; add one")
    refuse_untrained(workdir)
    if config.data.root and not pathlib.Path(config.data.root).is_dir():
        raise InputError(
            "no such folder; the run was trained on the clips there: if they have moved, add "
            "--config.data.root=FOLDER",
            path=config.data.root,
        )
    dataset, splits, test = read_data(config)
    refuse_other_splits(workdir / "splits.json", dataset, splits, test)
    setup = set_up(config, dataset, splits, test)
    refuse_other_sound(workdir, dataset, None, setup.clips.digests)
    pools = {}
    for name, other in others.items():
        _refuse_seen_locations(other, setup)
        if not other.labelled:
            refuse_double_ids(other.clips, other.root)
        pools[name], digests = read_pool(of_others, other, dataset.scene_labels)
        _refuse_seen_audio(other, digests, setup)
    state, progress, epochs = restore_chosen(workdir, setup)
    start = describe_start(setup)
    provenance.refuse_another(workdir, start, step=progress.step, allowed=other_functions)

    predictions = [_predict_out_of_fold(setup, state, config)]
    if len(setup.clips.test):
        predictions.append(_predict_test(setup, state, config))
    for name, other in others.items():
        predictions.append(_predict_other(name, other, pools[name], setup, state, of_others))

    about = _describe_run(workdir, config, setup, state, progress, epochs, start)
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
            primary = next(iter(systems(one, **chosen).values()))
            files = write_submission(workdir / "submission", one, primary, labels)
            files = [file.relative_to(workdir).as_posix() for file in files]
            entry = {"name": one.name, "title": one.title, "n_clips": len(primary), "files": files}
            unlabelled.append(entry)
    report = {
        **about,
        "lists": [score(one, labels, **chosen) for one in predictions if one.labelled],
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
            one["name"]: {"title": one["title"], "description": one.get("description", "")}
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
            f"{workdir}: the answers on {', '.join(others)} are of another state of the run (step "
            f"{training.get('steps')}, now {now['steps']}) or of other functions; they are left "
            "out: add --data to have new ones",
            file=sys.stderr,
        )
        return []
    return [dataclasses.replace(lists[name], **listed[name]) for name in others]


def _other_datasets(config, roots: Sequence[str]) -> dict[str, Dataset]:
    """The sets beside the development set, by a name each."""
    named = sets_beside(config)
    for root in roots:
        name = pathlib.Path(root).resolve().name
        if not name.isprintable() or not 0 < len(name.encode()) <= _LONGEST_NAME:
            raise InputError(
                f"the name of a set names its files, and {name[:40]!r} cannot; rename the folder, "
                f"to at most {_LONGEST_NAME} bytes that can be printed",
                path=root,
            )
        if name in ("out_of_fold", "test") or name in named:
            raise InputError(
                f"a list named {name!r} is there already; rename the folder", path=root
            )
        named[name] = root
    for root in named.values():
        if pathlib.Path(root).resolve() == pathlib.Path(config.data.root).resolve():
            raise InputError(
                "is the set that the run was trained on, which is scored out of fold anyway; leave "
                "it out",
                path=root,
            )
    return {
        name: read_dataset(
            root, argument="--data" if root in roots else f"--config.data.{name}_root"
        )
        for name, root in named.items()
    }


def _refuse_seen_locations(dataset: Dataset, setup: Setup) -> None:
    """A labelled set that shares a location with training clips has no honest score."""
    if not dataset.labelled:
        return
    seen = {
        setup.clips.dataset.clips[i].location for s in setup.splits for i in (*s.train, *s.inner)
    }
    for clip in dataset.clips:
        if clip.location in seen:
            raise InputError(
                f"its location {clip.location!r} is among the training clips; leave such clips out "
                "of the set to be scored (or give them another identifier in meta.csv if it is not "
                "the same place)",
                path=dataset.audio_path(clip),
            )


def _refuse_seen_audio(dataset: Dataset, digests: Sequence[str], setup: Setup) -> None:
    """A labelled set that holds training clips has no honest score, whatever their names are."""
    if not dataset.labelled:
        return
    seen = {setup.clips.digests[i]: i for s in setup.splits for i in (*s.train, *s.inner)}
    for clip, digest in zip(dataset.clips, digests, strict=True):
        if digest in seen:
            trained = setup.clips.dataset.audio_path(setup.clips.dataset.clips[seen[digest]])
            raise InputError(
                f"is the training clip {trained} again; leave such clips out of the set to be "
                "scored",
                path=dataset.audio_path(clip),
            )


def _predict_out_of_fold(setup: Setup, state: ClassifierState, config) -> Predictions:
    description = "Each clip is scored only by the model that held it out."
    if config.folds.kind == "random":
        description += " That model knows its location (folds.kind is random): the score flatters."
    held_out = [split.held_out for split in setup.splits]
    logits = predict(setup, state, held_out)
    return Predictions(
        "out_of_fold",
        "Out-of-fold" if len(setup.splits) > 1 else "Held-out part of the fold",
        description,
        tuple(setup.clips.dataset.clips[i] for i in np.concatenate(held_out)),
        np.concatenate(logits),
        np.concatenate([np.full(len(s.held_out), s.fold) for s in setup.splits]),
    )


def _predict_test(setup: Setup, state: ClassifierState, config) -> Predictions:
    lists = [setup.clips.test] * len(setup.splits)
    return Predictions(
        "test",
        "Test",
        f"The evaluate part of published fold {config.folds.test_fold}: no fold trained on it; "
        "the ensemble of all folds scores it.",
        tuple(setup.clips.dataset.clips[i] for i in setup.clips.test),
        np.stack(predict(setup, state, lists)),
        np.array([split.fold for split in setup.splits]),
    )


def _predict_other(
    name: str, dataset: Dataset, pool: Pool, setup: Setup, state: ClassifierState, config
) -> Predictions:
    feed = make_feed([pool], setup.mesh, config.data.placement)
    lists = [np.arange(len(dataset.clips))] * len(setup.splits)
    description = f"The clips of {name}, scored by the ensemble of all folds."
    if config.data.fit_length:
        description += f" They were cut or filled with zeros to {config.data.clip_seconds:g} s."
    return Predictions(
        name,
        name,
        description,
        dataset.clips,
        np.stack(predict(setup, state, lists, feed)),
        np.array([split.fold for split in setup.splits]),
    )


def _describe_run(
    workdir: pathlib.Path,
    config,
    setup: Setup,
    state: ClassifierState,
    progress: Progress,
    epochs: list[int],
    start: Mapping,
) -> dict:
    """Everything in `report.json` but the scores."""
    labels = setup.clips.dataset.scene_labels
    summary = summarise(make_network(config, len(labels)), *input_shape(config))
    starts = provenance.read_starts(workdir)
    return {
        "format": 1,
        "title": config.title,
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        # Of the training; of this process, which may run elsewhere and later, in "scored".
        "versions": starts[-1]["versions"] if starts else {},
        "device": provenance.trained_on(starts),
        "scored": {"versions": provenance.versions(), "device": _device(setup)},
        "network": {
            "name": config.model.name,
            "parameters": summary.parameters,
            "macs": summary.macs,
            "convolutions": summary.convolutions,
            "receptive_field": summary.receptive_field,
            "input": list(summary.input),
        },
        "training": {
            **_describe_training(workdir, config, state, progress, epochs, start),
            "scored_by": {field: start[field] for field in provenance.COMPARED},
        },
        "data": _describe_data(config, setup),
        "scene_labels": list(labels),
    }


def _device(setup: Setup) -> str:
    return f"{setup.mesh.devices.flat[0].device_kind} x {setup.mesh.devices.size}"


def _describe_training(
    workdir: pathlib.Path,
    config,
    state: ClassifierState,
    progress: Progress,
    epochs: list[int],
    start: Mapping,
) -> dict:
    done = progress.epochs
    metrics = read_metrics(workdir / "metrics.jsonl")
    starts = provenance.read_starts(workdir)
    if config.train.selection == "inner":
        note = "Each fold's epoch was chosen on inner clips, by location, of its training part"
    elif progress.metrics:
        note = f"Scores come from step {progress.step}, within epoch {done + 1}"
    else:
        note = f"Scores come from the last epoch, {done}"
    note += "; no clip that is scored chose a checkpoint."
    skipped = sum(sum(line.get("skipped_steps", ())) for line in metrics)
    if skipped:
        note += f" Steps that were not finite were skipped, {skipped:,} of all folds together."
    if done < config.train.epochs:
        note += f" Training is not finished: epoch {done} of {config.train.epochs}."
    if config.synthetic.root:
        _, counts = read_record(workdir / SYNTHETIC)
        listed = ", ".join(f"{count} in fold {fold}" for fold, count in counts.items())
        note += f" Synthetic clips, to train on only and of the fold's own generator: {listed}."
    if any(provenance.other_functions(*two) for two in itertools.pairwise(starts)):
        note += " Other functions have gone on with what some had begun: see starts.jsonl."
    others = provenance.other_functions(starts[-1], start) if starts else []
    if others:
        note += f" Scored by other functions than it was trained by: {', '.join(others)}."
    trained = (state.params, state.batch_stats, state.band_mean, state.band_std)
    return {
        "n_folds": len(state.step),
        "epochs": done,
        "steps": int(state.step[0]),  # all folds take the same
        "batch_size": config.train.batch_size,
        "state": digest_arrays(fetch(trained)),
        "seconds": sum(line["seconds"] for line in metrics) or None,
        "device_seconds": provenance.device_seconds(starts, metrics),
        "clips_per_second": float(np.median([line["clips_per_second"] for line in metrics]))
        if metrics
        else None,
        "scored_by_other": others,
        "selection": config.train.selection,
        "selected_epochs": epochs,
        "note": note,
    }


def _describe_data(config, setup: Setup) -> dict:
    clips = setup.clips.dataset.clips

    def n_locations(indices) -> int:
        return len({clips[i].location for i in indices})

    return {
        "root": pathlib.Path(config.data.root).resolve().name,
        "n_clips": len(clips),
        "n_locations": n_locations(range(len(clips))),
        "sr": config.frontend.sr,
        "clip_seconds": config.data.clip_seconds,
        "splits": [
            {
                "fold": split.fold,
                "train_clips": len(split.train),
                "inner_clips": len(split.inner),
                "held_out_clips": len(split.held_out),
                "train_locations": n_locations(split.train),
                "held_out_locations": n_locations(split.held_out),
            }
            for split in setup.splits
        ],
    }
