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

from asc_jax.parallel.mesh import make_mesh
from asc_jax.runs.folder import read_config
from asc_jax.runs.inputs import decode, read_data
from asc_jax.runs.logits import read_logits
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train import feed
from asc_jax.train.distillation import Distillation, distil, read_teachers
from asc_jax.train.heard import DISTILLATION, heard_before
from asc_jax.train.loop import train

FIELDS = ("train.epochs=1", "train.mesh=(1, 1)")
FINAL = ("folds.kind=all", "folds.n_folds=1")


def trained(root, workdir, *fields):
    train(small.config(root, *FIELDS, *fields), workdir)
    return workdir


def decoded(root, *fields):
    """The config of a run, and its clips."""
    config = small.config(root, *FIELDS, *fields)
    return config, decode(config, *read_data(config))


@pytest.fixture(scope="module")
def teacher(scenes, tmp_path_factory):
    """Two models, each of which has held out half of the locations."""
    run = trained(scenes, tmp_path_factory.mktemp("teacher") / "run")
    evaluate(run)
    return run


@pytest.fixture(scope="module")
def tested(scenes, tmp_path_factory):
    """The same without the clips of a test fold."""
    run = trained(scenes, tmp_path_factory.mktemp("tested") / "run", "folds.test_fold=1")
    evaluate(run)
    return run


@pytest.fixture(scope="module")
def student(scenes, teacher, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("student") / "run"
    return trained(scenes, workdir, *FINAL, f"distillation.run={teacher}")


def test_a_target_is_the_label_and_the_answer_of_the_model_that_held_the_clip_out(scenes, teacher):
    config, clips = decoded(
        scenes, *FINAL, "distillation.weight=0.3", "distillation.temperature=4.0"
    )
    (pool,) = distil(read_teachers(str(teacher)), clips).apply(clips, config).pools
    lists, _ = read_logits(teacher / "logits.npz")
    stored, labels = lists["out_of_fold"], clips.dataset.scene_labels
    answers = {clip.path: row for clip, row in zip(stored.clips, stored.logits, strict=True)}
    expected = [
        0.7 * (np.array(labels) == clip.scene_label) + 0.3 * softmax(answers[clip.path] / 4.0)
        for clip in clips.dataset.clips
    ]
    assert pool.soft_targets.dtype == np.float32
    np.testing.assert_allclose(pool.soft_targets, expected, atol=1e-6)


def test_of_no_weight_it_is_the_run_without_a_teacher_and_of_all_another(
    scenes, teacher, student, tmp_path
):
    last = lambda run: read_metrics(run / "metrics.jsonl")[-1]["loss"]
    plain = last(trained(scenes, tmp_path / "plain", *FINAL))
    fields = (*FINAL, f"distillation.run={teacher}")
    none = last(trained(scenes, tmp_path / "none", *fields, "distillation.weight=0.0"))
    assert none == plain
    assert np.abs(np.subtract(last(student), plain)).max() > 1e-3


def test_neither_placement_nor_mesh_changes_the_numbers(scenes, teacher, student, tmp_path):
    fields = (*FINAL, f"distillation.run={teacher}", "data.placement=host", "train.mesh=(1, 4)")
    other = trained(scenes, tmp_path / "other", *fields)
    ours, theirs = (read_metrics(run / "metrics.jsonl")[-1]["loss"] for run in (student, other))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("placement", list(feed.PLACEMENTS))
def test_a_call_has_the_soft_targets_of_its_clips(small_pool, placement):
    soft = np.random.default_rng(0).dirichlet((1, 1, 1), 40).astype(np.float32)
    pool, asked = small_pool.replace(soft_targets=soft), np.array([[31, 3, 3, 17]], np.int32)
    calls = feed.make_feed([pool], make_mesh(1, 4), placement).calls([asked])
    ((given, places),) = calls
    np.testing.assert_array_equal(jax.device_get(given.soft_targets)[places], soft[asked])


def test_a_stop_changes_nothing_and_the_teacher_may_be_gone(scenes, teacher, tmp_path):
    copy = shutil.copytree(teacher, tmp_path / "teacher")
    fields = (*FINAL, "train.epochs=2", "train.save_every=2", f"distillation.run={copy}")
    run = trained(scenes, tmp_path / "run", *fields)
    expected = read_metrics(run / "metrics.jsonl")[-1]["loss"]
    shutil.rmtree(copy)
    for checkpoint in sorted((run / "checkpoints").iterdir(), key=lambda p: int(p.name))[1:]:
        shutil.rmtree(checkpoint)
    trained(scenes, run, *fields)
    assert read_metrics(run / "metrics.jsonl")[-1]["loss"] == expected
    record = json.loads((run / DISTILLATION).read_text())
    record["logits"] = dict(list(record["logits"].items())[1:])
    path = next(iter(record["logits"]))
    record["logits"][path] = record["logits"][path][1:]
    (run / DISTILLATION).write_text(json.dumps(record))
    with refused(path=run / DISTILLATION):
        trained(scenes, run, *fields)


@pytest.mark.parametrize(
    "fields",
    [
        (),  # cross-validated: its folds are scored on what other folds' models have heard
        ("folds.n_folds=4",),
        (*FINAL, "folds.test_fold=1"),
        (*FINAL, "folds.inner_fraction=0.5", "train.selection=inner"),
    ],
)
def test_no_teacher_has_heard_what_the_student_is_scored_on(scenes, teacher, tmp_path, fields):
    with refused(field="distillation.run") as caught:
        trained(scenes, tmp_path / "run", f"distillation.run={teacher}", *fields)
    assert "location" in str(caught.value) and not (tmp_path / "run").exists()


def test_a_test_fold_that_both_leave_out_may_be_scored(scenes, tested, tmp_path):
    fields = ("folds.test_fold=1", f"distillation.run={tested}")
    run = trained(scenes, tmp_path / "run", *FINAL, *fields)
    assert "held the clip out" in evaluate(run)["training"]["note"]
    with refused(field="distillation.run"):
        trained(scenes, tmp_path / "folds", *fields)
    with refused(field="distillation.run"):  # nobody has held out the test clips
        trained(scenes, tmp_path / "all", *FINAL, f"distillation.run={tested}")


def test_the_same_sound_at_another_place_is_heard_all_the_same(scenes, teacher, tested):
    """Of a teacher that knows other places, but a test clip, or the clip that it answers for."""
    _, clips = decoded(scenes, *FINAL, "folds.test_fold=1")
    teachers = read_teachers(str(tested))
    assert isinstance(distil(teachers, clips), Distillation)
    for heard in (clips.digests[clips.test[0]], *list(teachers.answers)[:1]):
        known = {
            fold: dataclasses.replace(one, audio=one.audio | {heard})
            for fold, one in teachers.heard.items()
        }
        with refused(field="distillation.run"):
            distil(dataclasses.replace(teachers, heard=known), clips)


def test_what_the_teachers_had_heard_is_known_of_the_student(scenes, teacher, student, tmp_path):
    heard = heard_before(student, read_config(student))
    record = json.loads((teacher / "splits.json").read_text())
    assert heard.audio == {*record["audio"].values()}
    with refused() as caught:
        evaluate(student, roots=[str(shutil.copytree(scenes, tmp_path / "again"))])
    assert caught.value.path.startswith(str(tmp_path))
    with refused(field="train.init_from"):
        trained(scenes, tmp_path / "run", f"train.init_from={student}")


def test_who_cannot_teach_is_refused(scenes, teacher, student, tmp_path):
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
