"""Logits on disk: what was written is what is read."""

import dataclasses

import numpy as np
import pytest
from refusals import refused

from asc_jax.data.clips import Clip
from asc_jax.runs.logits import Predictions, read_logits, refuse_non_finite, write_logits

CLIPS = (
    Clip("audio/tram-paris-1-0-a.wav", "tram", "paris-1", "paris", "a"),
    Clip("audio/x.wav", "park", "x"),
)
LABELS = ("park", "tram")
LOGITS = np.random.default_rng(0).normal(size=(3, 2, 2)).astype(np.float32)


@pytest.fixture
def written(tmp_path):
    lists = [
        Predictions("out_of_fold", "Out-of-fold", "One model.", CLIPS, LOGITS[0], np.array([1, 2])),
        Predictions("my/set", "my/set", "All.", CLIPS[::-1], LOGITS, np.array([1, 2, 3])),
    ]
    write_logits(tmp_path / "logits.npz", lists, LABELS)
    return tmp_path / "logits.npz", lists


def test_logits_come_back(written):
    path, lists = written
    stored, labels = read_logits(path)
    assert labels == LABELS
    assert list(stored) == ["out_of_fold", "my/set"]
    for before, after in zip(lists, stored.values(), strict=True):
        assert after.clips == before.clips
        assert after.out_of_fold == before.out_of_fold
        np.testing.assert_array_equal(after.logits, before.logits)
        np.testing.assert_array_equal(after.folds, before.folds)


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_never_read(written, spoiled):
    path, (out_of_fold, other) = written
    for place, clip, fold in (((0, 1, 1), CLIPS[0], 1), ((2, 0, 0), CLIPS[1], 3)):
        logits = LOGITS.copy()
        logits[place] = spoiled
        write_logits(path, [out_of_fold, dataclasses.replace(other, logits=logits)], LABELS)
        with refused(path=path) as caught:
            read_logits(path)
        named = ("'my/set'", clip.path, f"fold {fold}")
        assert all(part in str(caught.value) for part in named)
    logits = LOGITS[0].copy()
    logits[1] = spoiled
    with refused(path=path) as caught:
        refuse_non_finite(dataclasses.replace(out_of_fold, logits=logits), path)
    assert all(part in str(caught.value) for part in ("audio/x.wav", "fold 2"))


def test_unreadable_logits_are_refused(written):
    path, _ = written
    with refused(path="other.npz"):
        read_logits(path.with_name("other.npz"))
    with np.load(path) as stored:
        less = {key: stored[key] for key in stored if key != "out_of_fold/city"}
    np.savez(path.with_name("less.npz"), **less)
    whole = path.read_bytes()
    for content in (
        path.with_name("less.npz").read_bytes(), whole[: len(whole) // 2], b"", b"no archive",
    ):  # fmt: skip
        path.write_bytes(content)
        with refused(path=path):
            read_logits(path)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("out_of_fold/logits", LOGITS[0, :1]),
        ("out_of_fold/logits", LOGITS[0, :, :1]),
        ("out_of_fold/logits", np.array(3.0)),
        ("out_of_fold/logits", LOGITS[0].astype("U9")),
        ("out_of_fold/fold", np.array([1])),
        ("out_of_fold/fold", np.array(["1", "2"])),
        ("my/set/logits", LOGITS[:2]),
        ("my/set/fold", np.array([1, 2])),
        ("scene_labels", np.array(["park"])),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(written, name, other):
    path, _ = written
    with np.load(path) as stored:
        arrays = dict(stored) | {name: other}
    np.savez(path, **arrays)
    with refused(path=path):
        read_logits(path)
