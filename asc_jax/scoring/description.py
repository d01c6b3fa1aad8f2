"""What `report.json` says of a run besides its scores."""

import datetime
import itertools
import pathlib
from collections.abc import Mapping

import numpy as np

from asc_jax.config.format import flatten
from asc_jax.config.rules import PATH_FIELDS
from asc_jax.data.generated import read_record
from asc_jax.models.summary import summarise
from asc_jax.parallel.arrays import fetch
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import Progress, digest_arrays
from asc_jax.runs.folder import SYNTHETIC
from asc_jax.runs.inputs import input_shape, make_network, told_of_lengths
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runs.own_functions import own_functions
from asc_jax.train.setup import Setup
from asc_jax.train.state import ClassifierState


def describe_run(
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
    starts, devices = provenance.read_starts(workdir), setup.mesh.devices
    return {
        "format": 1,
        "title": config.title,
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        # Of the training; of this process, which may run elsewhere and later, in "scored".
        "versions": starts[-1]["versions"] if starts else {},
        "device": provenance.trained_on(starts),
        "scored": {
            "versions": provenance.versions(),
            "device": f"{devices.flat[0].device_kind} x {devices.size}",
        },
        "network": {
            "name": config.model.name.rpartition(":")[2],
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
        "config": _describe_config(config),
        "scene_labels": list(labels),
    }


def _describe_config(config) -> dict:
    """The fields, flat, without paths; the user's own functions as `my_file.py:name`."""
    own = {field: reference for field, _, reference in own_functions(config)}
    return {f: v for f, v in (flatten(config) | own).items() if f not in PATH_FIELDS}


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
        note = "Each fold's epoch was chosen on inner clips of its training part, by location"
    elif progress.metrics:
        note = f"Scores come from step {progress.step}, within epoch {done + 1}"
    else:
        note = f"Scores come from the last epoch, {done}"
    note += "; no checkpoint was chosen on scored clips."
    if config.train.average != "none":
        note += (
            " The validated and scored network has the average of the weights over steps "
            f"({config.train.average}), with batch statistics of its own."
        )
    skipped = sum(sum(line.get("skipped_steps", ())) for line in metrics)
    if skipped:
        note += f" Skipped steps that were not finite, over all folds: {skipped:,}."
    if done < config.train.epochs:
        note += f" Training is not finished: epoch {done} of {config.train.epochs}."
    if config.synthetic.root:
        _, counts = read_record(workdir / SYNTHETIC)
        listed = ", ".join(f"{count} in fold {fold}" for fold, count in counts.items())
        note += f" Synthetic clips, only for training and from the fold's generator: {listed}."
    if config.train.init_from:
        source = pathlib.Path(config.train.init_from).name
        note += (
            f" Each model started from a model of {source} that was not trained on the clips that "
            "this one is scored on."
        )
    if config.distillation.run:
        source, share = pathlib.Path(config.distillation.run).name, config.distillation.weight
        note += (
            f" {share:.0%} of each target comes from the model of {source} that held the "
            "clip out; none of these models was trained on scored clips."
        )
    if any(provenance.other_functions(*two) for two in itertools.pairwise(starts)):
        note += " The run was resumed with other functions: see starts.jsonl."
    others = provenance.other_functions(starts[-1], start) if starts else []
    if others:
        note += f" Scored with other functions than in training: {', '.join(others)}."
    trained = state.params, state.untrained, state.band_mean, state.band_std
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
        "crop_seconds": config.train.crop_seconds,
        "lengths": told_of_lengths(config, setup.clips.seconds),
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
