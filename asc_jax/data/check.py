"""Reads a whole data set once, to count its contents and find its faults."""

import collections
import hashlib
import math
import os
import pathlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from asc_jax.data import audio, many_files
from asc_jax.data.class_folders import find_recordings
from asc_jax.data.clips import Clip, Dataset, read_tables
from asc_jax.data.on_disk import file_problems, first_three
from asc_jax.runtime.errors import InputError

# Of a clip that is called clipped: share of its samples that are at full scale, and what is that.
_CLIPPED, _FULL_SCALE = 1e-3, 0.9999

# What `configs/small.py` has, s and clips; and s of the frames that other configs keep.
_LONGEST_OF_SMALL, _BATCH_OF_SMALL, _LONGEST_OF_FRAMES = 30.0, 16, 10.02


class Sound(NamedTuple):
    """What a file that decodes holds.

    Attributes:
      sr: Hz.
      channels: how many.
      seconds: its length.
      silent: whether it stays below `audio.SILENCE`.
      constant: whether its samples are all of one value.
      clipped: share of its samples at full scale.
      content: names its waveform, in whatever format.
    """

    sr: int
    channels: int
    seconds: float
    silent: bool
    constant: bool
    clipped: float
    content: str


def check_dataset(root: pathlib.Path, *, argument: str = "data.root") -> dict:
    """Reads the tables of a data set and decodes all of its clips.

    Args:
      root: as for `read_tables`.
      argument: as for `read_tables`.

    Returns:
      A dictionary of JSON types: counts of `classes`, `cities`, `devices`, `folds` and `formats`;
      `faults`, which prevent or harm training; `notes` on what may be intended; `unreadable`, the
      error of each file that cannot be decoded; `fields`, the overrides with which any config takes
      the set; `command`, which trains a small model on it.

    Raises:
      InputError: as `read_tables`.
    """
    dataset = read_tables(root, argument=argument)
    clips = {clip.path: clip for clip in dataset.clips}
    there = [path for path in clips if os.path.exists(dataset.root / path)]
    read = many_files.map_files(_listen, [dataset.root / path for path in there])
    found = dict(zip(there, read, strict=True))
    sounds = {path: one for path, one in found.items() if isinstance(one, Sound)}
    bad = {path: str(one) for path, one in found.items() if isinstance(one, InputError)}
    complaints = {dataset.root / path: told for path, told in bad.items()}
    faults = [
        *file_problems(dataset.root, list(clips)),
        *(many_files.complaints(complaints, len(clips)).splitlines() if bad else ()),
        *_faults_of_sounds(sounds),
        *_faults_of_copies(dataset, sounds),
        *_faults_of_folds(dataset),
    ]
    return {
        "root": str(dataset.root),
        "n_clips": len(clips),
        "n_locations": len({clip.location for clip in dataset.clips}),
        "seconds": sum(one.seconds for one in sounds.values()),
        "classes": _count(dataset.clips, "scene_label"),
        "cities": _count(dataset.clips, "city"),
        "devices": _count(dataset.clips, "device"),
        "folds": [
            {"fold": fold, "train": len(split.train), "evaluate": len(split.evaluate)}
            for fold, split in dataset.published_folds.items()
        ],
        "formats": _count_formats(sounds),
        "faults": faults,
        "notes": list(_notes(dataset, sounds)),
        "unreadable": bad,
        "fields": _fields(dataset, list(sounds.values())) if sounds else "",
        "command": _command(dataset, list(sounds.values())),
    }


def _listen(path: pathlib.Path) -> Sound | InputError:
    """What a file holds, or what is wrong with it."""
    try:
        samples, sr = audio.decode(path)
    except InputError as error:
        return error
    samples = audio.to_float(samples)
    levels = np.abs(samples)
    waveform = audio.mono(samples)
    content = hashlib.blake2b(f"{sr}".encode() + waveform.tobytes(), digest_size=8)
    return Sound(
        sr=sr,
        channels=samples.shape[1],
        seconds=len(samples) / sr,
        silent=bool(levels.max() < audio.SILENCE),
        constant=bool(waveform.min() == waveform.max()),
        clipped=float((levels >= _FULL_SCALE).mean()),
        content=content.hexdigest(),
    )


def _faults_of_sounds(sounds: Mapping[str, Sound]) -> Iterator[str]:
    silent = [path for path, one in sounds.items() if one.silent]
    constant = [path for path, one in sounds.items() if one.constant and not one.silent]
    if silent:
        yield f"silent (below -80 dB): {_some(silent, len(sounds))}; remove or replace them"
    if constant:
        yield f"constant samples: {_some(constant, len(sounds))}; replace them"


def _faults_of_copies(dataset: Dataset, sounds: Mapping[str, Sound]) -> Iterator[str]:
    """What the same sound under two names would do."""
    copies = _copies(dataset, sounds)
    by_two_labels = [some for some in copies if len({clip.scene_label for clip in some}) > 1]
    of_two_places = [
        some
        for some in copies
        if some not in by_two_labels and len({clip.location for clip in some}) > 1
    ]
    if by_two_labels:
        yield (f"the same sound with two labels: {_pairs(by_two_labels)}; remove the wrong ones")
    if of_two_places:
        yield (
            "the same sound at two locations, which may be on both sides of a fold: "
            f"{_pairs(of_two_places)}; remove the copies, or give them the same identifier"
        )


def _faults_of_folds(dataset: Dataset) -> Iterator[str]:
    """Why a fold could not be trained or would be scored on what it has heard."""
    clips = dataset.clips
    for fold, split in dataset.published_folds.items():
        sides = [{clips[i].location for i in side} for side in (split.train, split.evaluate)]
        if both := sorted(sides[0] & sides[1]):
            yield (
                f"fold {fold} has locations on both sides: {len(both)} ({first_three(both)}); "
                "correct its lists"
            )
        if absent := set(dataset.scene_labels) - {clips[i].scene_label for i in split.train}:
            yield f"fold {fold} trains on no clip of {first_three(sorted(absent))}; add some"
    if len(dataset.scene_labels) == 1:
        yield f"{dataset.scene_labels[0]} is its only class; training needs two or more"
    places = collections.defaultdict(set)
    for clip in clips:
        places[clip.scene_label].add(clip.location)
    alone = [label for label in dataset.scene_labels if len(places[label]) == 1]
    if alone and not dataset.published_folds:
        yield (
            f"only one location of {first_three(alone)}, which cannot be both trained on "
            "and scored; add recordings of another location"
        )


def _notes(dataset: Dataset, sounds: Mapping[str, Sound]) -> Iterator[str]:
    if not dataset.labelled:
        yield "no scene_label: the set can be classified, but not used for training"
    elif dataset.no_identifiers:
        yield dataset.no_identifiers
    clipped = [path for path, one in sounds.items() if one.clipped > _CLIPPED]
    if clipped:
        yield f"over {_CLIPPED:.1%} of samples at full scale: {_some(clipped, len(sounds))}"
    copies = _copies(dataset, sounds)
    if same := [some for some in copies if len({(c.scene_label, c.location) for c in some}) == 1]:
        yield f"the same sound twice at one location: {_pairs(same)}"
    listed = {pathlib.PurePosixPath(clip.path).as_posix() for clip in dataset.clips}
    files = [path.relative_to(dataset.root).as_posix() for path in find_recordings(dataset.root)]
    if extra := [path for path in files if path not in listed]:
        yield f"in no table: {_some(extra, len(files))}"


def _copies(dataset: Dataset, sounds: Mapping[str, Sound]) -> list[list[Clip]]:
    """Clips of one waveform, two or more each; of silence none."""
    same = collections.defaultdict(list)
    for clip in dataset.clips:
        one = sounds.get(clip.path)
        if one and not one.constant:
            same[one.content].append(clip)
    return [clips for clips in same.values() if len(clips) > 1]


def _pairs(copies: Sequence[Sequence[Clip]]) -> str:
    """Lists the first two of each, the first three of many, and how many there are."""
    names = [" = ".join(clip.path for clip in clips[:2]) for clips in copies]
    return f"{len(names)} ({first_three(names)})"


def _some(names: Sequence[str], n: int) -> str:
    return f"{len(names)} of {n} ({first_three(names)})"


def _count(clips: Sequence[Clip], field: str) -> list[dict]:
    """Clips and locations by a field, where there is one."""
    by_name = collections.defaultdict(list)
    for clip in clips:
        if name := getattr(clip, field):
            by_name[name].append(clip.location)
    return [
        {field: name, "n_clips": len(places), "n_locations": len(set(places))}
        for name, places in sorted(by_name.items())
    ]


def _count_formats(sounds: Mapping[str, Sound]) -> list[dict]:
    """Files by ending, rate and channels, the commonest first; examples of all but that one."""
    formats = collections.defaultdict(list)
    for path, one in sounds.items():
        ending = pathlib.PurePosixPath(path).suffix.lower()
        formats[ending, one.sr, one.channels].append((path, one.seconds))
    ordered = sorted(formats.items(), key=lambda item: -len(item[1]))
    return [
        {
            "ending": ending,
            "sr": sr,
            "channels": channels,
            "n_files": len(files),
            "shortest": min(seconds for _, seconds in files),
            "longest": max(seconds for _, seconds in files),
            "files": [path for path, _ in files[:3]] if number else [],
        }
        for number, ((ending, sr, channels), files) in enumerate(ordered)
    ]


def _fields(dataset: Dataset, sounds: Sequence[Sound]) -> str:
    """The fields with which any config takes files like these whole, and their folds."""
    lengths = [one.seconds for one in sounds]
    longest, channels = max(lengths), {one.channels for one in sounds}
    rounded = math.ceil(100 * (longest - audio.LENGTH_TOLERANCE_S)) / 100
    words = [f"--config.data.clip_seconds={max(rounded, round(longest, 2)):g}"]
    if longest - min(lengths) > audio.LENGTH_TOLERANCE_S:
        words.append("--config.data.fit_length=True")
    if longest > _LONGEST_OF_FRAMES:
        words.append("--config.data.n_frames=0")
    words.append(f"--config.data.channels={channels.pop() if len(channels) == 1 else 0}")
    if dataset.labelled and not dataset.published_folds:
        words += ["--config.folds.kind=location", "--config.folds.test_fold=0"]
    return " ".join(words)


def _command(dataset: Dataset, sounds: Sequence[Sound]) -> str:
    """The command that trains a small model on a set as it is; "" where none can."""
    if not (dataset.labelled and sounds):
        return ""
    words = ["--config=small", f"--config.data.root={shlex.quote(str(dataset.root))}"]
    longest = max(one.seconds for one in sounds)
    if longest > _LONGEST_OF_SMALL:
        words.append(f"--config.data.clip_seconds={longest:.2f}")
    n_train = len(dataset.clips) // 2  # of two folds, the fewest
    if dataset.published_folds:
        several = len(dataset.published_folds) > 1
        words.append("--config.folds.kind=published" if several else "--config.folds.test_fold=1")
        n_train = min(len(fold.train) for fold in dataset.published_folds.values()) // 2
    if n_train < _BATCH_OF_SMALL:
        words.append(f"--config.train.batch_size={max(1, n_train)}")
    return f"asc-jax train {' '.join(words)} --workdir=runs/own"
