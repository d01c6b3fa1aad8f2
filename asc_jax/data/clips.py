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
import difflib
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from asc_jax.data.class_folders import class_folders
from asc_jax.data.names import label_fault, look_alike
from asc_jax.data.on_disk import file_problems
from asc_jax.data.published_tables import find_published_table
from asc_jax.data.table import Row, names_files, read_rows
from asc_jax.runtime.errors import InputError

UNLABELLED = ""

# scene-city-location-segment-device.wav, with the part of the segment before the device in TAU
# 2022. Names of other forms fall back to the identifier.
_TUT_NAME = re.compile(
    r"^(?P<scene>[a-z_]+)-(?P<city>[a-z]+)-(?P<location>\d+)-(?P<segment>\d+)(-(?P<part>\d+))?"
    r"-(?P<device>[a-z0-9]+)$"
)
_LIST_FILE = re.compile(r"^(fold(?P<fold>\d+)_)?(?P<part>train|evaluate|test)\.(txt|csv)$")


@dataclasses.dataclass(frozen=True)
class Clip:
    """One audio file and what the data set says of it.

    Attributes:
      path: the file, relative to the data set's root, as the data set writes it.
      scene_label: the class name; `UNLABELLED` ("") where the set gives none.
      location: what must never be on two sides of a split: `city-location` in TUT names,
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
        """The file name without folder and ending: the `Id` of a leaderboard submission."""
        return pathlib.PurePosixPath(self.path).stem


@dataclasses.dataclass(frozen=True)
class PublishedFold:
    """A split that the data set itself publishes: indices into `Dataset.clips`."""

    train: tuple[int, ...]
    evaluate: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set as its tables describe it.

    Attributes:
      root: the folder that `Clip.path` is relative to.
      clips: every listed clip, in the order of the table.
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
        """What follows where each file is a location of its own; "" where some are not."""
        if any(clip.location != clip.path for clip in self.clips):
            return ""
        return (
            "Without identifiers each file counts as a location: scores flatter if several files "
            "are of one recording (then give meta.csv a column identifier)."
        )

    def audio_path(self, clip: Clip) -> pathlib.Path:
        return self.root / clip.path


def read_dataset(root: str | pathlib.Path, *, argument: str = "data.root") -> Dataset:
    """Reads the tables of a data set whose audio files are all there.

    Args:
      root: see `read_tables`.
      argument: see `read_tables`.

    Returns:
      The `Dataset`. Audio files are checked for existence, not opened.

    Raises:
      InputError: as `read_tables`, a listed file is not there, or two rows name one file.
    """
    dataset = read_tables(root, argument=argument)
    if problems := file_problems(dataset.root, [clip.path for clip in dataset.clips]):
        said = "\n".join(problems)
        raise InputError(f"{said} (asc-jax data check {dataset.root} lists all that is wrong)")
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
        raise InputError(
            f"no such folder; {argument} must be the folder that holds meta.csv and audio/",
            path=root,
        )
    setup = root / "evaluation_setup"
    lists = _find_lists(setup)
    table, rows = _find_table(root, lists, argument)
    has_meta = table.parent != setup
    clips = tuple(_make_clip(table, row) for row in rows)
    if not clips:
        raise InputError("lists no clip; it needs a row per clip", path=table)
    _refuse_duplicates(clips, table)
    labels = tuple(sorted({clip.scene_label for clip in clips} - {UNLABELLED}))
    if labels and any(clip.scene_label == UNLABELLED for clip in clips):
        first = next(clip for clip in clips if clip.scene_label == UNLABELLED)
        raise InputError(
            f"{first.path} has no scene_label; give every clip one, or none (the columns are "
            "separated by tabs)",
            path=table,
        )
    identifiers = sorted({clip.location for clip in clips if clip.location != clip.path})
    for column, names in (("scene_label", labels), ("identifier", identifiers)):
        if pair := look_alike(names):
            raise InputError(
                f"{column} {pair[0]!a} and {pair[1]!a} differ only in case, spaces, leading zeros "
                "or characters that look alike; write them the same, or make the difference plain",
                path=table,
            )
    folds = _folds_of_columns(table, rows, lists)
    if has_meta and labels and not folds:
        folds = _read_published_folds(setup, lists, clips)
    elif has_meta and not labels:
        _refuse_other_lists(table, lists, clips)
    return Dataset(root, clips, labels, folds)


def _find_table(
    root: pathlib.Path, lists: "_Lists", argument: str
) -> tuple[pathlib.Path, list[Row]]:
    """What says which clips there are, and its rows; the folder itself where classes have one."""
    meta = root / "meta.csv"
    if os.path.isfile(meta):
        return meta, read_rows(meta)
    if lists:
        table = _only_list(meta, lists, argument)
        return table, read_rows(table)
    if found := find_published_table(root):
        return found
    tables = [path for path in sorted(root.iterdir()) if path.suffix.lower() in (".csv", ".tsv")]
    named = [path for path in tables if names_files(path)]
    if len(named) > 1:
        raise InputError(
            f"this or {named[1].name} may be the table of this set; name one meta.csv",
            path=named[0],
        )
    if not named and (rows := class_folders(root)):
        return root, rows
    table = (named or tables[:1] or [_only_list(meta, lists, argument)])[0]
    return table, read_rows(table)


def _folds_of_columns(
    table: pathlib.Path, rows: Sequence[Row], lists: "_Lists"
) -> dict[int, PublishedFold]:
    """The folds of a column `fold`, each of which holds out its own clips, or of a column `split`.

    The latter are one fold: it trains on "train", and holds out "test" or "evaluate".
    """
    given = [name for name in ("fold", "split") if any(getattr(row, name) for row in rows)]
    if not given:
        return {}
    if lists or len(given) > 1:
        other = "evaluation_setup has lists" if lists else "a column split"
        raise InputError(f"has a column {given[0]}, and {other}; delete either", path=table)
    fits, expected = {
        "fold": (lambda cell: cell.isdecimal() and int(cell) > 0, "a number from 1 on"),
        "split": (lambda cell: cell in ("train", "test", "evaluate"), "train, test or evaluate"),
    }[given[0]]
    cells = [getattr(row, given[0]).casefold() for row in rows]
    for row, cell in zip(rows, cells, strict=True):
        if not fits(cell):
            raise InputError(
                f"line {row.line}: {given[0]} {cell!r} is not {expected}; give each clip one",
                path=table,
            )
    if given == ["split"]:
        sides = {1: np.array([cell != "train" for cell in cells])}
    else:
        folds = np.array(list(map(int, cells)))
        sides = {int(number): folds == number for number in np.unique(folds)}
    for number, held_out in sides.items():
        if held_out.all() or not held_out.any():
            side = "trains on" if held_out.all() else "holds out"
            raise InputError(f"fold {number} {side} no clip; mend {given[0]}", path=table)
    return {
        number: PublishedFold(
            tuple(np.flatnonzero(~held_out).tolist()), tuple(np.flatnonzero(held_out).tolist())
        )
        for number, held_out in sides.items()
    }


# The lists of `evaluation_setup`, by the fold's number, 0 for none, and the part.
_Lists = Mapping[tuple[int, str], pathlib.Path]


def _find_lists(setup: pathlib.Path) -> _Lists:
    """The lists of a folder, which may be missing; in the order of their names."""
    try:
        names = sorted(os.listdir(setup))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InputError(f"{error.strerror}; make it readable", path=setup) from None
    lists: dict[tuple[int, str], pathlib.Path] = {}
    for name in names:
        if match := _LIST_FILE.match(name):
            path, number = setup / name, int(match["fold"] or 0)
            if match["fold"] and not number:
                raise InputError("folds are counted from 1; rename it", path=path)
            other = lists.setdefault((number, match["part"]), path)
            if other != path:
                raise InputError(f"is the same list as {other}; delete one of them", path=path)
    return lists


def _only_list(meta: pathlib.Path, lists: _Lists, argument: str) -> pathlib.Path:
    """The list that stands in place of `meta.csv` in a set without labels."""
    held_out = [path for (_, part), path in lists.items() if part != "train"]
    if not held_out or len(held_out) < len(lists):
        raise InputError(
            f"not found; {argument} must be the folder that holds meta.csv (or, for a set "
            f"without labels, one list such as {meta.parent / 'evaluation_setup' / 'test.txt'}) "
            "and audio/",
            path=meta,
        )
    if len(held_out) > 1:
        raise InputError(
            f"this or {held_out[1]} may be the list of this set, which has no meta.csv; delete "
            "one of them",
            path=held_out[0],
        )
    return held_out[0]


def _refuse_other_lists(meta: pathlib.Path, lists: _Lists, clips: Sequence[Clip]) -> None:
    """Refuses lists that say something else of a set without labels than its `meta.csv`."""
    for (_, part), path in lists.items():
        members = _read_list(path, clips)
        if part != "train" and len(members) < len(clips):
            raise InputError(
                f"lists {len(members)} clips, and {meta} {len(clips)}: either may be the list of "
                "this set without labels; make them agree, or delete one of them",
                path=path,
            )


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
            "named after labels; write another",
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


def _read_published_folds(
    setup: pathlib.Path, lists: _Lists, clips: Sequence[Clip]
) -> dict[int, PublishedFold]:
    folds = {}
    for number in sorted({number for number, _ in lists} - {0}):
        train, evaluate, test = (lists.get((number, p)) for p in ("train", "evaluate", "test"))
        if not train or not (evaluate or test):
            lacking = "evaluate" if train else "train"
            raise InputError(
                f"fold {number} has no {lacking} list; add fold{number}_{lacking}.txt", path=setup
            )
        # `test` is `evaluate` without the labels; either names the held-out clips.
        held_out = _read_list(evaluate or test, clips)
        if evaluate and test and set(held_out) != set(_read_list(test, clips)):
            raise InputError(f"lists other clips than {test}; make them agree", path=evaluate)
        folds[number] = PublishedFold(_read_list(train, clips), held_out)
    return folds


def _read_list(path: pathlib.Path, clips: Sequence[Clip]) -> tuple[int, ...]:
    """The clips of a list, by their places in `clips`."""
    index = {clip.path: i for i, clip in enumerate(clips)}
    members = []
    for row in read_rows(path):
        if row.filename not in index:
            near = difflib.get_close_matches(row.filename, index, n=1)
            hint = f" (meta.csv has {near[0]})" if near else ""
            raise InputError(
                f"{row.filename} is not in meta.csv{hint}; make the lists agree, or restore "
                f"meta.csv if it has been cut short (it lists {len(clips)} clips)",
                path=path,
            )
        label = clips[index[row.filename]].scene_label
        if row.scene_label not in (label, UNLABELLED):
            raise InputError(
                f"{row.filename} is {row.scene_label!r} here and {label!r} in meta.csv; make the "
                "lists agree",
                path=path,
            )
        members.append(index[row.filename])
    if not members:
        raise InputError("lists no clip; fill it, or delete this fold's lists", path=path)
    if len(set(members)) != len(members):
        raise InputError("lists a clip twice; delete one of its rows", path=path)
    return tuple(members)
