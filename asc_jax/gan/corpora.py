"""What each GAN learns from: the training clips of one fold, of one scene or of all."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from asc_jax.data.clips import Dataset
from asc_jax.data.folds import Split, inner_part
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import reading, write_whole


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The real clips of one GAN.

    Attributes:
      fold: whose training clips they are, from 1; the generated clips may serve no other.
      scene_labels: of the clips: one scene, or all of a class-conditional GAN's.
      train: (n,) int32 indices into `Dataset.clips`: what the GAN learns from.
      unseen: (m,) int32: training clips of the fold at other locations, with which
        generated clips are compared. The GAN does not see them.
    """

    fold: int
    scene_labels: tuple[str, ...]
    train: np.ndarray
    unseen: np.ndarray

    @property
    def name(self) -> str:
        """For logs and files: "tram-fold1", or "all-fold1" for several scenes."""
        scene = self.scene_labels[0] if len(self.scene_labels) == 1 else "all"
        return f"{scene}-fold{self.fold}"


def make_corpora(
    dataset: Dataset,
    splits: Sequence[Split],
    *,
    fold: int,
    scenes: Sequence[str] = (),
    conditional: bool = False,
    unseen_fraction: float,
    batch_size: int,
    seed: int,
) -> tuple[Corpus, ...]:
    """The corpora of a run: one per fold and scene, or per fold for conditional GANs.

    Only training clips of a fold enter its corpora; inner and held-out clips and those of
    the test part never do.

    Args:
      dataset: a labelled data set.
      splits: of the classifier that the generated clips are for.
      fold: which of its folds, from 1; 0 for all.
      scenes: which scenes; () for all.
      conditional: one GAN for all scenes of a fold.
      unseen_fraction: share of a fold's training locations that its GANs do not see.
      batch_size: clips per update; a corpus must hold as many.
      seed: of the choice of unseen locations.

    Returns:
      The corpora, fold by fold, scenes in alphabetical order.

    Raises:
      InputError: no such fold or scene, a scene without a training clip, fewer training
        clips than a batch, or too few locations or clips to leave some unseen.
    """
    _refuse_unknown(dataset, splits, fold, scenes)
    chosen = tuple(sorted(set(scenes or dataset.scene_labels)))
    groups = [chosen] if conditional else [(scene,) for scene in chosen]
    labels = np.array([clip.scene_label for clip in dataset.clips])
    corpora = []
    for split in splits:
        if fold and split.fold != fold:
            continue
        for scene in chosen:
            if not (labels[split.train] == scene).any():
                raise InputError(
                    f"fold {split.fold} trains on no clip of {scene!r}; leave that scene out",
                    field="gan.scenes",
                )
        unseen = inner_part(
            dataset.clips,
            split.train,
            unseen_fraction,
            seed + split.fold,
            field="gan.unseen_fraction",
        )
        train = np.setdiff1d(split.train, unseen)
        corpora += [
            Corpus(
                split.fold,
                group,
                train[np.isin(labels[train], group)],
                unseen[np.isin(labels[unseen], group)],
            )
            for group in groups
        ]
    _refuse_small(corpora, unseen_fraction, batch_size)
    return tuple(corpora)


def _refuse_unknown(
    dataset: Dataset, splits: Sequence[Split], fold: int, scenes: Sequence[str]
) -> None:
    """A fold or a scene that the classifier does not have."""
    numbers = [split.fold for split in splits]
    if fold and fold not in numbers:
        raise InputError(
            f"the classifier has folds {', '.join(map(str, numbers))}; name one of these, or 0 "
            "for all",
            field="gan.fold",
            value=fold,
        )
    for scene in scenes:
        if scene not in dataset.scene_labels:
            raise InputError(
                f"{scene!r} is not one of the classifier's scenes "
                f"({', '.join(dataset.scene_labels)}); correct it",
                field="gan.scenes",
            )


def _refuse_small(corpora: Sequence[Corpus], unseen_fraction: float, batch_size: int) -> None:
    """A GAN with too few clips to learn from, or to be compared with."""
    for corpus in corpora:
        if len(corpus.unseen) < 2:
            raise InputError(
                f"leaves {len(corpus.unseen)} clips to compare the GAN {corpus.name} with, but "
                "2 are needed; raise it",
                field="gan.unseen_fraction",
                value=unseen_fraction,
            )
    smallest = min(corpora, key=lambda corpus: len(corpus.train))
    if len(smallest.train) < batch_size:
        raise InputError(
            f"the GAN {smallest.name} has only {len(smallest.train)} training clips; use at "
            "most that",
            field="train.batch_size",
            value=batch_size,
        )


def write_corpora(path: pathlib.Path, dataset: Dataset, corpora: Sequence[Corpus]) -> None:
    """Writes which clips each GAN learns from.

    Raises:
      InputError: the file cannot be written.
    """
    write_whole(path, _describe(dataset, corpora))


def refuse_other_corpora(path: pathlib.Path, dataset: Dataset, corpora: Sequence[Corpus]) -> None:
    """Checks that GANs are resumed with the clips that they were started with.

    Args:
      path: from `write_corpora`.
      dataset: that the corpora index.
      corpora: as the classifier's folds now give them.

    Raises:
      InputError: they were others, or the file cannot be read.
    """
    with reading(path):
        differs = path.exists() and path.read_text(encoding="utf-8") != _describe(dataset, corpora)
    if differs:
        raise InputError(
            "the GANs of this run were trained on other clips or scenes than those of the "
            "classifier's folds; give it the classifier that it was trained for, with its data",
            path=path,
        )


def _describe(dataset: Dataset, corpora: Sequence[Corpus]) -> str:
    """The corpora in JSON, clips by their paths."""
    described = [
        {
            "fold": corpus.fold,
            "scene_labels": corpus.scene_labels,
            "train": [dataset.clips[i].path for i in corpus.train],
            "unseen": [dataset.clips[i].path for i in corpus.unseen],
        }
        for corpus in corpora
    ]
    return json.dumps(described, indent=1, allow_nan=False) + "\n"
