"""Files in which a run keeps what it was made of, damaged."""

import numpy as np
import pytest

from asc_jax.data import Clip, Dataset, Split
from asc_jax.data.manifest import Manifest
from asc_jax.data.splits import refuse_other_splits, write_splits
from asc_jax.gan.corpora import refuse_other_corpora
from asc_jax.runtime.errors import InputError

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
    with pytest.raises(InputError, match=r"splits\.json: cannot be read"):
        refuse_other_splits(path, dataset, splits, NONE)


def test_corpora_that_are_no_text(tmp_path, dataset):
    (tmp_path / "corpora.json").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"corpora\.json: cannot be read"):
        refuse_other_corpora(tmp_path / "corpora.json", dataset, ())


def test_a_folder_in_the_place_of_a_manifest(tmp_path):
    (tmp_path / "manifest.jsonl").mkdir()
    with pytest.raises(InputError, match=r"manifest\.jsonl: Is a directory"):
        Manifest(tmp_path)
