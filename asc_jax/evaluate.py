"""Scoring a run: every fold's logits, their ensemble, the report and the submissions.

Every score says which clips it was made on, and none is made on clips that the model, or
the choice of its epoch, has seen.
"""

import dataclasses
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
from collections.abc import Sequence

import numpy as np

from asc_jax import ensemble, run, statistics
from asc_jax.data.clips import Clip, Dataset, read_dataset
from asc_jax.errors import InputError
from asc_jax.models.summary import summarise
from asc_jax.train import loop, parallel
from asc_jax.train.checkpoint import Checkpoints
from asc_jax.train.metrics_log import read_metrics


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The logits of one list of clips.

    Attributes:
      name: of the list; it names its files too.
      title: for a reader.
      description: who scored what.
      clips: the list.
      logits: (n, K) where each clip was seen by one model, (F, n, K) by every fold's.
      folds: (n,) the fold whose model saw each clip, or None where all did.
    """

    name: str
    title: str
    description: str
    clips: tuple[Clip, ...]
    logits: np.ndarray
    folds: np.ndarray | None = None


def evaluate(workdir: pathlib.Path, roots: Sequence[str] = ()) -> dict:
    """Scores a trained run and writes `logits.npz`, `report.json` and `submission/`.

    Args:
      workdir: the run folder.
      roots: further data sets in the same layout; those with labels are scored, for the
        others submissions are written.

    Returns:
      The report, as `report.json` holds it.

    Raises:
      InputError: nothing is trained yet, or a data set cannot be used.
    """
    config = run.read_config(workdir)
    choosing = config.train.selection == "inner"
    others = _other_datasets(config, roots)
    setup = loop.set_up(config)
    for _, dataset in others:
        _refuse_seen_locations(dataset, setup)
    with Checkpoints(workdir / "checkpoints", keep=config.train.keep_checkpoints) as checkpoints:
        state, best, done = loop.restore(setup, checkpoints, choosing=choosing)
    if not done:
        raise InputError(f"{workdir}: no epoch is finished; run asc-jax train --workdir={workdir}")
    epochs = [done] * len(setup.splits)
    if best is not None and (np.asarray(best.epoch) > 0).all():
        state = state.replace(params=best.params, batch_stats=best.batch_stats)
        epochs = np.asarray(best.epoch).tolist()
    elif choosing:
        raise InputError(
            f"{workdir}: epoch {done} is not beyond train.select_after="
            f"{config.train.select_after}; train on before evaluating"
        )
    predictions = [_predict_out_of_fold(setup, state, config)]
    if len(setup.test):
        predictions.append(_predict_test(setup, state, config))
    for name, dataset in others:
        predictions.append(_predict_other(name, dataset, setup, state, config))
    labels = setup.dataset.scene_labels
    _write_logits(workdir / "logits.npz", predictions, labels)
    report = {
        **_describe_run(workdir, config, setup, done, epochs),
        "lists": [score(p, labels, config) for p in predictions if p.clips[0].scene_label],
        "unlabelled": [
            _write_submission(workdir, p, labels, config)
            for p in predictions
            if not p.clips[0].scene_label
        ],
    }
    _write(workdir / "report.json", (json.dumps(report, indent=1) + "\n").encode())
    return report


def _other_datasets(config, roots: Sequence[str]) -> list[tuple[str, Dataset]]:
    """The sets beside the development set, with a name each."""
    named = [("leaderboard", config.data.leaderboard_root)]
    named += [("evaluation", config.data.evaluation_root)]
    named += [(pathlib.Path(root).absolute().name, root) for root in roots]
    development = pathlib.Path(config.data.root).absolute()
    return [
        (name, read_dataset(root))
        for name, root in named
        if root and pathlib.Path(root).absolute() != development
    ]


def _refuse_seen_locations(dataset: Dataset, setup: loop.Setup) -> None:
    """A labelled set that shares a location with training clips has no honest score."""
    if not dataset.labelled:
        return
    seen = {setup.dataset.clips[i].location for s in setup.splits for i in (*s.train, *s.inner)}
    for clip in dataset.clips:
        if clip.location in seen:
            raise InputError(
                f"{dataset.audio_path(clip)}: its location {clip.location!r} is among the "
                "training clips; leave such clips out of the set to be scored"
            )


def _predict_out_of_fold(setup: loop.Setup, state, config) -> Predictions:
    held_out = [split.held_out for split in setup.splits]
    logits = loop.predict(setup, state, held_out, config.train.batch_size)
    return Predictions(
        "out_of_fold",
        "Out-of-fold" if len(setup.splits) > 1 else "Held-out part of the fold",
        "Each clip is scored only by the model that held it out.",
        tuple(setup.dataset.clips[i] for i in np.concatenate(held_out)),
        np.concatenate(logits),
        np.concatenate([np.full(len(s.held_out), s.fold) for s in setup.splits]),
    )


def _predict_test(setup: loop.Setup, state, config) -> Predictions:
    lists = [setup.test] * len(setup.splits)
    return Predictions(
        "test",
        "Test",
        f"The evaluate part of published fold {config.folds.test_fold}: no fold trained on it; "
        "the ensemble of all folds scores it.",
        tuple(setup.dataset.clips[i] for i in setup.test),
        np.stack(loop.predict(setup, state, lists, config.train.batch_size)),
    )


def _predict_other(name: str, dataset: Dataset, setup: loop.Setup, state, config) -> Predictions:
    host_pool = run.read_pool(config, dataset, setup.dataset.scene_labels)
    pool = parallel.put(host_pool, setup.mesh, parallel.SHARED)
    lists = [np.arange(len(dataset.clips))] * len(setup.splits)
    return Predictions(
        name,
        name.capitalize(),
        f"The clips of {dataset.root.name}, scored by the ensemble of all folds.",
        dataset.clips,
        np.stack(loop.predict(setup, state, lists, config.train.batch_size, pool)),
    )


def systems(predictions: Predictions, config) -> dict[str, np.ndarray]:
    """The answers to compare on one list: name -> (n,) class indices; the primary one first."""

    def decide(logits) -> np.ndarray:
        return np.asarray(ensemble.decide(logits, config.ensemble.decision))

    if predictions.folds is not None:
        return {"held-out fold": decide(predictions.logits)}
    rules = sorted(ensemble.RULES, key=lambda rule: rule != config.ensemble.rule)
    answers = {
        rule.replace("_", " of "): decide(ensemble.RULES[rule](predictions.logits))
        for rule in rules
    }
    singles = {f"fold {f}": decide(one) for f, one in enumerate(predictions.logits, start=1)}
    return answers | singles


def score(predictions: Predictions, scene_labels: Sequence[str], config) -> dict:
    """One list's scores, as `report.json` holds them."""
    index = {label: k for k, label in enumerate(scene_labels)}
    targets = np.array([index[clip.scene_label] for clip in predictions.clips])
    locations = np.array([clip.location for clip in predictions.clips])
    n_classes = len(scene_labels)
    answers = systems(predictions, config)
    rows = []
    for name, answer in answers.items():
        overall, class_wise, recalls = statistics.scores_by_location(
            targets, answer, locations, n_classes
        )
        confusion = statistics.confusion_matrix(targets, answer, n_classes)
        rows.append(
            {
                "name": name,
                "accuracy": _fractions(overall),
                "class_wise_accuracy": _fractions(class_wise),
                "per_class": [
                    {"scene_label": label, "n_clips": int(n), **_fractions(recall)}
                    for label, n, recall in zip(
                        scene_labels, confusion.sum(axis=1), recalls, strict=True
                    )
                ],
                "confusion": confusion.tolist(),
            }
        )
    per_fold = []
    if predictions.folds is not None:
        for fold in np.unique(predictions.folds):
            here = predictions.folds == fold
            confusion = statistics.confusion_matrix(
                targets[here], answers["held-out fold"][here], n_classes
            )
            per_fold.append(
                {
                    "fold": int(fold),
                    "n_clips": int(here.sum()),
                    "accuracy": float(statistics.accuracy(confusion)),
                    "class_wise_accuracy": float(statistics.class_wise_accuracy(confusion)),
                }
            )
    return {
        "name": predictions.name,
        "title": predictions.title,
        "description": predictions.description,
        "n_clips": len(targets),
        "n_locations": len(set(locations)),
        "systems": rows,
        "per_fold": per_fold,
    }


def _fractions(score: statistics.Score) -> dict:
    """A score for JSON, which has no NaN."""
    return {k: v if math.isfinite(v) else None for k, v in dataclasses.asdict(score).items()}


def _describe_run(workdir: pathlib.Path, config, setup: loop.Setup, done: int, epochs) -> dict:
    network = run.make_network(config, len(setup.dataset.scene_labels))
    n_frames, n_mels = run.input_shape(config)
    summary = summarise(network, n_frames, n_mels)
    metrics = read_metrics(workdir / "metrics.jsonl")
    clips = setup.dataset.clips

    def n_locations(indices) -> int:
        return len({clips[i].location for i in indices})

    return {
        "format": 1,
        "title": config.title,
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "versions": _versions(),
        "device": f"{setup.mesh.devices.flat[0].device_kind} x {setup.mesh.devices.size}",
        "network": {
            "name": config.model.name,
            "parameters": summary.parameters,
            "macs": summary.macs,
            "convolutions": summary.convolutions,
            "receptive_field": summary.receptive_field,
            "input": list(summary.input),
        },
        "training": {
            "n_folds": len(setup.splits),
            "epochs": done,
            "planned_epochs": config.train.epochs,
            "steps": done * setup.steps_per_epoch,
            "batch_size": config.train.batch_size,
            "seconds": sum(m["seconds"] for m in metrics) if metrics else None,
            "clips_per_second": float(np.median([m["clips_per_second"] for m in metrics]))
            if metrics
            else None,
            "selection": config.train.selection,
            "selected_epochs": epochs,
            "note": _selection_note(config, done),
        },
        "data": {
            "root": pathlib.Path(config.data.root).absolute().name,
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
        },
        "scene_labels": list(setup.dataset.scene_labels),
    }


def _selection_note(config, done: int) -> str:
    unfinished = "" if done == config.train.epochs else " Training is not finished."
    if config.train.selection == "inner":
        return (
            "Each fold's epoch was chosen on inner clips, taken by location from its training "
            f"part; no clip that is scored chose a checkpoint.{unfinished}"
        )
    return (
        f"Scores come from the last epoch ({done}); no clip that is scored chose a "
        f"checkpoint.{unfinished}"
    )


def _versions() -> dict[str, str]:
    names = ("asc_jax", "jax", "flax", "optax", "orbax-checkpoint", "numpy")
    return {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in names}


def _write_logits(path: pathlib.Path, predictions: Sequence[Predictions], labels) -> None:
    """All logits with their clips, so that ensembles can be tried without a device."""
    arrays = {"scene_labels": np.array(labels)}
    for p in predictions:
        arrays[f"{p.name}/logits"] = p.logits
        for field in ("path", "scene_label", "location"):
            arrays[f"{p.name}/{field}"] = np.array([getattr(clip, field) for clip in p.clips])
        if p.folds is not None:
            arrays[f"{p.name}/fold"] = p.folds
    partial = path.with_suffix(".partial.npz")
    try:
        np.savez_compressed(partial, **arrays)
        os.replace(partial, path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _write_submission(workdir: pathlib.Path, predictions: Predictions, labels, config) -> dict:
    """The primary system's answers, in the leaderboard's and in DCASE's format."""
    answers = next(iter(systems(predictions, config).values()))
    named = [(clip, labels[k]) for clip, k in zip(predictions.clips, answers, strict=True)]
    leaderboard = "".join(f"{clip.stem},{label}\n" for clip, label in named)
    dcase = "".join(f"{clip.path}\t{label}\n" for clip, label in named)
    files = {
        f"submission/{predictions.name}_leaderboard.csv": "Id,Scene_label\n" + leaderboard,
        f"submission/{predictions.name}_dcase.txt": dcase,
    }
    for name, text in files.items():
        _write(workdir / name, text.encode())
    return {"name": predictions.name, "n_clips": len(named), "files": list(files)}


def _write(path: pathlib.Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: pathlib.Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be written ({error.strerror}); free some space")


def render(report: dict) -> str:
    """The report's scores as a table for a terminal."""

    def percent(score: dict) -> str:
        if score["value"] is None:
            return "-"
        return f"{score['value']:6.1%} [{score['low']:.1%}, {score['high']:.1%}]"

    lines = []
    for one in report["lists"]:
        lines += [f"{one['title']}: {one['n_clips']} clips, {one['n_locations']} locations"]
        lines += [f"  {one['description']}"]
        lines += [f"  {'':24}{'accuracy':24}class-wise accuracy"]
        for system in one["systems"]:
            lines.append(
                f"  {system['name']:24}{percent(system['accuracy']):24}"
                f"{percent(system['class_wise_accuracy'])}"
            )
        if one["per_fold"]:
            folds = one["per_fold"]
            each = "  ".join(f"{fold['accuracy']:.1%}" for fold in folds)
            mean = np.mean([fold["accuracy"] for fold in folds])
            lines.append(f"  {'accuracy per fold':24}{each}  (mean {mean:.1%})")
        lines += [f"    {row['scene_label']:22}{percent(row)}"
                  for row in one["systems"][0]["per_class"]]  # fmt: skip
        lines.append("")
    for one in report["unlabelled"]:
        lines.append(f"{one['name']}: {one['n_clips']} clips without labels: "
                     + ", ".join(one["files"]))  # fmt: skip
    lines += [report["training"]["note"], "Intervals: 95 %, bootstrap over locations."]
    return "\n".join(lines)
