"""A trained run, whose data are gone."""

import pathlib
import shutil
import types

import pytest
import small

import asc_jax
from asc_jax.runs.logits import read_logits
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train.loop import train


@pytest.fixture(scope="session")
def trained(scenes, tmp_path_factory) -> types.SimpleNamespace:
    """The run, evaluated; its stored logits, and its clips."""
    place = tmp_path_factory.mktemp("trained")
    root = shutil.copytree(scenes, place / "data")
    train(small.config(root, "train.epochs=1", "model.se_ratio=2"), place / "run")
    evaluate(place / "run")
    lists, labels = read_logits(place / "run" / "logits.npz")
    clips = shutil.copytree(root / "audio", place / "clips")
    shutil.rmtree(root)
    return types.SimpleNamespace(
        run=place / "run", out_of_fold=lists["out_of_fold"], labels=labels, clips=clips
    )


@pytest.fixture(scope="session")
def run(trained) -> pathlib.Path:
    """The run's folder."""
    return trained.run


@pytest.fixture(scope="session")
def model(run):
    """The run, opened."""
    return asc_jax.load(run)
