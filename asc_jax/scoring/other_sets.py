"""Data sets that a run is scored on beside its own."""

import pathlib
from collections.abc import Sequence

from asc_jax.data.clips import Dataset, read_dataset
from asc_jax.runs.inputs import sets_beside
from asc_jax.runtime.errors import InputError
from asc_jax.train.heard import Heard
from asc_jax.train.setup import Setup

_LONGEST_NAME = 100  # bytes of a set's name, which names files


def read_others(config, roots: Sequence[str]) -> dict[str, Dataset]:
    """The sets beside the development set, by a name each."""
    named = sets_beside(config)
    for root in roots:
        name = pathlib.Path(root).resolve().name
        if not name.isprintable() or not 0 < len(name.encode()) <= _LONGEST_NAME:
            raise InputError(
                f"files are named after the set, and {name[:40]!r} cannot be part of a file "
                f"name; rename the folder, with at most {_LONGEST_NAME} bytes of printable "
                "characters",
                path=root,
            )
        if name in ("out_of_fold", "test") or name in named:
            raise InputError(
                f"a list named {name!r} is there already; rename the folder", path=root
            )
        named[name] = root
    for root in named.values():
        if pathlib.Path(root).resolve() == pathlib.Path(config.data.root).resolve():
            raise InputError(
                "is the set that the run was trained on, which is scored out of fold anyway; leave "
                "it out",
                path=root,
            )
    return {
        name: read_dataset(
            root, argument="--data" if root in roots else f"--config.data.{name}_root"
        )
        for name, root in named.items()
    }


def refuse_seen_locations(dataset: Dataset, setup: Setup, before: Heard) -> None:
    """A labelled set that shares a location with training clips has no honest score."""
    if not dataset.labelled:
        return
    clips = setup.clips.dataset.clips
    seen = {clips[i].location for s in setup.splits for i in (*s.train, *s.inner)}
    seen |= before.locations
    for clip in dataset.clips:
        if clip.location in seen:
            raise InputError(
                f"its location {clip.location!r} is among the training clips; leave such clips "
                "out of the set to be scored (or give them another identifier in meta.csv if "
                "it is another location)",
                path=dataset.audio_path(clip),
            )


def refuse_seen_audio(
    dataset: Dataset, digests: Sequence[str], setup: Setup, before: Heard
) -> None:
    """A labelled set that holds training clips has no honest score, whatever their names are."""
    if not dataset.labelled:
        return
    seen = {setup.clips.digests[i]: i for s in setup.splits for i in (*s.train, *s.inner)}
    for clip, digest in zip(dataset.clips, digests, strict=True):
        if digest in seen or digest in before.audio:
            again = "a clip that an earlier model of the run was trained on"
            if digest in seen:
                again = setup.clips.dataset.audio_path(setup.clips.dataset.clips[seen[digest]])
                again = f"the training clip {again}"
            raise InputError(
                f"has the same sound as {again}; leave such clips out of the set to be scored",
                path=dataset.audio_path(clip),
            )
