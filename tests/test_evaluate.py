"""What an evaluation leaves behind, also where it is cut short."""

import json
import types

import numpy as np
import pytest

from asc_jax import evaluate
from asc_jax.data.clips import Clip
from asc_jax.evaluate import write_evaluation
from asc_jax.jobs import is_scored
from asc_jax.predictions import Predictions
from asc_jax.train.checkpoint import Progress

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


def test_the_report_says_how_many_steps_were_skipped(tmp_path):
    lines = [
        {"epoch": epoch, "seconds": 1.0, "clips_per_second": 1.0, "skipped_steps": skipped}
        for epoch, skipped in ((1, [0, 2]), (2, [1, 0]))
    ]
    train = types.SimpleNamespace(selection="last", epochs=2, batch_size=8)
    config = types.SimpleNamespace(train=train, synthetic=types.SimpleNamespace(root=""))
    state = types.SimpleNamespace(step=np.array([10, 10]))
    describe = lambda: evaluate._describe_training(
        tmp_path, config, state, Progress(10, 2), [2, 2]
    )["note"]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "skipped, 3 of all folds" in describe()
    (tmp_path / "metrics.jsonl").write_text(json.dumps(lines[0] | {"skipped_steps": [0, 0]}) + "\n")
    assert "skipped" not in describe()
