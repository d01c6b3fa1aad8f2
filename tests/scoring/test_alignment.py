"""Runs over the same clips meet in one order; others are refused in one line."""

import dataclasses
import re

import numpy as np
import pytest
from refusals import refused

from asc_jax.data.clips import Clip
from asc_jax.scoring.alignment import align, refuse_other_labels, refuse_shared_locations

CLIPS = tuple(
    Clip(f"audio/{scene}-{n}.wav", scene, f"{scene}-{n // 2}")
    for scene in ("tram", "park")
    for n in range(4)
)


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
    more = {"runs/a": CLIPS[:3], "runs/b": CLIPS[:3], "runs/c": CLIPS[:4]}
    for runs, path, there, missing in (
        ({"runs/a": CLIPS, "runs/b": CLIPS[:2]}, "audio/park-0.wav", "runs/a", "runs/b"),
        (more, "audio/tram-3.wav", "runs/c", "runs/a"),
    ):
        with refused(path=path) as caught:
            align(runs)
        assert re.findall("runs/.", str(caught.value)) == [there, missing]


@pytest.mark.parametrize("field", ["scene_label", "location"])
def test_other_labels_and_locations_are_refused(field):
    changed = [dataclasses.replace(clip, **{field: "moon"}) for clip in CLIPS[2:3]]
    with refused(path="audio/tram-2.wav") as caught:
        align({"runs/a": CLIPS, "runs/b": (*CLIPS[:2], *changed, *CLIPS[3:])})
    assert all(part in str(caught.value) for part in (field, "'moon'", "runs/a", "runs/b"))


def test_a_clip_listed_twice_is_refused():
    with refused(path="audio/tram-0.wav") as caught:
        align({"runs/a": CLIPS, "runs/b": (*CLIPS, CLIPS[0])})
    assert "runs/b" in str(caught.value)


@pytest.mark.parametrize("labels", [("bus", "park", "tram"), ("tram", "park")])
def test_other_label_sets_are_refused(labels):
    refuse_other_labels({"runs/a": ("park", "tram"), "runs/b": ["park", "tram"]})
    with refused(path="runs/b") as caught:
        refuse_other_labels({"runs/a": ("park", "tram"), "runs/b": labels})
    assert "runs/a" in str(caught.value) and ("'bus'" in str(caught.value)) == ("bus" in labels)


def test_weights_are_not_scored_where_they_were_fitted():
    refuse_shared_locations(CLIPS[:4], CLIPS[4:])
    with refused(path="audio/tram-1.wav") as caught:
        refuse_shared_locations(CLIPS[:1], CLIPS[4:] + CLIPS[1:2])
    assert "'tram-0'" in str(caught.value)
