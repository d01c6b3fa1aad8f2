"""Runs over the same clips meet in one order; others are refused in one line."""

import dataclasses

import numpy as np
import pytest

from asc_jax.data.clips import Clip
from asc_jax.runtime.errors import InputError
from asc_jax.scoring.alignment import align, refuse_other_labels, refuse_shared_locations
from asc_jax.stats.comparison import compare

CLIPS = tuple(
    Clip(f"audio/{scene}-{n}.wav", scene, f"{scene}-{n // 2}")
    for scene in ("tram", "park")
    for n in range(4)
)


def refusal(check, *args) -> str:
    with pytest.raises(InputError) as refused:
        check(*args)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_align():
    shuffled = [CLIPS[i] for i in np.random.default_rng(0).permutation(8)]
    orders = align({"runs/a": CLIPS, "runs/b": shuffled, "runs/c": CLIPS[::-1]})
    assert list(orders) == ["runs/a", "runs/b", "runs/c"]
    aligned = [CLIPS[i] for i in orders["runs/a"]]
    assert [clip.path for clip in aligned] == sorted(clip.path for clip in CLIPS)
    assert [shuffled[i] for i in orders["runs/b"]] == aligned
    assert [CLIPS[::-1][i] for i in orders["runs/c"]] == aligned


def test_a_run_alone_is_aligned():
    assert sorted(align({"runs/a": CLIPS})["runs/a"]) == list(range(8))


def test_missing_clips_are_refused():
    message = refusal(align, {"runs/a": CLIPS, "runs/b": CLIPS[:2]})
    assert "audio/park-0.wav: is among the clips of runs/a, not of runs/b" in message
    more = {"runs/a": CLIPS[:3], "runs/b": CLIPS[:3], "runs/c": CLIPS[:4]}
    assert "audio/tram-3.wav: is among the clips of runs/c, not of runs/a" in refusal(align, more)


@pytest.mark.parametrize("field", ["scene_label", "location"])
def test_other_labels_and_locations_are_refused(field):
    changed = [dataclasses.replace(clip, **{field: "moon"}) for clip in CLIPS[2:3]]
    message = refusal(align, {"runs/a": CLIPS, "runs/b": (*CLIPS[:2], *changed, *CLIPS[3:])})
    words = ("audio/tram-2.wav", field, "'moon' in runs/b", "in runs/a")
    assert all(word in message for word in words)


def test_a_clip_listed_twice_is_refused():
    message = refusal(align, {"runs/a": CLIPS, "runs/b": (*CLIPS, CLIPS[0])})
    assert "audio/tram-0.wav: is listed twice in runs/b" in message


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("bus", "park", "tram"), "'bus' is in one only"),
        (("tram", "park"), "their order differs"),
    ],
)
def test_other_label_sets_are_refused(labels, said):
    refuse_other_labels({"runs/a": ("park", "tram"), "runs/b": ["park", "tram"]})
    message = refusal(refuse_other_labels, {"runs/a": ("park", "tram"), "runs/b": labels})
    assert all(word in message for word in ("runs/a", "runs/b", said))


def test_weights_are_not_scored_where_they_were_fitted():
    refuse_shared_locations(CLIPS[:4], CLIPS[4:])
    message = refusal(refuse_shared_locations, CLIPS[:1], CLIPS[4:] + CLIPS[1:2])
    assert "audio/tram-1.wav" in message and "'tram-0'" in message


def test_a_run_in_another_order_does_not_differ_from_itself():
    rng = np.random.default_rng(1)
    logits, shuffle = rng.normal(size=(8, 2)), rng.permutation(8)
    runs = {"runs/a": (CLIPS, logits), "runs/b": ([CLIPS[i] for i in shuffle], logits[shuffle])}
    orders = align({name: clips for name, (clips, _) in runs.items()})
    before, after = (values[orders[name]].argmax(-1) for name, (_, values) in runs.items())
    targets = np.array([clip.scene_label == "tram" for clip in CLIPS])[orders["runs/a"]].astype(int)
    places = np.array([clip.location for clip in CLIPS])[orders["runs/a"]]
    result = compare(targets, before, after, places, 2)
    assert (result.mcnemar.lost, result.mcnemar.gained, result.difference) == (0, 0, 0)
    # Without the common order the answers would be other clips'.
    assert (logits.argmax(-1) != logits[shuffle].argmax(-1)).any()
