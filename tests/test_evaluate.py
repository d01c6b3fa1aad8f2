"""What an evaluation leaves behind, also where it is cut short."""

import dataclasses

import numpy as np
import pytest

from asc_jax import evaluate
from asc_jax.data.clips import Clip
from asc_jax.errors import InputError
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


def contents(folder) -> dict[str, bytes]:
    """All files of a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_logits_that_are_not_finite_leave_an_earlier_evaluation_alone(tmp_path):
    lists = [a_list("test"), a_list("hidden", ("", ""))]
    write_evaluation(tmp_path, {"training": {"epochs": 3}}, lists, SCENES, **HOW)
    (tmp_path / "report.html").touch()
    before = contents(tmp_path)
    for k in range(2):
        logits = lists[k].logits.copy()
        logits[1, 4:, 0] = np.nan
        spoiled = [*lists[:k], dataclasses.replace(lists[k], logits=logits), *lists[k + 1 :]]
        with pytest.raises(InputError) as refused:
            write_evaluation(tmp_path, {"training": {"epochs": 4}}, spoiled, SCENES, **HOW)
        line = str(refused.value)
        assert str(tmp_path) in line and lists[k].name in line
        assert "4 of 8 clips" in line and "4.wav, 5.wav, 6.wav, ...; fold 2" in line
        assert contents(tmp_path) == before
