"""What an evaluation leaves behind, also where it is cut short."""

import importlib.metadata
import pathlib
import tomllib

import numpy as np
import pytest

import asc_jax
from asc_jax import evaluate
from asc_jax.data.clips import Clip
from asc_jax.evaluate import write_evaluation
from asc_jax.jobs import is_scored
from asc_jax.predictions import Predictions

SCENES = ("park", "tram")
HOW = {"rule": "mean_logits", "decision": "argmax"}


def a_list(name: str, scenes=SCENES) -> Predictions:
    clips = tuple(Clip(f"{n}.wav", scenes[n % 2], f"place-{n // 2}") for n in range(8))
    logits = np.random.default_rng(0).normal(size=(2, 8, 2)).astype("f4")
    return Predictions(name, name, "Scored by all.", clips, logits, np.arange(1, 3))


@pytest.mark.parametrize("last", ["write_submission", "write_logits", "write_whole"])
def test_an_evaluation_cut_short_does_not_pass_for_done(tmp_path, monkeypatch, last):
    """Its report is not yet there, or it is and the page is still that of an earlier one."""
    lists = [a_list("test"), a_list("leaderboard", ("", ""))]
    about = {"training": {"epochs": 3}}
    write_evaluation(tmp_path, about, lists, SCENES, **HOW)
    assert not is_scored(tmp_path, 3)
    (tmp_path / "report.html").touch()
    assert is_scored(tmp_path, 3, ("leaderboard",)) and not is_scored(tmp_path, 3, ("evaluation",))

    def killed(*args):
        write(*args)
        raise KeyboardInterrupt

    write = getattr(evaluate, last)
    monkeypatch.setattr(evaluate, last, killed)
    with pytest.raises(KeyboardInterrupt):
        write_evaluation(tmp_path, about, lists, SCENES, **HOW)
    assert not is_scored(tmp_path, 3)


def test_the_version_is_that_of_the_source(monkeypatch):
    """Also in a checkout that is not installed, and beside what is of no distribution."""

    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    versions = evaluate._versions()
    assert versions["asc_jax"] == asc_jax.__version__ and "jax" not in versions
    pyproject = pathlib.Path(__file__).parents[1] / "pyproject.toml"
    described = tomllib.loads(pyproject.read_text())
    assert "version" not in described["project"]
    attribute = described["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert attribute == "asc_jax.__version__"
