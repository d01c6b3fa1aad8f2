"""A run that begins with another one's weights: what it takes, and what it refuses to know."""

import dataclasses
import json
import re
import shutil
from os.path import relpath

import jax
import numpy as np
import pytest
import small
from refusals import refused

from asc_jax.data.procedural import write_synthetic_dataset
from asc_jax.data.splits import write_splits
from asc_jax.runs.folder import read_config
from asc_jax.runs.inputs import read_data
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train.heard import WARM_START as NAME
from asc_jax.train.loop import train
from asc_jax.train.restore import restore_chosen
from asc_jax.train.setup import set_up

FIELDS = ("train.epochs=1", "train.mesh=(1, 1)")


def trained(root, workdir, *fields):
    train(small.config(root, *FIELDS, *fields), workdir)
    return workdir


def begins(root, source, *fields):
    """The state before the first step of a run, and its `Setup`."""
    config = small.config(root, *FIELDS, f"train.init_from={source}", *fields)
    setup = set_up(config, *read_data(config))
    return jax.device_get(setup.init()), setup


def ends(workdir):
    config = read_config(workdir)
    setup = set_up(config, *read_data(config))
    return jax.device_get(restore_chosen(workdir, config, setup.like)[0])


def of_other_folds(root, source, folder, *fields):
    """A copy of a run that says it was trained on the folds of these fields."""
    shutil.copytree(source, folder)
    path, (dataset, *parts) = folder / "splits.json", read_data(small.config(root, *fields))
    audio = json.loads(path.read_text())["audio"]
    write_splits(path, dataset, *parts, [audio[clip.path] for clip in dataset.clips])
    return folder


def assert_equal(a, b) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def source(scenes, tmp_path_factory):
    return trained(scenes, tmp_path_factory.mktemp("source") / "run")


def test_every_fold_begins_with_the_weights_of_its_own(scenes, source, capsys):
    state, _ = begins(scenes, source)
    end = ends(source)
    assert_equal((state.params, state.batch_stats), (end.params, end.batch_stats))
    assert not state.step.any()
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim > 1]
    assert moments and not any(leaf.any() for leaf in moments)
    assert "drawn anew" not in capsys.readouterr().err


def test_what_has_no_equal_shape_is_drawn_and_named(scenes, source, capsys):
    fields = ("model.stage_sizes=(2,)", "model.se_ratio=0")
    state, _ = begins(scenes, source, *fields)
    _, _, drawn = capsys.readouterr().err.strip().rpartition("drawn anew: ")
    assert "stage1_block2/conv1/kernel" in drawn and "stem/kernel" not in drawn
    config = small.config(scenes, *FIELDS, *fields)
    cold = jax.device_get(set_up(config, *read_data(config)).init()).params
    stem, block = "stem", "stage1_block2"
    assert_equal(state.params[stem], ends(source).params[stem])
    assert_equal(state.params[block], cold[block])
    assert not np.array_equal(state.params[stem]["kernel"], cold[stem]["kernel"])


def test_folds_of_other_numbers_are_matched_by_what_they_have_heard(scenes, source, tmp_path):
    """The same two halves of the locations, the other way round."""
    other = shutil.copytree(source, tmp_path / "other")
    record = json.loads((other / "splits.json").read_text())
    record["folds"] = dict(zip("12", reversed(record["folds"].values()), strict=True))
    (other / "splits.json").write_text(json.dumps(record))
    state, setup = begins(scenes, other)
    assert setup.warm_start.record["folds"] == {"1": 2, "2": 1}
    assert_equal(state.params, jax.tree.map(lambda leaf: leaf[::-1], ends(source).params))


@pytest.mark.parametrize("fields", [("folds.seed=1",), ("folds.n_folds=4",)])
def test_a_fold_is_not_begun_with_a_model_that_has_heard_what_it_is_scored_on(
    scenes, source, tmp_path, fields
):
    config = small.config(scenes, *FIELDS, f"train.init_from={source}", *fields)
    with refused(field="train.init_from") as caught:
        train(config, tmp_path / "leaks")
    assert "location" in str(caught.value) and not (tmp_path / "leaks").exists()


def test_no_epoch_is_chosen_by_clips_that_the_model_was_trained_on(scenes, source, tmp_path):
    """Another run's inner clips may be the same, of the same fold."""
    chooses = ("folds.inner_fraction=0.5", "train.selection=inner")
    with refused(field="train.init_from"):
        begins(scenes, source, *chooses)
    alike = of_other_folds(scenes, source, tmp_path / "alike", *chooses)
    _, setup = begins(scenes, alike, *chooses)
    assert setup.warm_start.record["folds"] == {"1": 1, "2": 2}
    with refused(field="train.init_from"):
        begins(scenes, alike, *chooses, "folds.seed=1")


def test_folds_at_random_are_matched_by_their_clips(scenes, source, tmp_path):
    """They share all locations; a record of before has no digests, and nothing to go by."""
    fields = ("folds.kind=random", "folds.inner_fraction=0.5")
    source = of_other_folds(scenes, source, tmp_path / "random", *fields)
    _, setup = begins(scenes, source, *fields)
    assert setup.warm_start.record["folds"] == {"1": 1, "2": 2}
    with refused(field="train.init_from"):
        begins(scenes, source, *fields, "folds.seed=1")
    splits = source / "splits.json"
    record = json.loads(splits.read_text())
    del record["audio"]
    splits.write_text(json.dumps(record))
    with refused(path=splits):
        begins(scenes, source, *fields)


def in_other_cities(root):
    """The data set, the cities in its file names under other names."""
    shutil.rmtree(root / "evaluation_setup")
    meta = root / "meta.csv"
    rename = lambda text: re.sub(r"(audio/[a-z_]+-)", r"\1new", text)
    for path in (root / "audio").iterdir():
        path.rename(root / rename(f"audio/{path.name}"))
    meta.write_text(rename(meta.read_text()))
    return root


def test_the_same_sound_at_another_place_is_heard_all_the_same(scenes, source, tmp_path):
    moved = in_other_cities(shutil.copytree(scenes, tmp_path / "moved"))
    with refused(field="train.init_from"):
        begins(moved, source, "folds.seed=1")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Other recordings, at other places."""
    root, size = tmp_path_factory.mktemp("others") / "set", {"clip_seconds": 1.0}
    write_synthetic_dataset(root, seed=5, locations_per_scene=3, clips_per_location=1, **size)
    return in_other_cities(root)


def test_what_was_heard_is_handed_on(scenes, others, source, tmp_path):
    """Of a run on other recordings, begun with one on the first, both are known afterwards."""
    second = trained(others, tmp_path / "second", "folds.n_folds=3", f"train.init_from={source}")
    record = json.loads((second / NAME).read_text())
    assert record["folds"] == {"1": 1, "2": 2, "3": 1}
    with refused(field="train.init_from"):
        begins(scenes, second, "folds.seed=1")
    _, setup = begins(scenes, second)
    assert setup.warm_start.record["folds"] == {"1": 1, "2": 2}
    with refused() as caught:  # all of it was heard by one of its models
        evaluate(second, roots=[str(scenes)])
    assert caught.value.path.startswith(str(scenes))
    assert "Each model started" in evaluate(second)["training"]["note"]
    (second / NAME).unlink()  # what was heard is not forgotten with the record of it
    with refused(path=second / NAME):
        evaluate(second, roots=[str(scenes)])
    with refused(path=second / NAME):
        begins(scenes, second)


def test_a_source_that_is_gone_is_not_missed_and_one_that_has_changed_is_not_taken(
    scenes, source, tmp_path, monkeypatch
):
    """The folder may be named from where one stands."""
    copy = shutil.copytree(source, tmp_path / "source")
    monkeypatch.chdir(source)
    fields = ("train.epochs=2", "train.save_every=2")
    run = trained(scenes, tmp_path / "run", *fields, f"train.init_from={relpath(copy)}/")
    assert read_config(run).train.init_from == str(copy)
    expected = ends(run)
    shutil.rmtree(copy)
    for checkpoint in sorted((run / "checkpoints").iterdir(), key=lambda p: int(p.name))[1:]:
        shutil.rmtree(checkpoint)
    fields = (*fields, f"train.init_from={copy}")
    assert_equal(ends(trained(scenes, run, *fields)), expected)
    shutil.copytree(run, copy)  # with other weights
    for checkpoint in (run / "checkpoints").iterdir():
        shutil.rmtree(checkpoint / "state")
    with refused(path=run / NAME):
        trained(scenes, run, *fields)


def test_no_run_to_begin_with_is_refused_before_data_is_read(tmp_path):
    with refused(field="", path=tmp_path / "none" / "config.json"):
        trained(tmp_path / "no_data", tmp_path / "run", f"train.init_from={tmp_path / 'none'}")


def test_a_network_without_one_equal_array_is_refused(scenes, source):
    _, setup = begins(scenes, source)
    empty = setup.warm_start.state.replace(params={}, batch_stats={})
    with refused(field="train.init_from"):
        dataclasses.replace(setup.warm_start, state=empty).refuse_unlike(setup.like)
