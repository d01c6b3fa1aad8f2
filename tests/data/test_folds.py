"""Folds that no location straddles."""

import dataclasses
import pathlib

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from refusals import refused
from sklearn.model_selection import StratifiedGroupKFold

from asc_jax.data import (
    Clip,
    Dataset,
    PublishedFold,
    Split,
    location_folds,
    make_splits,
    read_dataset,
)
from asc_jax.data.folds import fold_imbalance, refuse_leak
from asc_jax.runtime.errors import InputError


def table(locations_of_class: dict[str, list[int]]) -> tuple[Clip, ...]:
    """Clips of each class, from locations of the given sizes."""
    return tuple(
        Clip(f"audio/{label}-{number}-{i}.wav", label, f"{label}-{number}")
        for label, sizes in locations_of_class.items()
        for number, size in enumerate(sizes)
        for i in range(size)
    )


def tut_sized(seed: int) -> tuple[Clip, ...]:
    """10 classes of 864 clips each, out of 286 locations of uneven sizes."""
    rng = np.random.default_rng(seed)
    sizes = {}
    for k in range(10):
        n_locations = 29 if k < 6 else 28
        shares = rng.dirichlet(np.full(n_locations, 3.0))
        sizes[f"scene{k}"] = (1 + rng.multinomial(864 - n_locations, shares)).tolist()
    return table(sizes)


SMALL = table({"bus": [3, 1, 2, 2, 4], "park": [2, 2, 2, 1, 5], "tram": [1, 1, 1, 1]})


def dataset(clips, published=None) -> Dataset:
    labels = tuple(sorted({clip.scene_label for clip in clips} - {""}))
    return Dataset(pathlib.Path("set"), tuple(clips), labels, published or {})


def locations(clips, indices) -> set[str]:
    return {clips[i].location for i in indices}


def assert_sound(data: Dataset, splits, test) -> None:
    """No location is both trained on and scored, or chosen by; no clip is lost."""
    for split in splits:
        train = locations(data.clips, split.train)
        inner = locations(data.clips, split.inner)
        unseen = locations(data.clips, split.held_out) | locations(data.clips, test)
        assert not train & inner
        assert not train & unseen
        assert not inner & unseen


def plain_sklearn(clips, n_folds: int, seed: int) -> np.ndarray:
    labels = np.array([clip.scene_label for clip in clips])
    groups = [clip.location for clip in clips]
    folds = np.zeros(len(clips), np.int32)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups), start=1):
        folds[held_out] = fold
    return folds


@st.composite
def random_tables(draw):
    """Clips whose locations may hold several classes, and a number of folds."""
    n_folds = draw(st.integers(2, 4))
    clips = []
    for k in range(draw(st.integers(2, 4))):
        n_locations = draw(st.integers(n_folds, 7))
        offset = draw(st.integers(0, 10))  # classes overlap in their locations
        clips += [
            Clip(f"audio/{k}-{number}-{i}.wav", f"class{k}", f"city-{offset + number}")
            for number in range(n_locations)
            for i in range(draw(st.integers(1, 4)))
        ]
    return draw(st.permutations(clips)), n_folds, draw(st.integers(0, 2**32 - 1))


@settings(max_examples=10, deadline=None)
@given(random_tables())
def test_no_location_is_on_both_sides_of_any_split(drawn):
    clips, n_folds, seed = drawn
    folds = location_folds(clips, n_folds, seed)
    assert folds.dtype == np.int32
    assert set(folds.tolist()) <= set(range(1, n_folds + 1))
    for location in {clip.location for clip in clips}:
        assert len({f for f, c in zip(folds, clips, strict=True) if c.location == location}) == 1
    data = dataset(clips)
    try:
        splits, test = make_splits(data, kind="location", n_folds=n_folds, seed=seed)
    except InputError:  # locations of several classes may leave a fold without one of them
        labels = np.array([clip.scene_label for clip in clips])
        assert any(len(np.unique(labels[folds != f])) < len(data.scene_labels) for f in folds)
        reject()
    assert_sound(data, splits, test)
    held_out = np.concatenate([split.held_out for split in splits])
    assert sorted(held_out) == list(range(len(clips)))


def test_the_seed_decides_the_folds():
    folds = [location_folds(SMALL, 4, seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(folds[0], folds[1])
    assert (folds[0] != folds[2]).any()


def test_imbalance_is_the_worst_share():
    labels = np.array(["bus"] * 8 + ["park"] * 4)
    folds = np.array([1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 2])
    assert fold_imbalance(labels, folds, 2) == 0.5  # 3 parks where 2 would be equal


def test_folds_of_a_set_of_tuts_size_are_balanced():
    clips = tut_sized(seed=0)
    assert (len(clips), len({clip.location for clip in clips})) == (8640, 286)
    labels = np.array([clip.scene_label for clip in clips])
    imbalance = fold_imbalance(labels, location_folds(clips, 4, seed=0), 4)
    # 5 of the 216 clips that a class has in a fold; a single shuffle does as well.
    assert imbalance < 0.04
    assert imbalance <= fold_imbalance(labels, plain_sklearn(clips, 4, seed=0), 4)


def test_folds_are_balanced_better_than_by_one_shuffle_where_locations_hold_many_classes():
    rng = np.random.default_rng(0)
    clips = [
        Clip(f"audio/{number}-{i}.wav", f"scene{rng.integers(10)}", f"city-{number}")
        for number in range(60)
        for i in range(rng.integers(1, 9))
    ]
    labels = np.array([clip.scene_label for clip in clips])
    single = [fold_imbalance(labels, plain_sklearn(clips, 4, seed), 4) for seed in range(4)]
    assert fold_imbalance(labels, location_folds(clips, 4, seed=0), 4) < np.mean(single)


def test_more_folds_than_locations():
    with refused(field="folds.n_folds") as caught:
        location_folds(SMALL, 5, seed=0)
    assert "tram" in caught.value.message and "4" in caught.value.message


@pytest.mark.parametrize("kind", ["location", "random"])
@pytest.mark.parametrize("n_folds", [2, 3])
def test_a_class_of_one_place_is_told_to_get_another(kind, n_folds):
    """A single fold, which "at most" would name, is no cross-validation."""
    clips = table({"bus": [1], "tram": [1, 1, 1, 1]})
    with refused(field="folds.n_folds") as caught:
        make_splits(dataset(clips), kind=kind, n_folds=n_folds, seed=0)
    assert "bus" in caught.value.message and "1 folds" not in caught.value.message


@pytest.mark.parametrize("kind", ["location", "random"])
def test_one_class_is_nothing_to_learn(kind):
    data = dataset(table({"bus": [2, 2, 2]}))
    with refused(path="set") as caught:
        make_splits(data, kind=kind, n_folds=2, seed=0)
    assert "bus" in caught.value.message


@pytest.mark.parametrize("inner_fraction", [0, 0.5])
def test_a_published_fold_that_trains_on_no_clip_of_a_class(inner_fraction):
    train = indices_of(SMALL, "bus-0", "bus-1", "park-0", "park-1")
    evaluate = indices_of(SMALL, "bus-2", "park-2", "tram-0")
    data = dataset(SMALL, {1: PublishedFold(train, evaluate)})
    with refused(path="set") as caught:
        make_splits(data, kind="published", n_folds=1, seed=0, inner_fraction=inner_fraction)
    assert "fold 1" in caught.value.message and "tram" in caught.value.message


def test_a_class_that_no_published_fold_holds_out():
    train = indices_of(SMALL, "bus-0", "park-0", "tram-0")
    data = dataset(SMALL, {1: PublishedFold(train, indices_of(SMALL, "bus-1", "park-1"))})
    with refused(path="set") as caught:
        make_splits(data, kind="published", n_folds=1, seed=0)
    assert "tram" in caught.value.message


@pytest.mark.parametrize("fraction", [0.25, 0.3, 0.5])
def test_the_inner_part_is_set_aside_by_location(fraction):
    clips = table({"bus": [2] * 12, "park": [3] * 12})
    data = dataset(clips)
    arguments = {"kind": "location", "n_folds": 3, "seed": 0}
    whole, _ = make_splits(data, **arguments)
    splits, test = make_splits(data, **arguments, inner_fraction=fraction)
    assert_sound(data, splits, test)
    for split, without in zip(splits, whole, strict=True):
        np.testing.assert_array_equal(split.held_out, without.held_out)
        np.testing.assert_array_equal(np.union1d(split.train, split.inner), without.train)
        assert len(split.inner) / len(without.train) == pytest.approx(fraction, abs=0.07)
        assert {clips[i].scene_label for i in split.inner} == {"bus", "park"}


def test_an_inner_part_that_cannot_be_had_names_its_own_field():
    with refused(field="folds.inner_fraction") as caught:
        make_splits(dataset(SMALL), kind="location", n_folds=4, seed=0, inner_fraction=0.1)
    assert "tram" in caught.value.message


def indices_of(clips, *names) -> tuple[int, ...]:
    return tuple(i for i, clip in enumerate(clips) if clip.location in names)


ONE_FOLD = {
    1: PublishedFold(
        train=indices_of(SMALL, *(f"{c}-{n}" for c in ("bus", "park", "tram") for n in range(3))),
        evaluate=indices_of(SMALL, "bus-3", "park-3", "tram-3", "bus-4", "park-4"),
    )
}


def test_the_baselines_protocol_is_a_single_published_fold():
    data = dataset(SMALL, ONE_FOLD)
    splits, test = make_splits(data, kind="published", n_folds=1, seed=0, inner_fraction=0.3)
    (split,) = splits
    assert split.fold == 1
    assert tuple(split.held_out) == ONE_FOLD[1].evaluate
    assert sorted([*split.train, *split.inner]) == sorted(ONE_FOLD[1].train)
    assert len(split.inner) > 0
    assert len(test) == 0
    assert_sound(data, splits, test)


def test_published_folds_keep_their_numbers():
    folds = {
        3: ONE_FOLD[1],
        7: PublishedFold(ONE_FOLD[1].evaluate, ONE_FOLD[1].train),
    }
    splits, _ = make_splits(dataset(SMALL, folds), kind="published", n_folds=2, seed=0)
    assert [split.fold for split in splits] == [3, 7]


def test_the_test_fold_is_never_trained_on():
    data = dataset(SMALL, ONE_FOLD)
    splits, test = make_splits(
        data, kind="location", n_folds=3, seed=0, test_fold=1, inner_fraction=0.5
    )
    assert tuple(test) == ONE_FOLD[1].evaluate
    assert_sound(data, splits, test)
    for split in splits:
        everything = np.concatenate([split.train, split.inner, split.held_out])
        assert sorted(everything) == sorted(ONE_FOLD[1].train)


def test_esc10s_published_folds(esc10):
    data = read_dataset(esc10)
    splits, test = make_splits(data, kind="published", n_folds=5, seed=0)
    assert_sound(data, splits, test)
    assert sorted(np.concatenate([split.held_out for split in splits])) == list(range(400))


@pytest.mark.parametrize(
    ("arguments", "published", "field"),
    [
        ({"kind": "published", "n_folds": 4}, ONE_FOLD, "n_folds"),
        ({"kind": "published"}, {}, "n_folds"),
        ({"kind": "location", "test_fold": 2}, ONE_FOLD, "test_fold"),
        ({"kind": "location", "test_fold": 2}, {}, "test_fold"),
        ({"kind": "published", "n_folds": 1, "test_fold": 1}, ONE_FOLD, "test_fold"),
    ],
)
def test_published_folds_that_are_not_there(arguments, published, field):
    with refused(field=f"folds.{field}"):
        make_splits(dataset(SMALL, published), **{"n_folds": 3, "seed": 0, **arguments})


def test_a_set_without_labels_cannot_be_split():
    clips = [dataclasses.replace(clip, scene_label="") for clip in SMALL]
    with refused(path="set"):
        make_splits(dataset(clips), kind="location", n_folds=2, seed=0)


def test_a_published_split_that_leaks_is_refused():
    leak = SMALL[ONE_FOLD[1].train[0]]
    sibling = indices_of(SMALL, leak.location)[1]
    train = tuple(i for i in ONE_FOLD[1].train if i != sibling)
    data = dataset(SMALL, {1: PublishedFold(train, (*ONE_FOLD[1].evaluate, sibling))})
    with refused() as caught:
        make_splits(data, kind="published", n_folds=1, seed=0)
    named = "fold 1", leak.location, f"{leak.path} (train)", f"{SMALL[sibling].path} (held-out)"
    assert all(name in caught.value.message for name in named)
    # The same leak, as a test part that the ensemble would be scored on.
    with refused() as caught:
        make_splits(data, kind="location", n_folds=2, seed=0, test_fold=1)
    assert leak.location in caught.value.message and "(test)" in caught.value.message


@pytest.mark.parametrize(
    ("part", "leak"),
    [("inner", "train"), ("held_out", "train"), ("held_out", "inner"), ("test", "inner")],
)
def test_every_pair_of_sides_is_checked(part, leak):
    parts = {"train": [0], "inner": [3], "held_out": [4], "test": [6]}
    refuse_leak(SMALL, split_of(parts), np.array(parts["test"]))
    first = parts[leak][0]
    parts[part] = [*parts[part], first]
    with refused() as caught:
        refuse_leak(SMALL, split_of(parts), np.array(parts["test"]))
    assert repr(SMALL[first].location) in caught.value.message


def split_of(parts) -> Split:
    return Split(1, *(np.array(parts[name]) for name in ("train", "inner", "held_out")))


def test_held_out_and_test_clips_may_share_a_location():
    """The model has seen neither."""
    parts = {"train": [0], "inner": [], "held_out": [4]}
    refuse_leak(SMALL, split_of(parts), np.array([5]))
    assert SMALL[4].location == SMALL[5].location


def test_folds_at_random_hold_every_clip_once_and_leak_on_purpose():
    clips = tut_sized(0)
    splits, test = make_splits(dataset(clips), kind="random", n_folds=4, seed=0)
    held_out = np.concatenate([split.held_out for split in splits])
    assert np.array_equal(np.sort(held_out), np.arange(len(clips))) and not len(test)
    labels = np.array([clip.scene_label for clip in clips])
    for split in splits:
        known = locations(clips, split.train) & locations(clips, split.held_out)
        assert len(known) > 0.9 * len(locations(clips, split.held_out))
        counts = np.unique(labels[split.held_out], return_counts=True)[1]
        assert counts.tolist() == [216] * 10


def test_folds_at_random_keep_the_test_and_the_inner_clips_unknown():
    clips = table({f"scene{k}": [2] * 12 for k in range(2)})
    test_part = tuple(i for i, clip in enumerate(clips) if clip.location.endswith("-7"))
    rest = tuple(i for i in range(len(clips)) if i not in test_part)
    data = dataset(clips, {1: PublishedFold(rest, test_part)})
    splits, test = make_splits(
        data, kind="random", n_folds=4, seed=0, test_fold=1, inner_fraction=0.3
    )
    for split in splits:
        known = locations(clips, split.train)
        assert not known & locations(clips, test)
        assert not known & locations(clips, split.inner)


@pytest.mark.parametrize("n_folds", [5, 1])
def test_folds_at_random_that_cannot_be_made(n_folds):
    with refused(field="folds.n_folds"):
        make_splits(dataset(SMALL), kind="random", n_folds=n_folds, seed=0)
