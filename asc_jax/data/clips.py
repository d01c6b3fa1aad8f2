"""Clips, their labels and locations, and the folder layout of TUT Urban Acoustic Scenes.

The layout, as the DCASE 2018 Task 1A archives and the later TAU sets have it:

    ROOT/meta.csv                              filename, scene_label, identifier, source_label
    ROOT/audio/*.wav                           what `filename` points to
    ROOT/evaluation_setup/fold1_train.txt      path TAB scene_label
    ROOT/evaluation_setup/fold1_evaluate.txt   path TAB scene_label
    ROOT/evaluation_setup/test.txt             path alone: a set without labels

A folder without these may be ESC-50 or UrbanSound8K as unpacked, hold another table with a column
`filename`, or a folder per class: `ROOT/CLASS/**/*.wav`.

Nothing here opens an audio file or imports JAX.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from asc_jax.data.class_folders import class_folders, find_recordings
from asc_jax.data.names import label_fault, look_alike
from asc_jax.data.on_disk import file_problems
from asc_jax.data.published_folds import (
    Lists,
    PublishedFold,
    find_lists,
    folds_of_columns,
    only_list,
    read_published_folds,
    refuse_other_lists,
)
from asc_jax.data.published_tables import find_published_table
from asc_jax.data.table import COLUMNS, Row, lists_any, names_files, read_rows
from asc_jax.runtime.errors import InputError

UNLABELLED = ""

# scene-city-location-segment-device.wav, with the part of the segment before the device in TAU
# 2022. Names of other forms fall back to the identifier.
_TUT_NAME = re.compile(
    r"^(?P<scene>[a-z_]+)-(?P<city>[a-z]+)-(?P<location>\d+)-(?P<segment>\d+)(-(?P<part>\d+))?"
    r"-(?P<device>[a-z0-9]+)$"
)


@dataclasses.dataclass(frozen=True)
class Clip:
    """Describes one audio file of a data set.

    Attributes:
      path: the file, relative to the data set's root, as the data set writes it.
      scene_label: the class name; `UNLABELLED` ("") if the set has none.
      location: what must never be on both sides of a split: `city-location` in TUT names,
        else the `identifier` column, else the file's own path.
      city: the city of a TUT name, else "".
      device: the recording device of a TUT name, else the `source_label` column.
    """

    path: str
    scene_label: str
    location: str
    city: str = ""
    device: str = ""

    @property
    def stem(self) -> str:
        """The file name without folder and ending, the `Id` in a leaderboard submission."""
        return pathlib.PurePosixPath(self.path).stem


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Describes a data set by its tables.

    Attributes:
      root: the folder that `Clip.path` is relative to.
      clips: all listed clips, in the order of the table.
      scene_labels: the sorted class names; empty for a set without labels.
      published_folds: fold number (from 1) -> its split.
    """

    root: pathlib.Path
    clips: tuple[Clip, ...]
    scene_labels: tuple[str, ...]
    published_folds: Mapping[int, PublishedFold]

    @property
    def labelled(self) -> bool:
        return bool(self.scene_labels)

    @property
    def no_identifiers(self) -> str:
        """A warning if each file is a location of its own, else ""."""
        if any(clip.location != clip.path for clip in self.clips):
            return ""
        return (
            "Each file is taken for a location of its own. If some are of one recording or place, "
            "scores are too high: group them by asc-jax data import --identifier=REGEX, or by a "
            "column identifier of meta.csv, if there is one."
        )

    @property
    def folds_source(self) -> pathlib.Path:
        """Names the files of the published folds, for messages."""
        setup = self.root / "evaluation_setup"
        return setup if setup.is_dir() else self.root

    def audio_path(self, clip: Clip) -> pathlib.Path:
        return self.root / clip.path


def read_dataset(root: str | pathlib.Path, *, argument: str = "data.root") -> Dataset:
    """Reads the tables of a data set and checks that all its audio files exist.

    Args:
      root: see `read_tables`.
      argument: see `read_tables`.

    Returns:
      The `Dataset`. Audio files are checked for existence, not opened.

    Raises:
      InputError: as `read_tables`; or a listed file is missing, or two rows name the same file.
    """
    dataset = read_tables(root, argument=argument)
    if problems := file_problems(dataset.root, [clip.path for clip in dataset.clips]):
        said = "\n".join(problems)
        raise InputError(f"{said} (asc-jax data check {dataset.root} lists all faults)")
    return dataset


def read_tables(root: str | pathlib.Path, *, argument: str = "data.root") -> Dataset:
    """Reads the tables of a data set in the TUT 2018 layout.

    Args:
      root: the folder that holds `meta.csv` and `audio/`, or, for a set without labels, one
        list of `evaluation_setup` and `audio/`.
      argument: the field or flag that names the folder, for messages.

    Returns:
      The `Dataset`. Its audio files may be missing.

    Raises:
      InputError: the folder or its tables are missing or contradict each other, a clip is
        listed twice, or a label cannot be told from another or name a file.

    Source: the data set's README; the paths in the tables are relative to the root.
    """
    root = pathlib.Path(root)
    if not os.path.isdir(root):
        state = "is a file, not a folder" if os.path.isfile(root) else "no such folder"
        raise InputError(
            f"{state}; {argument} must be a folder with a folder of recordings for each "
            "class, or with meta.csv and audio/",
            path=root,
        )
    setup = root / "evaluation_setup"
    lists = find_lists(setup)
    table, rows = _find_table(root, lists, argument)
    has_meta = table.parent != setup
    clips = tuple(_make_clip(table, row) for row in rows)
    if not clips:
        raise InputError("lists no clips; it needs a row per clip", path=table)
    _refuse_duplicates(clips, table)
    labels = tuple(sorted({clip.scene_label for clip in clips} - {UNLABELLED}))
    if labels and any(clip.scene_label == UNLABELLED for clip in clips):
        first = next(clip for clip in clips if clip.scene_label == UNLABELLED)
        raise InputError(
            f"{first.path} has no scene_label; give all clips one, or none of them (the "
            "columns are separated by tabs)",
            path=table,
        )
    identifiers = sorted({clip.location for clip in clips if clip.location != clip.path})
    for column, names in (("scene_label", labels), ("identifier", identifiers)):
        if pair := look_alike(names):
            raise InputError(
                f"{column} {pair[0]!a:.60} and {pair[1]!a:.60} differ only in case, spaces, "
                "leading zeros or characters that look alike; write them alike, or make the "
                "difference clear",
                path=table,
            )
    folds = folds_of_columns(table, rows, lists)
    by_path = {clip.path: clip.scene_label for clip in clips}
    if has_meta and labels and not folds:
        folds = read_published_folds(setup, lists, by_path)
    elif has_meta and not labels:
        refuse_other_lists(table, lists, by_path)
    return Dataset(root, clips, labels, folds)


def _find_table(root: pathlib.Path, lists: Lists, argument: str) -> tuple[pathlib.Path, list[Row]]:
    """What says which clips there are, and its rows; the folder itself where classes have one."""
    meta = root / "meta.csv"
    if os.path.isfile(meta):
        return meta, read_rows(meta)
    if lists:
        table = only_list(meta, lists, argument)
        return table, read_rows(table)
    if found := find_published_table(root):
        return found
    tables = [path for path in sorted(root.iterdir()) if path.suffix.lower() in (".csv", ".tsv")]
    named = [path for path in tables if names_files(path)]
    if len(named) > 1:
        raise InputError(
            f"this or {named[1].name} may be the table of this set; rename one of them meta.csv",
            path=named[0],
        )
    if not named and (rows := class_folders(root)):
        recordings = {row.filename.rpartition("/")[2] for row in rows}
        if unread := [path for path in tables if lists_any(path, recordings)]:
            raise InputError(
                "lists recordings, but its header has no column filename; name its columns "
                f"{', '.join(COLUMNS)}, as far as they exist",
                path=unread[0],
            )
        return root, rows
    if not tables and find_recordings(root):
        raise InputError(
            "has recordings, but no folder for each class; name the folder above, or give it a "
            "meta.csv",
            path=root,
        )
    table = (named or tables[:1] or [only_list(meta, lists, argument)])[0]
    return table, read_rows(table)


def _make_clip(table: pathlib.Path, row: Row) -> Clip:
    path = row.filename
    pure = pathlib.PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise InputError(f"{path} leaves the data set's folder; use a path below it", path=table)
    if not pure.name:
        raise InputError(f"line {row.line} names no file; name it, or delete the line", path=table)
    if fault := label_fault(row.scene_label):
        raise InputError(
            f"line {row.line}: scene_label {row.scene_label[:60]!a} {fault}, and files are "
            "named after labels; choose another label",
            path=table,
        )
    if match := _TUT_NAME.match(pure.stem):
        location = f"{match['city']}-{match['location']}"
        return Clip(path, row.scene_label, location, match["city"], match["device"])
    return Clip(path, row.scene_label, row.identifier or path, device=row.source_label)


def _refuse_duplicates(clips: Sequence[Clip], table: pathlib.Path) -> None:
    seen: set[pathlib.PurePosixPath] = set()  # a/b.wav and ./a//b.wav are one file
    for clip in clips:
        path = pathlib.PurePosixPath(clip.path)
        if path in seen:
            raise InputError(f"{clip.path} is listed twice; delete one of its rows", path=table)
        seen.add(path)
