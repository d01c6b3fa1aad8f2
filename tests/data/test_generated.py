"""Reading a folder of synthetic clips: whose they are, and everything that can be wrong with it."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from refusals import refused

from asc_jax.data import Clip, Dataset, Split
from asc_jax.data.generated import (
    Synthetic,
    add_to_splits,
    read_manifest,
    read_record,
    refuse_other_manifest,
    write_record,
)

NONE = np.array([], np.int32)
LABELS = ("bus", "park", "tram")
# Six recordings, two of each class; either half of them is held out by one fold.
DATASET = Dataset(
    pathlib.Path("recorded"),
    tuple(Clip(f"audio/{k}.wav", LABELS[k % 3], f"city-{k}") for k in range(6)),
    LABELS,
    {},
)
FIRST, SECOND = np.arange(3, dtype=np.int32), np.arange(3, 6, dtype=np.int32)
SPLITS = (Split(1, SECOND, NONE, FIRST), Split(2, FIRST, NONE, SECOND))


def entry(fold: int, label: str, number: int = 0, /, **changed) -> dict:
    """All that training asks of a line, and a field more."""
    path = f"audio/{label}-fold{fold}-{number:05d}.wav"
    return {"path": path, "scene_label": label, "fold": fold, "row": number, **changed}


ENTRIES = [entry(fold, label, number) for number in range(3) for fold in (2, 1) for label in LABELS]


def write(root: pathlib.Path, entries=ENTRIES, end: str = "\n", missing: str = "") -> pathlib.Path:
    """A folder whose audio files are there, and hold nothing."""
    (root / "audio").mkdir(parents=True)
    lines = [one if isinstance(one, str) else json.dumps(one) for one in entries]
    (root / "manifest.jsonl").write_text("\n".join(lines) + end)
    for one in entries:
        if isinstance(one, dict) and one.get("path") != missing and "/" in str(one.get("path")):
            (root / "audio" / one["path"].split("/")[-1]).touch()
    return root


def read(root: pathlib.Path, per_class: int = 0) -> Synthetic:
    return read_manifest(root, DATASET, SPLITS, per_class=per_class)


def test_clips_keep_the_manifests_order(tmp_path):
    synthetic = read(write(tmp_path / "generated"))
    clips = synthetic.dataset.clips
    assert [clip.path for clip in clips] == [one["path"] for one in ENTRIES]
    assert [clip.scene_label for clip in clips] == [one["scene_label"] for one in ENTRIES]
    assert synthetic.folds.tolist() == [one["fold"] for one in ENTRIES]
    assert synthetic.clips_per_fold == {1: 9, 2: 9}
    assert synthetic.dataset.audio_path(clips[0]).is_file()


def test_a_synthetic_clip_has_no_recorded_location(tmp_path):
    """A name in TUT's form must not give it one."""
    named = [entry(1, "bus", path="audio/bus-oslo-7-1-a.wav"), entry(2, "park")]
    clips = read(write(tmp_path / "generated", named)).dataset.clips
    assert [clip.location for clip in clips] == ["synthetic-fold1", "synthetic-fold2"]
    assert not any(clip.city or clip.device for clip in clips)


@pytest.mark.parametrize("per_class", [1, 2, 3, 9])
def test_the_quota_takes_the_first_of_each_class_and_fold(tmp_path, per_class):
    uneven = [*ENTRIES, entry(1, "bus", 3), entry(1, "bus", 4)]
    synthetic = read(write(tmp_path / "generated", uneven), per_class)
    kept = [clip.path for clip in synthetic.dataset.clips]
    assert kept == [one["path"] for one in uneven if one["row"] < per_class]
    assert len(synthetic.folds) == len(kept)
    everything = read(tmp_path / "generated")
    assert everything.digest == synthetic.digest


@pytest.mark.parametrize("torn", ['{"path": "audio/tr', json.dumps(entry(1, "bus", 9))])
def test_a_line_without_its_end_does_not_count(tmp_path, torn):
    whole = read(write(tmp_path / "whole"))
    root = write(tmp_path / "torn", [*ENTRIES, torn], end="")
    assert read(root).dataset.clips == whole.dataset.clips
    assert read(root).digest == whole.digest


def test_a_fold_gets_its_own_clips(tmp_path):
    synthetic = read(write(tmp_path / "generated"))
    for before, split in zip(SPLITS, add_to_splits(SPLITS, synthetic, 6), strict=True):
        assert split.synthetic.dtype == np.int32
        paths = [synthetic.dataset.clips[i - 6].path for i in split.synthetic]
        assert len(paths) == 9
        assert all(f"-fold{split.fold}-" in path for path in paths)
        for part in ("train", "inner", "held_out"):
            assert getattr(split, part) is getattr(before, part)


@pytest.mark.parametrize(
    ("line", "field", "named"),
    [
        ("{", "", ""),
        ("[1]", "", ""),
        ({"path": "audio/x.wav", "scene_label": "bus"}, "", "fold"),
        ({"scene_label": "bus", "fold": 1}, "", "path"),
        (entry(1, "bus", 9, fold=True), "fold", ""),
        (entry(1, "bus", 9, path=None), "path", ""),
        (entry(1, "bus", 9, path="audio/../../x.wav"), "path", ""),
        (entry(1, "bus", 9, path="/audio/x.wav"), "path", ""),
        (entry(1, "bus", 9, path=""), "path", ""),
        (entry(2, "tram", 1), "path", "line 9"),
        (entry(1, "bus", 9, path="./audio//tram-fold2-00001.wav"), "path", "line 9"),
        (entry(1, "beach"), "scene_label", "bus, park, tram"),
        (entry(3, "bus"), "fold", "1, 2"),
    ],
)
def test_a_line_that_cannot_be_used(tmp_path, line, field, named):
    root = write(tmp_path / "generated", [*ENTRIES, line])
    with refused(path=root / f"manifest.jsonl: line {len(ENTRIES) + 1}", field=field) as caught:
        read(root)
    assert named in caught.value.message


def test_files_that_are_not_there(tmp_path):
    """One of them has a name that no disk takes."""
    gone, long = ENTRIES[4]["path"], f"audio/{'x' * 300}.wav"
    root = write(tmp_path / "generated", missing=gone)
    with (root / "manifest.jsonl").open("a") as file:
        file.write(json.dumps(entry(1, "bus", path=long)) + "\n")
    with refused(path=root) as caught:
        read(root)
    assert f"2 of {len(ENTRIES) + 1} files" in caught.value.message
    assert gone in caught.value.message and long in caught.value.message


def test_a_fold_without_a_clip(tmp_path):
    root = write(tmp_path / "generated", [one for one in ENTRIES if one["fold"] == 1])
    with refused(path=root / "manifest.jsonl") as caught:
        read(root)
    assert "fold 2" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}\n"])
def test_a_manifest_that_is_none(tmp_path, content):
    with refused(path="manifest.jsonl") as caught:
        read(tmp_path)
    assert "synthetic.root" in caught.value.message
    (tmp_path / "manifest.jsonl").write_bytes(content)
    with refused(path="manifest.jsonl"):
        read(tmp_path)


def seen_by_generators(root: pathlib.Path, first, second) -> None:
    folds = {"1": {"train": first}, "2": {"train": second}}
    (root / "splits.json").write_text(json.dumps({"folds": folds}))


def test_a_generator_that_saw_what_a_fold_holds_out(tmp_path):
    root = write(tmp_path / "generated")
    first, second = ([DATASET.clips[i].path for i in part] for part in (FIRST, SECOND))
    seen_by_generators(root, second, first)
    assert read(root).clips_per_fold == {1: 9, 2: 9}
    seen_by_generators(root, second[:2], first[1:])  # less is no harm
    assert read(root).clips_per_fold == {1: 9, 2: 9}
    seen_by_generators(root, first, second)
    with refused(path=root / "splits.json") as caught:
        read(root)
    assert "fold 1" in caught.value.message and "audio/0.wav" in caught.value.message
    inner = dataclasses.replace(SPLITS[0], train=SECOND[:2], inner=SECOND[2:])
    seen_by_generators(root, second, first)
    with refused(path=root / "splits.json") as caught:
        read_manifest(root, DATASET, (inner, SPLITS[1]))
    assert "audio/5.wav" in caught.value.message
    (root / "splits.json").write_text("{}")
    with refused(path=root / "splits.json"):
        read(root)


def test_a_record_is_of_one_manifest(tmp_path):
    root, record = write(tmp_path / "generated"), tmp_path / "synthetic.json"
    synthetic = read(root)
    refuse_other_manifest(record, synthetic)  # nothing is recorded yet
    write_record(record, synthetic, ["a"] * len(synthetic.dataset.clips))
    assert read_record(record) == (synthetic.digest, {1: 9, 2: 9})
    refuse_other_manifest(record, read(write(tmp_path / "moved")))
    (root / "audio" / "more.wav").touch()
    with (root / "manifest.jsonl").open("a") as file:
        file.write(json.dumps(entry(1, "bus", path="audio/more.wav")) + "\n")
    with refused(path=root / "manifest.jsonl") as caught:
        refuse_other_manifest(record, read(root))
    assert str(record) in caught.value.message
    record.write_text('{"manifest_sha')
    with refused(path=record):
        refuse_other_manifest(record, synthetic)
