"""What the scores of a list hide: its groups, and the clips that were answered wrong."""

import numpy as np
import pytest

from asc_jax.data.clips import Clip
from asc_jax.runs.logits import Predictions, write_logits
from asc_jax.scoring import scores
from asc_jax.scoring.scores import MOST_WRONG, score
from asc_jax.stats.scores import scores_by_location

LABELS = ("bus", "park", "tram")
PLACES = (("paris", "a"), ("paris", "b"), ("vienna", "a"), ("", ""))


def a_list(n: int = 200, *, folds: int = 0, spread: float = 1.0) -> Predictions:
    """Clips at places in two cities and in none, whose models know nothing."""
    rng = np.random.default_rng(0)
    clips = tuple(
        Clip(f"audio/{i}.wav", LABELS[rng.integers(3)], f"place-{i // 5}", *PLACES[i // 5 % 4])
        for i in range(n)
    )
    logits = spread * rng.normal(size=((folds, n, 3) if folds else (n, 3))).astype("f4")
    scored_by = np.arange(1, folds + 1) if folds else np.arange(n) % 2 + 1
    return Predictions("a", "A", "", clips, logits, scored_by)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


# By hand: a list's stored logits -> the probabilities of the first system.
SYSTEMS = {
    "out of fold": (0, "mean_logits", softmax),
    "one model": (1, "mean_logits", lambda logits: softmax(logits[0])),
    "mean of logits": (3, "mean_logits", lambda logits: softmax(logits.mean(axis=0))),
    "mean of probabilities": (
        3, "mean_probabilities", lambda logits: softmax(logits).mean(axis=0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_most_certain_wrong_answers_come_first(tmp_path, name):
    folds, rule, by_hand = SYSTEMS[name]
    one = a_list(folds=folds)
    found = score(one, LABELS, rule=rule, decision="argmax")["wrong"]
    write_logits(tmp_path / "logits.npz", [one], LABELS)
    stored = np.load(tmp_path / "logits.npz")
    probabilities = by_hand(stored["a/logits"].astype(float))
    rows = sorted(
        (
            (p.max(), path, label, LABELS[p.argmax()], p[LABELS.index(label)])
            for p, path, label in zip(
                probabilities, stored["a/path"], stored["a/scene_label"], strict=True
            )
            if LABELS[p.argmax()] != label
        ),
        reverse=True,
    )
    assert found["n_clips"] == len(rows) > len(found["most_certain"]) == MOST_WRONG == 50
    for clip, (highest, path, label, answer, of_label) in zip(
        found["most_certain"], rows[:MOST_WRONG], strict=True
    ):
        assert (clip["path"], clip["scene_label"], clip["answer"]) == (path, label, answer)
        assert clip["answer_probability"] == pytest.approx(highest, abs=1e-6)
        assert clip["scene_probability"] == pytest.approx(of_label, abs=1e-6)


def test_an_answer_by_threshold_has_its_own_probability():
    one = a_list(spread=0.1)  # no class is above one half: each clip is answered with the first
    wrong = score(one, LABELS, rule="mean_logits", decision="threshold")["wrong"]
    assert wrong["n_clips"] == sum(clip.scene_label != "bus" for clip in one.clips)
    said = [clip["answer_probability"] for clip in wrong["most_certain"]]
    assert said == sorted(said, reverse=True) and max(said) < 0.5
    assert {clip["answer"] for clip in wrong["most_certain"]} == {"bus"}


def test_all_right_lists_nothing():
    one = a_list(20)
    one.logits[:] = [np.eye(3)[LABELS.index(clip.scene_label)] for clip in one.clips]
    found = score(one, LABELS, rule="mean_logits", decision="argmax")
    assert found["wrong"] == {"n_clips": 0, "most_certain": []}


@pytest.mark.parametrize("folds", [0, 3])
def test_scores_by_device_and_city_are_those_of_their_clips(folds):
    one = a_list(folds=folds)
    found = score(one, LABELS, rule="mean_logits", decision="argmax")
    mean = one.logits.mean(axis=0) if folds else one.logits
    targets = np.array([LABELS.index(clip.scene_label) for clip in one.clips])
    right = mean.argmax(axis=-1) == targets
    locations = np.array([clip.location for clip in one.clips])
    names = {"device": ["a", "b"], "city": ["paris", "vienna"]}
    for field, parts in names.items():
        assert [part[field] for part in found[f"per_{field}"]] == parts
        for part in found[f"per_{field}"]:
            here = np.array([getattr(clip, field) == part[field] for clip in one.clips])
            assert part["n_clips"] == here.sum()
            assert part["accuracy"]["value"] == pytest.approx(right[here].mean())
            by_class = [right[here & (targets == k)].mean() for k in range(3)]
            assert part["class_wise_accuracy"]["value"] == pytest.approx(np.mean(by_class))
            answers = mean.argmax(axis=-1)[here]
            expected = scores_by_location(targets[here], answers, locations[here], 3)
            for measure, other in zip(("accuracy", "class_wise_accuracy"), expected, strict=False):
                ends = [part[measure]["low"], part[measure]["high"]]
                assert ends == pytest.approx([other.low, other.high])


def test_one_city_or_none_is_no_group():
    clips = [Clip("1.wav", "bus", "x", "paris", "a"), Clip("2.wav", "bus", "y", "", "b")]
    assert scores.groups(clips, "city") == {}
    by_device = {name: here.tolist() for name, here in scores.groups(clips, "device").items()}
    assert by_device == {"a": [True, False], "b": [False, True]}


def test_a_group_of_one_clip_has_a_score():
    clips = (Clip("1.wav", "bus", "x", "", "a"), Clip("2.wav", "bus", "y", "", "b"))
    one = Predictions("a", "A", "", clips, np.eye(3, dtype="f4")[[0, 1]], np.array([1, 2]))
    found = score(one, LABELS, rule="mean_logits", decision="argmax")["per_device"]
    assert [part["accuracy"]["value"] for part in found] == [1, 0]
    assert all(part["accuracy"]["low"] < part["accuracy"]["high"] for part in found)
