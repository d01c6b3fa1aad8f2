"""Distillation: what the targets are, who may teach whom, and that nothing else changes."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import small
from refusals import refused
from scipy.special import softmax

from asc_jax.data.splits import read_splits
from asc_jax.parallel.mesh import make_mesh
from asc_jax.runs.folder import read_config
from asc_jax.runs.inputs import decode, read_data
from asc_jax.runs.logits import read_logits
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train import feed
from asc_jax.train.distillation import distil, read_teachers
from asc_jax.train.heard import DISTILLATION, heard_before
from asc_jax.train.loop import train

FIELDS = ("train.epochs=1", "train.mesh=(1, 1)")
FINAL = ("folds.kind=all", "folds.n_folds=1", "folds.test_fold=1")


def trained(root, workdir, *fields):
    train(small.config(root, *FIELDS, *fields), workdir)
    return workdir


def decoded(root, *fields):
    """The config of a run, and its clips."""
    config = small.config(root, *FIELDS, *fields)
    return config, decode(config, *read_data(config))


@pytest.fixture(scope="module")
def teacher(scenes, tmp_path_factory):
    """Two models, each of which has held out half of the locations but a test fold."""
    run = trained(scenes, tmp_path_factory.mktemp("teacher") / "run", "folds.test_fold=1")
    evaluate(run)
    return run


@pytest.fixture(scope="module")
def student(scenes, teacher, tmp_path_factory):
    """A run whose teacher is gone, and the fields that it was trained with."""
    folder = tmp_path_factory.mktemp("student")
    copy = shutil.copytree(teacher, folder / "teacher")
    fields = (*FINAL, f"distillation.run={copy}", "train.epochs=2", "train.save_every=2")
    run = trained(scenes, folder / "run", *fields)
    shutil.rmtree(copy)
    return run, fields


def last_loss(run):
    return read_metrics(run / "metrics.jsonl")[-1]["loss"]


def test_a_target_is_the_label_and_the_answer_of_the_model_that_held_the_clip_out(scenes, teacher):
    config, clips = decoded(
        scenes, *FINAL, "distillation.weight=0.3", "distillation.temperature=4.0"
    )
    (pool,) = distil(read_teachers(str(teacher)), clips).apply(clips, config).pools
    lists, _ = read_logits(teacher / "logits.npz")
    stored, labels = lists["out_of_fold"], clips.dataset.scene_labels
    answers = {clip.path: row for clip, row in zip(stored.clips, stored.logits, strict=True)}
    taught = [i for i, clip in enumerate(clips.dataset.clips) if clip.path in answers]
    expected = np.eye(len(labels))[clips.pools[0].targets]
    for i in taught:
        answer = softmax(answers[clips.dataset.clips[i].path] / 4.0)
        expected[i] = 0.7 * expected[i] + 0.3 * answer
    assert set(taught) == set(clips.splits[0].train)
    assert pool.soft_targets.dtype == np.float32
    np.testing.assert_allclose(pool.soft_targets, expected, atol=1e-6)


def test_another_run_without_a_teacher(scenes, student, tmp_path):
    plain = trained(scenes, tmp_path / "plain", *FINAL, "train.epochs=2")
    assert np.abs(np.subtract(last_loss(student[0]), last_loss(plain))).max() > 1e-3


def test_neither_placement_nor_mesh_changes_the_numbers(scenes, teacher, student, tmp_path):
    run, fields = student
    fields = (*fields, f"distillation.run={teacher}", "data.placement=host", "train.mesh=(1, 4)")
    other = trained(scenes, tmp_path / "other", *fields)
    np.testing.assert_allclose(last_loss(run), last_loss(other), rtol=1e-4)


@pytest.mark.parametrize("placement", list(feed.PLACEMENTS))
def test_a_call_has_the_soft_targets_of_its_clips(small_pool, placement):
    soft = np.random.default_rng(0).dirichlet((1, 1, 1), 40).astype(np.float32)
    pool, asked = small_pool.replace(soft_targets=soft), np.array([[31, 3, 3, 17]], np.int32)
    calls = feed.make_feed([pool], make_mesh(1, 4), placement).calls([asked])
    ((given, places),) = calls
    np.testing.assert_array_equal(jax.device_get(given.soft_targets)[places], soft[asked])


def test_a_stop_changes_nothing_and_the_teacher_may_be_gone(scenes, student, tmp_path):
    whole, fields = student
    run = shutil.copytree(whole, tmp_path / "run")
    for checkpoint in sorted((run / "checkpoints").iterdir(), key=lambda p: int(p.name))[1:]:
        shutil.rmtree(checkpoint)
    trained(scenes, run, *fields)
    assert last_loss(run) == last_loss(whole)
    record = json.loads((run / DISTILLATION).read_text())
    path = next(iter(record["logits"]))
    record["logits"][path] = record["logits"][path][1:]
    (run / DISTILLATION).write_text(json.dumps(record))
    with refused(path=run / DISTILLATION):
        trained(scenes, run, *fields)


@pytest.mark.parametrize(
    "fields",
    [
        ("folds.test_fold=1",),  # its folds are scored on what other folds' models have heard
        (*FINAL, "folds.inner_fraction=0.5", "train.selection=inner"),
    ],
)
def test_no_teacher_has_heard_what_the_student_is_scored_on(scenes, teacher, tmp_path, fields):
    with refused(field="distillation.run") as caught:
        trained(scenes, tmp_path / "run", f"distillation.run={teacher}", *fields)
    assert "location" in str(caught.value) and not (tmp_path / "run").exists()


def test_a_clip_that_no_teacher_has_held_out_is_not_trained_on(scenes, teacher):
    _, clips = decoded(scenes, *FINAL, "folds.test_fold=0")
    with refused(field="distillation.run"):
        distil(read_teachers(str(teacher)), clips)


@pytest.mark.parametrize("what", ["locations", "audio"])
def test_nor_a_test_clip_nor_the_clip_that_it_answers_for(scenes, teacher, what):
    """Known by its location, or of the same sound at another place."""
    _, clips = decoded(scenes, *FINAL)
    teachers = read_teachers(str(teacher))
    distil(teachers, clips)
    test, answered = clips.test[0], clips.digests.index(next(iter(teachers.answers)))
    heard = {"locations": [clips.dataset.clips[test].location],
             "audio": [clips.digests[test], clips.digests[answered]]}[what]  # fmt: skip
    for one in heard:
        known = {
            fold: dataclasses.replace(theirs, **{what: getattr(theirs, what) | {one}})
            for fold, theirs in teachers.heard.items()
        }
        with refused(field="distillation.run") as caught:
            distil(dataclasses.replace(teachers, heard=known), clips)
        assert ("location" in str(caught.value)) == (what == "locations")


def test_what_the_teachers_had_heard_is_known_of_the_student(scenes, teacher, student, tmp_path):
    run, _ = student
    heard, record = heard_before(run, read_config(run)), read_splits(teacher / "splits.json")
    paths = {path for sides in record["folds"].values() for path in sides["train"]}
    assert heard.audio == {record["audio"][path] for path in paths}
    assert "held the clip out" in evaluate(run)["training"]["note"]
    with refused() as caught:
        evaluate(run, roots=[str(shutil.copytree(scenes, tmp_path / "again"))])
    assert caught.value.path.startswith(str(tmp_path))
    with refused(field="train.init_from"):
        trained(scenes, tmp_path / "run", f"train.init_from={run}")


def test_who_cannot_teach_is_refused(scenes, teacher, tmp_path):
    workdir = tmp_path / "run"
    with refused(path=tmp_path / "none" / "config.json"):
        trained(tmp_path / "no_data", workdir, f"distillation.run={tmp_path / 'none'}")
    new = shutil.copytree(teacher, tmp_path / "new")
    (new / "logits.npz").unlink()
    with refused(path=new / "logits.npz"):
        trained(scenes, workdir, *FINAL, f"distillation.run={new}")
    shutil.copy(teacher / "logits.npz", new)
    record = json.loads((new / "splits.json").read_text())
    del record["audio"]
    (new / "splits.json").write_text(json.dumps(record))
    with refused(path=new / "splits.json"):
        trained(scenes, workdir, *FINAL, f"distillation.run={new}")
    _, clips = decoded(scenes, *FINAL)
    teachers = dataclasses.replace(read_teachers(str(teacher)), labels=("bus", "tram"))
    with refused(field="distillation.run"):
        distil(teachers, clips)
    with refused(field="--config.distillation.run"):
        trained(scenes, workdir, f"distillation.run={teacher}", f"synthetic.root={scenes}")
    assert not workdir.exists()
