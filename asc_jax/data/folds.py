"""Folds that no location straddles: made by location, or as the data set publishes them.

Folds at random, which locations do straddle, are there to measure what that is worth.
"""

import collections
import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from asc_jax.data.clips import Clip, Dataset
from asc_jax.runtime.errors import InputError

KINDS = ("location", "published", "random", "all")

# Folds, or models of all clips, where a config leaves their number open: the paper's.
_USUAL = 4

# The grouped stratified split is greedy and depends on its shuffle; of this many shuffles
# the best balanced is kept. It pays where a location holds several classes (the imbalance
# falls by a fifth to a third); with one class to a location all shuffles balance alike.
_CANDIDATES = 16

# Parts that a training part is cut into at most, to set an inner fraction aside.
_INNER_PARTS = 10


@dataclasses.dataclass(frozen=True)
class Split:
    """What one fold's model trains on, chooses its epoch on and is scored on.

    Attributes:
      fold: the fold's number, from 1.
      train: (n,) int32 indices into `Dataset.clips`.
      inner: training clips set aside to choose the epoch on; empty if none are.
      held_out: clips that the model never sees.
      synthetic: (m,) int32 indices into the pool, of clips generated from `train`'s, to train
        on as well; empty if there are none.
    """

    fold: int
    train: np.ndarray
    inner: np.ndarray
    held_out: np.ndarray
    synthetic: np.ndarray = dataclasses.field(default_factory=lambda: np.array([], np.int32))


def location_folds(clips: Sequence[Clip], n_folds: int, seed: int) -> np.ndarray:
    """Assigns every clip to a fold: whole locations, classes balanced.

    Args:
      clips: labelled clips.
      n_folds: number of folds K.
      seed: of the assignment.

    Returns:
      (len(clips),) int32: the fold, 1 to K, in which each clip is held out.

    Raises:
      InputError: a class has fewer locations than there are folds.

    Source: paper §2.5 ("4 folds"); scikit-learn's StratifiedGroupKFold.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels = np.array([clip.scene_label for clip in clips])
    locations = np.array([clip.location for clip in clips])
    _refuse_few(n_folds, *_fewest_locations(clips), "location")
    best, best_imbalance = None, np.inf
    for child in np.random.SeedSequence(seed).generate_state(_CANDIDATES):
        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=int(child))
        folds = _numbered(splitter.split(labels, labels, locations), len(clips))
        imbalance = fold_imbalance(labels, folds, n_folds)
        if imbalance < best_imbalance:
            best, best_imbalance = folds, imbalance
        if best_imbalance == 0:
            break
    return best


def random_folds(clips: Sequence[Clip], n_folds: int, seed: int) -> np.ndarray:
    """Assigns every clip to a fold whatever its location, classes balanced.

    Models then know the places that they are scored on. The arguments, the result and the
    refusals are those of `location_folds`, with clips in the place of locations.
    """
    from sklearn.model_selection import StratifiedKFold

    labels = np.array([clip.scene_label for clip in clips])
    names, counts = np.unique(labels, return_counts=True)
    _refuse_few(n_folds, str(names[counts.argmin()]), int(counts.min()), "clip")
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    return _numbered(splitter.split(labels, labels), len(clips))


def _numbered(pairs: Iterable[tuple[np.ndarray, np.ndarray]], n_clips: int) -> np.ndarray:
    """(n_clips,) int32: by which of scikit-learn's pairs, from 1, each clip is held out."""
    folds = np.zeros(n_clips, np.int32)
    for fold, (_, held_out) in enumerate(pairs, start=1):
        folds[held_out] = fold
    return folds


def _refuse_few(n_folds: int, label: str, n: int, noun: str) -> None:
    """Refuses a single fold, and more folds than a class has locations, or clips."""
    if n_folds < 2:
        raise InputError(
            "cross-validation needs at least 2 folds", field="folds.n_folds", value=n_folds
        )
    if n == 1:
        _refuse_only_one(label, noun, n_folds)
    if n < n_folds:
        raise InputError(
            f"scene_label {label!r} has only {n} {noun}s; use at most {n} folds",
            field="folds.n_folds",
            value=n_folds,
        )


def _refuse_only_one(label: str, noun: str, n_folds: int) -> None:
    raise InputError(
        f"scene_label {label!r} has only one {noun}, which cannot be both trained on and held out; "
        f"add another {noun}, or leave that class out",
        field="folds.n_folds",
        value=n_folds,
    )


def _fewest_locations(clips: Sequence[Clip]) -> tuple[str, int]:
    """The class with the fewest locations, and their number."""
    locations: dict[str, set[str]] = {}
    for clip in clips:
        locations.setdefault(clip.scene_label, set()).add(clip.location)
    label = min(locations, key=lambda label: len(locations[label]))
    return label, len(locations[label])


def fold_imbalance(labels: np.ndarray, folds: np.ndarray, n_folds: int) -> float:
    """How far the worst class and fold is from an equal share, as a fraction of that share."""
    worst = 0.0
    for label in np.unique(labels):
        counts = np.bincount(folds[labels == label], minlength=n_folds + 1)[1:]
        worst = max(worst, float(np.abs(counts / counts.mean() - 1).max()))
    return worst


def make_splits(
    dataset: Dataset,
    *,
    kind: str,
    n_folds: int,
    seed: int,
    test_fold: int = 0,
    inner_fraction: float = 0.0,
) -> tuple[tuple[Split, ...], np.ndarray]:
    """The splits of a run and its labelled test clips.

    Args:
      dataset: a labelled data set.
      kind: "location" for `location_folds`, "published" for the data set's own folds,
        "random" for `random_folds`, "all" for folds that train on all clips and hold out none.
      n_folds: number of folds; with "published" the first so many of those published. 0 for as
        many as there are, or up to 4 that the class with the fewest locations allows.
      seed: of the location folds and of the inner splits.
      test_fold: a published fold whose evaluate part no fold may train on, so that the
        whole ensemble can be scored on it; 0 for none.
      inner_fraction: share of each training part, by location, set aside to choose the
        epoch on.

    Returns:
      A split per fold, and the (n,) int32 indices of the test clips (empty if none).

    Raises:
      InputError: folds that do not exist or cannot be made, a split that leaks a location, or a
        class that a fold does not train on or that no fold holds out.
    """
    if not dataset.labelled:
        raise InputError(
            "has no scene labels; training needs a meta.csv with them", path=dataset.root
        )
    if len(dataset.scene_labels) == 1:
        raise InputError(
            f"has only the class {dataset.scene_labels[0]!r}; training needs two or more",
            path=dataset.root,
        )
    everything = np.arange(len(dataset.clips), dtype=np.int32)
    none = test = np.array([], np.int32)
    if test_fold:
        if test_fold not in dataset.published_folds:
            mend = "name one of these, or 0" if dataset.published_folds else "set it to 0"
            raise InputError(
                f"{dataset.folds_source} publishes {_listing(dataset.published_folds)}; {mend}",
                field="folds.test_fold",
                value=test_fold,
            )
        test = np.array(dataset.published_folds[test_fold].evaluate, np.int32)
    if kind == "published":
        pairs = _published_pairs(dataset, n_folds)
        if test_fold:
            raise InputError(
                "is only for folds.kind='location' or 'random'; set it to 0",
                field="folds.test_fold",
            )
    else:
        pool = np.setdiff1d(everything, test)
        clips = [dataset.clips[i] for i in pool]
        n_folds = n_folds or _most_folds(clips, kind)
        if kind == "all":
            pairs = [(f, pool, none) for f in range(1, n_folds + 1)]
        else:
            folds = {"location": location_folds, "random": random_folds}[kind](clips, n_folds, seed)
            pairs = [(f, pool[folds != f], pool[folds == f]) for f in range(1, n_folds + 1)]
    splits = []
    for fold, train, held_out in pairs:
        inner = none
        if inner_fraction:
            inner = inner_part(dataset.clips, train, inner_fraction, seed + fold)
        splits.append(Split(fold, np.setdiff1d(train, inner), inner, held_out))
    for split in splits:
        if kind == "random":  # its leak is asked for: into the held-out clips, nowhere else
            split = dataclasses.replace(split, held_out=none)
        refuse_leak(dataset.clips, split, test)
    _refuse_absent_classes(dataset, splits, kind)
    return tuple(splits), test


def _refuse_absent_classes(dataset: Dataset, splits: Sequence[Split], kind: str) -> None:
    """Refuses folds that train on no clip of a class, or that never hold one out."""
    where, mend = {"field": "folds.seed"}, "set another"
    if kind == "published":
        where, mend = {"path": dataset.folds_source}, "mend the published folds"

    def labels(indices) -> set[str]:
        return {dataset.clips[i].scene_label for i in indices}

    for split in splits:
        if absent := set(dataset.scene_labels) - labels(split.train):
            raise InputError(
                f"fold {split.fold} trains on no clip of scene_label {min(absent)!r}; {mend}",
                **where,
            )
    if kind == "all":
        return
    held_out = set().union(*(labels(split.held_out) for split in splits))
    if absent := set(dataset.scene_labels) - held_out:
        raise InputError(
            f"no fold holds out a clip of scene_label {min(absent)!r}, so it would have no "
            f"score; {mend}",
            **where,
        )


def _most_folds(clips: Sequence[Clip], kind: str) -> int:
    """As many folds as are usual, or as each class has locations (of random ones, clips) for."""
    if kind == "all":
        return _USUAL
    if kind == "location":
        label, fewest = _fewest_locations(clips)
    else:
        counts = collections.Counter(clip.scene_label for clip in clips)
        label, fewest = min(counts.items(), key=lambda item: item[1])
    if fewest < 2:
        _refuse_only_one(label, "location" if kind == "location" else "clip", n_folds=0)
    return min(_USUAL, fewest)


def _published_pairs(dataset: Dataset, n_folds: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    published = dataset.published_folds
    n_folds = n_folds or len(published) or 1
    if len(published) < n_folds:
        fewer = f"set folds.n_folds to at most {len(published)}, or " if published else "set "
        raise InputError(
            f"{dataset.folds_source} publishes {_listing(published)}; "
            f"{fewer}folds.kind='location' to make folds",
            field="folds.n_folds",
            value=n_folds,
        )
    pairs = [
        (number, np.array(fold.train, np.int32), np.array(fold.evaluate, np.int32))
        for number, fold in list(published.items())[:n_folds]
    ]
    counts = np.bincount(np.concatenate([held_out for _, _, held_out in pairs]))
    if counts.max() > 1:
        path = dataset.clips[int(counts.argmax())].path
        raise InputError(
            f"{path} is held out by {counts.max()} folds and would be scored by each of "
            "them; keep it in one, or set folds.n_folds=1",
            path=dataset.folds_source,
        )
    return pairs


def _listing(folds) -> str:
    return "folds " + ", ".join(map(str, folds)) if folds else "no fold"


def inner_part(
    clips: Sequence[Clip],
    train: np.ndarray,
    fraction: float,
    seed: int,
    field: str = "folds.inner_fraction",
) -> np.ndarray:
    """Whole locations of a training part, classes balanced: as near to a share as can be.

    Args:
      clips: of the data set.
      train: (n,) indices of the training part.
      fraction: the share, above 0.
      seed: of the choice.
      field: of the config, that says the share.

    Returns:
      (m,) indices, some of `train`.

    Raises:
      InputError: a class has too few locations for that share.
    """
    clips = [clips[i] for i in train]
    label, n_locations = _fewest_locations(clips)
    shares = [
        (abs(taken / parts - fraction), parts, taken)
        for parts in range(2, min(_INNER_PARTS, n_locations) + 1)
        for taken in range(1, parts)
    ]
    off, parts, taken = min(shares, default=(fraction, 0, 0))
    if off >= fraction / 2:
        raise InputError(
            f"scene_label {label!r} has too few training locations in a fold "
            f"({n_locations}) to set this share aside; set a larger share",
            field=field,
            value=fraction,
        )
    return train[location_folds(clips, parts, seed) <= taken]


def refuse_leak(clips: Sequence[Clip], split: Split, test: np.ndarray) -> None:
    """Refuses a split with a location, or a clip, on two sides.

    Raises:
      InputError: naming the fold, a location and two of its clips.
    """
    owner: dict[str, tuple[str, str]] = {}
    parts = (("train", split.train), ("inner", split.inner), ("held-out", split.held_out))
    # Held-out clips and test clips are both unseen: they may share a location.
    for part, indices in (*parts, ("test", test)):
        side = "held-out" if part == "test" else part
        for i in indices:
            clip = clips[i]
            other_side, other_path = owner.setdefault(clip.location, (side, clip.path))
            if other_side != side:
                mend = "split by location (folds.kind='location'), or mend the published folds"
                if part == "test":
                    mend = "the two sides of a published fold overlap: mend it"
                raise InputError(
                    f"fold {split.fold}: location {clip.location!r} is on both sides, {other_path} "
                    f"({other_side}) and {clip.path} ({part}); {mend}"
                )
