"""Which clips GANs learn from, and what leaves one without enough of them."""

import dataclasses
import json

import numpy as np
import pytest
from refusals import refused

from asc_jax.data import make_splits, read_dataset
from asc_jax.gan.corpora import make_corpora, refuse_other_corpora, write_corpora

ASKED = {"fold": 1, "scenes": ("bus",), "unseen_fraction": 0.5, "batch_size": 2, "seed": 0}


@pytest.fixture(scope="module")
def data(scenes):
    """A data set, and its two folds."""
    dataset = read_dataset(scenes)
    return dataset, make_splits(dataset, kind="location", n_folds=2, seed=0)[0]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"fold": 3}, "1, 2"),
        ({"scenes": ("beach",)}, "beach"),
        ({"batch_size": 64}, "bus-fold1"),
        ({"unseen_fraction": 0.01}, ""),
    ],
)
def test_what_gives_no_corpus_is_refused(data, asked, named):
    (name,) = asked
    group = "train" if name == "batch_size" else "gan"
    with refused(field=f"{group}.{name}") as caught:
        make_corpora(*data, **ASKED | asked)
    assert named in caught.value.message


def test_a_scene_that_a_fold_does_not_train_on_is_refused(data):
    dataset, splits = data
    lacking = [i for i in splits[0].train if dataset.clips[i].scene_label != "bus"]
    splits = [dataclasses.replace(splits[0], train=np.array(lacking))]
    with refused(field="gan.scenes") as caught:
        make_corpora(dataset, splits, **ASKED)
    assert "bus" in caught.value.message


def test_gans_go_on_with_their_own_corpora_alone(data, tmp_path):
    path, corpora = tmp_path / "corpora.json", make_corpora(*data, **ASKED)
    refuse_other_corpora(path, data[0], corpora)  # nothing is written yet
    write_corpora(path, data[0], corpora)
    refuse_other_corpora(path, data[0], corpora)
    written = json.loads(path.read_text())
    written[0]["train"].pop()
    for content in (json.dumps(written).encode(), b"\xff"):
        path.write_bytes(content)
        with refused(path=path):
            refuse_other_corpora(path, data[0], corpora)
