"""Files in which a run keeps what it was made of, damaged."""

import json

import numpy as np
import pytest
from refusals import refused

from asc_jax.data import Clip, Dataset, Split
from asc_jax.data.manifest import Manifest
from asc_jax.data.splits import refuse_other_splits, write_splits

NONE = np.array([], np.int32)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    clips = tuple(Clip(f"audio/{k}.wav", label, f"l{k}") for k, label in enumerate(["bus", "tram"]))
    return Dataset(tmp_path, clips, ("bus", "tram"), {})


@pytest.mark.parametrize("content", [b"[]", b'"text"', b"1", b'{"clips": []}', b"\xff", b""])
def test_splits_that_are_none(tmp_path, dataset, content):
    path, splits = tmp_path / "splits.json", (Split(1, np.array([0]), NONE, np.array([1])),)
    write_splits(path, dataset, splits, NONE, ["a", "b"])
    refuse_other_splits(path, dataset, splits, NONE)
    path.write_bytes(content)
    with refused(path=path):
        refuse_other_splits(path, dataset, splits, NONE)


def test_a_folder_in_the_place_of_a_manifest(tmp_path):
    (tmp_path / "manifest.jsonl").mkdir()
    with refused(path="manifest.jsonl"):
        Manifest(tmp_path)


def test_a_line_of_which_no_clip_can_be_made_again(tmp_path):
    """It says all that training asks for, but not the generator's batch."""
    line = {"path": "audio/0.wav", "scene_label": "bus", "fold": 1}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    with refused(path="manifest.jsonl: line 1") as caught:
        Manifest(tmp_path)
    assert "batch" in caught.value.message
