"""Scores against scikit-learn, and intervals against the coverage that they promise."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from asc_jax.stats.scores import (
    Score,
    class_wise_accuracy,
    confusion_matrix,
    scores_by_location,
    wilson_interval,
)


@pytest.fixture(scope="module")
def predicted():
    """Targets, predictions and locations of 300 clips, unbalanced over 4 classes."""
    rng = np.random.default_rng(0)
    targets = rng.choice(4, 300, p=[0.5, 0.3, 0.15, 0.05])
    predictions = np.where(rng.random(300) < 0.6, targets, rng.integers(0, 4, 300))
    locations = np.array(
        [f"city-{k}-{n}" for k, n in zip(targets, rng.integers(0, 9, 300), strict=True)]
    )
    return targets, predictions, locations


def test_scores_equal_scikit_learns(predicted):
    targets, predictions, _ = predicted
    confusion = confusion_matrix(targets, predictions, 4)
    np.testing.assert_array_equal(confusion, sklearn_confusion_matrix(targets, predictions))
    expected = balanced_accuracy_score(targets, predictions)
    assert class_wise_accuracy(confusion) == pytest.approx(expected)
    stack = np.stack([confusion, confusion.T, np.eye(4, dtype=int)])
    each = [class_wise_accuracy(one) for one in stack]
    np.testing.assert_allclose(class_wise_accuracy(stack), each)


def test_an_absent_class_has_no_recall_and_no_weight():
    targets, predictions = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])
    confusion = confusion_matrix(targets, predictions, 4)
    assert confusion.shape == (4, 4)
    assert class_wise_accuracy(confusion) == 0.75
    overall, class_wise, per_class = scores_by_location(targets, predictions, np.arange(4), 4)
    assert (overall.value, class_wise.value) == (0.75, 0.75)
    assert all(np.isnan(bound) for bound in dataclasses.astuple(per_class[1]))
    assert np.isfinite([class_wise.low, class_wise.high]).all()


def test_seeds_are_averaged(predicted):
    targets, predictions, locations = predicted
    rng = np.random.default_rng(1)
    seeds = np.stack([predictions, np.where(rng.random(300) < 0.3, targets, predictions)])
    both = scores_by_location(targets, seeds, locations, 4)
    single = [scores_by_location(targets, one, locations, 4) for one in seeds]
    for i in range(2):
        assert both[i].value == pytest.approx((single[0][i].value + single[1][i].value) / 2)
        assert both[i].low < both[i].value < both[i].high
    same = scores_by_location(targets, np.stack([predictions] * 3), locations, 4)
    for one, expected in zip([*same[:2], *same[2]], [*single[0][:2], *single[0][2]], strict=True):
        np.testing.assert_allclose(dataclasses.astuple(one), dataclasses.astuple(expected))


def test_wilson_interval_of_textbooks():
    np.testing.assert_allclose(
        wilson_interval(15 / 148, 148), (0.0624, 0.1605), atol=1e-4
    )  # Newcombe 1998
    np.testing.assert_allclose(wilson_interval(81 / 263, 263), (0.2553, 0.3662), atol=1e-4)
    np.testing.assert_allclose(wilson_interval(0.5, 10), (0.2366, 0.7634), atol=1e-4)
    z2 = 1.959964**2
    np.testing.assert_allclose(wilson_interval(0.0, 10), (0, z2 / (10 + z2)), atol=1e-12)
    np.testing.assert_allclose(wilson_interval(1.0, 10), (10 / (10 + z2), 1), atol=1e-12)


def test_values_are_the_plain_scores_inside_their_intervals(predicted):
    targets, predictions, locations = predicted
    overall, class_wise, per_class = scores_by_location(targets, predictions, locations, 4)
    assert overall.value == pytest.approx(accuracy_score(targets, predictions))
    assert class_wise.value == pytest.approx(balanced_accuracy_score(targets, predictions))
    for score, recall in zip(
        per_class, recall_score(targets, predictions, average=None), strict=True
    ):
        assert score.value == pytest.approx(recall)
    for score in (overall, class_wise, *per_class):
        assert 0 <= score.low < score.value < score.high <= 1


def clustered(rng, n_locations: int, clips: int, n_classes: int):
    """Clips that succeed with their location's own probability, 0.7 on average."""
    ability = rng.beta(1.4, 0.6, (n_classes, n_locations))
    right = rng.random((n_classes, n_locations, clips)) < ability[..., None]
    targets = np.broadcast_to(np.arange(n_classes)[:, None, None], right.shape).ravel()
    predictions = np.where(right.ravel(), targets, (targets + 1) % n_classes)
    locations = np.broadcast_to(
        np.arange(n_classes * n_locations).reshape(n_classes, n_locations, 1), right.shape
    )
    return targets, predictions, locations.ravel()


@pytest.mark.parametrize(
    ("n_locations", "clips", "n_classes"), [(2, 3, 10), (7, 10, 7), (20, 12, 2)]
)
def test_intervals_cover_the_truth_as_often_as_they_say(n_locations, clips, n_classes):
    rng, times = np.random.default_rng(0), 600
    cases = [
        scores_by_location(*clustered(rng, n_locations, clips, n_classes), n_classes)
        for _ in range(times)
    ]
    error = (0.95 * 0.05 / times) ** 0.5
    for which in (0, 1):
        covered = np.mean([case[which].low <= 0.7 <= case[which].high for case in cases])
        assert abs(covered - 0.95) < 3 * error
    # One class may have six clips: no interval of theirs covers just so often.
    covered = np.mean([score.low <= 0.7 <= score.high for case in cases for score in case[2]])
    assert covered > 0.95 - 3 * error


def test_scenes_are_strata():
    """How much scenes differ from each other says nothing of how well each is known."""
    rng = np.random.default_rng(2)
    share = np.array([0.3, 0.5, 0.95, 0.95])
    targets = np.repeat(np.arange(4), 90)
    locations = np.arange(360) // 3
    predictions = np.where(rng.random(360) < share[targets], targets, (targets + 1) % 4)
    score = scores_by_location(targets, predictions, locations, 4)[0]
    pooled = wilson_interval(score.value, 360)
    assert score.high - score.low < 0.95 * (pooled[1] - pooled[0])


def test_all_right_is_as_much_as_so_many_locations_say():
    targets, locations = np.repeat([0, 1], 20), np.repeat(np.arange(8), 5)
    scores = scores_by_location(targets, targets, locations, 2)
    assert all(score.value == score.high == 1 for score in (*scores[:2], *scores[2]))
    assert scores[0].low == scores[1].low == pytest.approx(wilson_interval(1, 8)[0])
    assert scores[2][0].low < scores[0].low


def test_an_error_in_one_class_is_not_feared_beyond_one_answer_per_location():
    """The variance of a single class has a degree of freedom or two, whose quantile is huge."""
    targets, locations = np.repeat(np.arange(10), 6), np.repeat(np.arange(20), 3)

    def score(wrong) -> Score:
        answers = targets.copy()
        answers[wrong] = (targets[wrong] + 1) % 10
        return scores_by_location(targets, answers, locations, 10)[1]

    one, a_location, apart = score([0]), score([0, 1, 2]), score([0, 6, 12])
    t = scipy.stats.t.ppf(0.975, 19)  # 20 locations, one of them for the mean
    for score_of in (one, a_location, apart):
        assert score_of.low >= wilson_interval(score_of.value, 19, t)[0]
    assert a_location.low < one.low


def test_one_location_per_scene_and_one_in_all():
    targets, answers = np.repeat([0, 1], 4), np.array([0, 0, 0, 1, 1, 1, 1, 0])
    for locations, trials in ((targets, 2), (np.zeros(8), 1)):
        overall, class_wise, recalls = scores_by_location(targets, answers, locations, 2)
        assert (overall.low, overall.high) == pytest.approx(wilson_interval(0.75, trials))
        assert class_wise == overall
        assert all(0 < recall.low < 0.75 < recall.high < 1 for recall in recalls)


def test_intervals_are_wider_where_clips_of_a_location_agree():
    rng = np.random.default_rng(1)
    targets, predictions, locations = clustered(rng, 20, 12, 2)
    by_location = scores_by_location(targets, predictions, locations, 2)[0]
    by_clip = scores_by_location(targets, predictions, np.arange(len(targets)), 2)[0]
    assert by_location.value == by_clip.value
    assert by_location.high - by_location.low > 1.5 * (by_clip.high - by_clip.low)
    # Without clusters it is the binomial interval.
    low, high = wilson_interval(by_clip.value, len(targets))
    assert by_clip.low == pytest.approx(low, abs=0.015)
    assert by_clip.high == pytest.approx(high, abs=0.015)


def test_locations_that_all_agree_give_no_point():
    # Every location has one clip of two right.
    targets = np.zeros(12, int)
    overall, _, _ = scores_by_location(targets, np.tile([0, 1], 6), np.repeat(np.arange(6), 2), 2)
    low, high = wilson_interval(0.5, 6)
    assert (overall.low, overall.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("locations_per_class", [(1,) * 8 + (2,) * 2, (2,) * 9 + (3,)])
def test_intervals_of_a_handful_of_locations_cover(locations_per_class):
    """A fold of a small set: most classes have one location, which cannot vary within its class."""
    rng = np.random.default_rng(0)
    targets = np.repeat(np.repeat(np.arange(10), locations_per_class), 3)
    locations = np.repeat(np.arange(sum(locations_per_class)), 3)
    covered = []
    for _ in range(150):
        skill = np.repeat(rng.beta(1.5, 0.5, sum(locations_per_class)), 3)  # 0.75 in the mean
        right = rng.random(len(targets)) < skill
        overall, _, _ = scores_by_location(
            targets, np.where(right, targets, (targets + 1) % 10), locations, 10
        )
        covered.append(overall.low <= 0.75 <= overall.high)
    assert np.mean(covered) >= 0.9
