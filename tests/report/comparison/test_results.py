"""Rows of runs: what they are made of, their differences, and ensembles of them."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from refusals import refused

from asc_jax.config.choices import DECISIONS
from asc_jax.data.clips import Clip
from asc_jax.report.comparison.answers import decide
from asc_jax.report.comparison.export import caveat, summary_line
from asc_jax.report.comparison.page import write_comparison
from asc_jax.report.comparison.results import compare_runs
from asc_jax.runs.logits import read_logits
from asc_jax.scoring import ensemble
from asc_jax.stats.comparison import compare
from asc_jax.stats.scores import scores_by_location
from asc_jax.stats.significance import benjamini_hochberg, holm

SCENES = ("park", "street_pedestrian", "tram")
SETTINGS = {
    "model.se_ratio=4": ({"model.se_ratio": 4}, 2.5),
    "base": ({}, 1.0),
    "model.se_ratio=0": ({"model.se_ratio": 0}, 0.5),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_run, write_sweep):
    folder = tmp_path_factory.mktemp("runs")
    for name, skill, seed in (("a", 1.0, 1), ("b", 2.5, 2), ("c", 0.8, 3)):
        write_run(folder / name, skill, seed)
    write_sweep(folder / "sweep", SETTINGS)
    return folder


def stored(path: pathlib.Path, name: str = "test") -> tuple[np.ndarray, list[Clip]]:
    """A run's logits, (n, K), and its clips, in the order of the file."""
    lists, _ = read_logits(path / "logits.npz")
    logits = lists[name].logits
    return (logits if logits.ndim == 2 else logits.mean(axis=0)), list(lists[name].clips)


def arrays(clips: list[Clip]) -> tuple[np.ndarray, np.ndarray]:
    labels = sorted({clip.scene_label for clip in clips})
    targets = np.array([labels.index(clip.scene_label) for clip in clips])
    return targets, np.array([clip.location for clip in clips])


def test_runs_are_rows_compared_with_the_first(folder):
    results = compare_runs([folder / name for name in "abc"])
    assert [one.name for one in results.results] == ["a", "b", "c"]
    assert (results.reference, results.listed.name) == (0, "test")
    answers, (targets, locations) = {}, arrays(stored(folder / "a")[1])
    for name in "abc":
        answers[name] = stored(folder / name)[0].argmax(axis=1)
    p = []
    for one in results.others:
        expected = compare(targets, answers["a"], answers[one.name], locations, 3)
        assert one.differences["class_wise_accuracy"].comparison == expected
        p.append(expected.p)
        scores = scores_by_location(targets, answers[one.name], locations, 3)
        assert (one.scores["accuracy"], one.scores["class_wise_accuracy"]) == scores[:2]
        assert list(one.per_class) == scores[2]
        assert one.confusion.sum() == len(targets)
    corrected = [one.differences["class_wise_accuracy"].p for one in results.others]
    np.testing.assert_allclose(corrected, holm(p))
    other = compare_runs([folder / name for name in "abc"], correction="benjamini_hochberg")
    corrected = [one.differences["class_wise_accuracy"].p for one in other.others]
    np.testing.assert_allclose(corrected, benjamini_hochberg(p))
    assert results.others[0].differences["class_wise_accuracy"].verdict == 1


def test_seeds_of_a_setting_are_a_row_and_the_base_is_the_reference(folder):
    results = compare_runs([folder / "sweep"])
    assert [one.name for one in results.results] == list(SETTINGS)
    assert results.reference == 1
    first = results.results[0]
    seeds = [folder / "sweep" / "model.se_ratio=4" / f"seed{seed}" for seed in range(3)]
    targets, locations = arrays(stored(seeds[0])[1])
    answers = np.stack([stored(seed)[0].argmax(axis=1) for seed in seeds])
    base = np.stack(
        [stored(folder / "sweep" / "base" / f"seed{seed}")[0].argmax(axis=1) for seed in range(3)]
    )
    expected = compare(targets, base, answers, locations, 3)
    assert first.differences["class_wise_accuracy"].comparison == expected
    assert expected.n_seeds == (3, 3)
    single = [scores_by_location(targets, one, locations, 3)[1].value for one in answers]
    np.testing.assert_allclose(first.by_seed["class_wise_accuracy"], single)
    assert first.scores["class_wise_accuracy"].value == pytest.approx(np.mean(single))


def test_seeds_that_train_has_made_are_a_row_named_after_their_folder(tmp_path, write_sweep):
    rate = ({"optimizer.lr": 0.1}, 1.0)
    for name, settings in (
        ("plain", {"base": ({}, 1.0)}),
        ("other", {"base": ({}, 2.0), "r": rate}),
    ):
        record = write_sweep(tmp_path / name, settings, seeds=(0, 1)) / "sweep.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"command": "train"}))
    results = compare_runs([tmp_path / "plain", tmp_path / "other"], reference="other")
    assert [(one.name, len(one.row.runs)) for one in results.results] == [
        ("plain", 2), ("other", 2), ("r", 2),
    ]  # fmt: skip
    assert results.reference == 1
    assert compare_runs([tmp_path / "plain"], reference=str(tmp_path / "plain")).reference == 0
    (tmp_path / "plain" / "base" / "seed1" / "report.json").unlink()
    with refused(path="plain/base/seed1"):
        compare_runs([tmp_path / "plain"])
    shutil.rmtree(tmp_path / "plain" / "base" / "seed1")
    with refused(path="plain/base/seed1"):
        compare_runs([tmp_path / "plain"])
    record = tmp_path / "plain" / "sweep.json"
    lost = {"lost": {"base/seed1": "base/seed1: diverged"}}
    record.write_text(json.dumps(json.loads(record.read_text()) | lost))
    with refused(path="plain") as caught:
        compare_runs([tmp_path / "plain"])
    assert all(part in str(caught.value) for part in ("base/seed1: diverged", "--finished_only"))
    (row,) = compare_runs([tmp_path / "plain"], finished_only=True).results
    assert len(row.row.runs) == 1


def test_rows_that_differ_in_the_ensemble_alone_are_paired_by_seed(
    tmp_path, write_sweep, monkeypatch
):
    """Their models are the same ones; those of other settings are not, nor are other seeds'."""
    rule = ({"ensemble.rule": "mean_probabilities"}, 1.0)
    ratio = ({"model.se_ratio": 4}, 1.0)
    path = write_sweep(tmp_path / "sweep", {"base": ({}, 1.0), "rule": rule, "ratio": ratio})
    write_sweep(tmp_path / "other", {"rule": rule}, seeds=(3, 4, 5))
    asked = []

    def record(*args, runs, **options):
        asked.append(runs)
        return compare(*args, runs=runs, **options)

    monkeypatch.setattr("asc_jax.report.comparison.results.compare", record)
    compare_runs([path, tmp_path / "other"], kinds=["mean_logits"])
    assert asked == 2 * ["paired", "independent", "independent", "fixed"]


def test_ensembles_are_compared_as_they_are(folder):
    results = compare_runs([folder / "sweep"], kinds=["mean_logits"])
    *rows, built = [one.differences["class_wise_accuracy"] for one in results.others]
    assert all(one.comparison.about_recipes for one in rows)
    assert not built.comparison.about_recipes
    assert results.about_recipes
    assert not compare_runs([folder / "a", folder / "b"]).about_recipes
    for one in rows:  # as hard to find as the correction makes it
        assert one.detectable == min(1.0, one.comparison.detectable(alpha=0.05 / 3))


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
def test_too_few_seeds_are_said_with_the_table(seeds, tmp_path, write_sweep, write_run, parse):
    ratio = ({"model.se_ratio": 4}, 1.5)
    path = write_sweep(tmp_path / "sweep", {"base": ({}, 1.0), "ratio": ratio}, seeds=seeds)
    results = compare_runs([path, write_run(tmp_path / "single", seed=7)])
    assert results.two_seeds == (len(seeds) == 2)
    said = caveat(results)
    assert bool(said) == (len(seeds) < 3)
    page = parse(write_comparison(results, tmp_path / "page.html"))
    assert said in summary_line(results) and said in page.words
    assert ("and seeds" in summary_line(results)) == (len(seeds) > 1)


def test_what_could_be_detected_is_at_the_level_of_the_correction(folder, tmp_path, write_run):
    """One of the two comparisons is significant: the other's p may then be twice as large."""
    names = [folder / "a", folder / "b", write_run(tmp_path / "d", 1.0, 4)]
    found = {
        correction: [
            one.differences["class_wise_accuracy"]
            for one in compare_runs(names, correction=correction).others
        ]
        for correction in ("holm", "benjamini_hochberg")
    }
    assert [one.verdict for one in found["benjamini_hochberg"]] == [1, 0]
    for one in found["holm"]:
        assert one.detectable == one.comparison.detectable(alpha=0.05 / 2)
    b, d = found["benjamini_hochberg"]
    assert b.detectable == b.comparison.detectable(alpha=0.05 / 2)
    assert d.detectable == d.comparison.detectable(alpha=0.05)


def test_a_setting_that_says_what_the_base_says_is_the_base(tmp_path, write_sweep):
    settings = {
        "model.se_ratio=4": ({"model.se_ratio": 4}, 1.0),
        "model.se_ratio=16": ({"model.se_ratio": 16}, 1.0),
    }
    results = compare_runs([write_sweep(tmp_path / "sweep", settings, seeds=(0,))])
    assert results.results[results.reference].name == "model.se_ratio=16"


def test_a_reference_is_named_by_row_or_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    runs = [pathlib.Path(name) for name in "abc"]
    for reference in ("b", "./b", str(folder / "b")):
        assert compare_runs(runs, reference=reference).reference == 1
    both = [pathlib.Path("sweep"), pathlib.Path("c")]
    assert compare_runs(both, reference="sweep/model.se_ratio=0").reference == 2
    with refused(field="--reference"):
        compare_runs(runs, reference="d")


def test_rows_of_one_name_are_called_by_their_folders(tmp_path, write_run):
    paths = [write_run(tmp_path / name / "seed0", seed=i) for i, name in enumerate("xy")]
    assert [one.name for one in compare_runs(paths).results] == [str(path) for path in paths]


def test_clips_in_another_order_are_the_same(tmp_path, make_clips, write_run):
    clips = make_clips(50)
    turned = write_run(tmp_path / "turned", lists={"test": clips[::-1]})
    plain = write_run(tmp_path / "plain", lists={"test": clips})
    for path in (turned, plain):
        results = compare_runs([path])
        logits, own = stored(path)
        right = {
            clip.path: SCENES[k] == clip.scene_label
            for clip, k in zip(own, logits.argmax(axis=1), strict=True)
        }
        expected = np.mean(list(right.values()))
        assert results.results[0].scores["accuracy"].value == pytest.approx(expected)
    assert compare_runs([turned, plain]).others[0].differences["accuracy"].comparison.n_clips == 36


def test_groups_are_cities_and_devices(folder):
    (one,) = compare_runs([folder / "a"]).results
    logits, clips = stored(folder / "a")
    for field, names in (("city", {"paris", "vienna"}), ("device", {"a", "b"})):
        assert set(one.groups[field]) == names
        for name, score in one.groups[field].items():
            shares = [
                np.mean(
                    [
                        SCENES[logits[i].argmax()] == scene
                        for i, clip in enumerate(clips)
                        if (getattr(clip, field), clip.scene_label) == (name, scene)
                    ]
                )
                for scene in SCENES
            ]
            assert score.value == pytest.approx(np.mean(shares))


def test_ensembles_of_equal_weights(folder):
    results = compare_runs(
        [folder / name for name in "abc"], kinds=["mean_logits", "mean_probabilities"]
    )
    logits = np.stack([stored(folder / name)[0] for name in "abc"])
    for one, rule in zip(results.results[3:], ensemble.RULES, strict=True):
        answer = np.asarray(ensemble.decide(ensemble.RULES[rule](logits)))
        targets, locations = arrays(stored(folder / "a")[1])
        expected = scores_by_location(targets, answer, locations, 3)
        assert one.scores["class_wise_accuracy"] == expected[1]
        assert "class_wise_accuracy" in one.differences
    assert results.results[3].name == "mean of logits of 3 runs"


@pytest.mark.parametrize("kind", ["weighted", "greedy"])
def test_fitted_weights_never_see_what_they_are_scored_on(folder, kind):
    for name in ("test", "out_of_fold"):
        paths = [folder / run for run in "abc"]
        results = compare_runs(paths, kinds=[kind], list_name=name)
        (one,) = results.ensembles
        assert one.cross_fitted == (name == "out_of_fold")
        weights = dict(one.members)
        assert sum(weights.values()) == pytest.approx(1)
        assert weights["b"] > max(weights["a"], weights["c"])  # the best run by far


def test_weights_are_not_fitted_where_they_are_scored(tmp_path, make_clips, write_run):
    both = {"out_of_fold": make_clips(0), "test": make_clips(2)}
    paths = [write_run(tmp_path / name, lists=both) for name in "ab"]
    with refused() as caught:
        compare_runs(paths, kinds=["weighted"])
    assert caught.value.path in {clip.path for clip in both["test"]}


@pytest.mark.parametrize("decision", DECISIONS)
def test_decisions_are_those_of_evaluate(decision):
    logits = np.random.default_rng(0).normal(0, 2, (200, 4)).astype("f4")
    np.testing.assert_array_equal(decide(logits, decision), ensemble.decide(logits, decision))


def test_unfinished_runs_of_a_sweep_are_left_out_when_asked(tmp_path, write_sweep):
    sweep = write_sweep(tmp_path / "sweep", SETTINGS)
    (sweep / "base/seed1/logits.npz").unlink()
    shutil.rmtree(sweep / "model.se_ratio=0/seed0")
    with refused(path="base/seed1") as caught:
        compare_runs([sweep])
    assert "asc-jax sweep" in caught.value.hint
    results = compare_runs([sweep], finished_only=True)
    assert [len(one.row.runs) for one in results.rows] == [3, 2, 2]
    assert [pathlib.Path(path).name for path in results.left_out] == ["seed1", "seed0"]


def test_numbers_of_classes_that_report_and_logits_disagree_on(tmp_path, write_run):
    path = write_run(tmp_path / "run")
    report = json.loads((path / "report.json").read_text())
    (path / "report.json").write_text(json.dumps(report | {"scene_labels": ["x"]}))
    with refused(path=path):
        compare_runs([path])
