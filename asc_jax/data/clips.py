"""Clips, their labels and locations, and the folder layout of TUT Urban Acoustic Scenes.

The layout, as the DCASE 2018 Task 1A archives and the later TAU sets have it:

    ROOT/meta.csv                              filename, scene_label, identifier, source_label
    ROOT/audio/*.wav                           what `filename` points to
    ROOT/evaluation_setup/fold1_train.txt      path TAB scene_label
    ROOT/evaluation_setup/fold1_evaluate.txt   path TAB scene_label
    ROOT/evaluation_setup/test.txt             path alone: a set without labels

Nothing here opens an audio file or imports JAX.
"""

import csv
import dataclasses
import difflib
import pathlib
import re
from collections.abc import Mapping, Sequence

from asc_jax.errors import InputError

UNLABELLED = ""

# scene-city-location-segment-device.wav. Names of other forms fall back to the identifier.
_TUT_NAME = re.compile(
    r"^(?P<scene>[a-z_]+)-(?P<city>[a-z]+)-(?P<location>\d+)-(?P<segment>\d+)-(?P<device>[a-z0-9]+)$"
)
_FOLD_FILE = re.compile(r"^fold(?P<fold>\d+)_(?P<part>train|evaluate|test)\.(txt|csv)$")


@dataclasses.dataclass(frozen=True)
class Clip:
    """One audio file and what the data set says of it.

    Attributes:
      path: the file, relative to the data set's root, as the data set writes it.
      scene_label: the class name; `UNLABELLED` ("") where the set gives none.
      location: what must never be on two sides of a split: `city-location` in TUT names,
        else the `identifier` column, else the file's own path.
      city: the city of a TUT name, else "".
      device: the recording device of a TUT name, else "".
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
      InputError: as `read_tables`, or a listed file is not there.
    """
    dataset = read_tables(root, argument=argument)
    refuse_missing(dataset)
    return dataset


def read_tables(root: str | pathlib.Path, *, argument: str = "data.root") -> Dataset:
    """Reads the tables of a data set in the TUT 2018 layout.

    Args:
      root: the folder that holds `meta.csv` and `audio/`, or, for a set without labels,
        `evaluation_setup/test.txt` and `audio/`.
      argument: the field or flag that names the folder, for messages.

    Returns:
      The `Dataset`. Its audio files may be missing.

    Raises:
      InputError: the folder or its tables are missing or contradict each other, or a clip is
        listed twice.

    Source: the data set's README; the paths in the tables are relative to the root.
    """
    root = pathlib.Path(root)
    if not root.is_dir():
        raise InputError(
            f"{root}: no such folder; {argument} must be the folder that holds meta.csv and audio/"
        )
    meta = root / "meta.csv"
    setup = root / "evaluation_setup"
    if meta.is_file():
        clips = _read_meta(meta)
    elif (lists := _test_lists(setup)) != []:
        meta = lists[0]
        clips = tuple(_make_clip(meta, row[0], UNLABELLED, "") for row in _rows(meta))
    else:
        raise InputError(
            f"{meta}: not found, nor {setup / 'test.txt'}; {argument} must be the folder that "
            "holds meta.csv (or, without labels, evaluation_setup/test.txt) and audio/"
        )
    if not clips:
        raise InputError(f"{meta}: lists no clip; it needs a row per clip")
    _refuse_duplicates(clips, meta)
    labels = tuple(sorted({clip.scene_label for clip in clips} - {UNLABELLED}))
    if labels and any(clip.scene_label == UNLABELLED for clip in clips):
        first = next(clip for clip in clips if clip.scene_label == UNLABELLED)
        raise InputError(f"{meta}: {first.path} has no scene_label; give every clip one, or none")
    return Dataset(root, clips, labels, _read_published_folds(setup, clips))


def _test_lists(setup: pathlib.Path) -> list[pathlib.Path]:
    return [path for name in ("test.txt", "test.csv") if (path := setup / name).is_file()]


def _rows(path: pathlib.Path) -> list[list[str]]:
    """The tab-separated rows of a table, without its header if it has one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        table = csv.reader(lines, delimiter="\t", strict=True)
        rows = [[cell.strip() for cell in row] for row in table]
    except csv.Error as error:
        raise InputError(f"{path}: no tab-separated table ({error}); correct it") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; make it readable") from None
    rows = [row for row in rows if any(row)]
    if rows and rows[0][0] == "filename":
        rows = rows[1:]
    return rows


def _read_meta(meta: pathlib.Path) -> tuple[Clip, ...]:
    clips = []
    for row in _rows(meta):
        if len(row) < 2:
            raise InputError(
                f"{meta}: the row {row[0]!r} has one column; it needs filename TAB scene_label "
                "[TAB identifier]"
            )
        clips.append(_make_clip(meta, row[0], row[1], row[2] if len(row) > 2 else ""))
    return tuple(clips)


def _make_clip(table: pathlib.Path, path: str, scene_label: str, identifier: str) -> Clip:
    pure = pathlib.PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise InputError(f"{table}: {path} leaves the data set's folder; use a path below it")
    if not pure.name:
        raise InputError(f"{table}: a row of {scene_label!r} names no file; name it or delete it")
    match = _TUT_NAME.match(pure.stem)
    if match:
        location = f"{match['city']}-{match['location']}"
        return Clip(path, scene_label, location, match["city"], match["device"])
    return Clip(path, scene_label, identifier or path)


def _refuse_duplicates(clips: Sequence[Clip], table: pathlib.Path) -> None:
    seen: set[pathlib.PurePosixPath] = set()  # a/b.wav and ./a//b.wav are one file
    for clip in clips:
        path = pathlib.PurePosixPath(clip.path)
        if path in seen:
            raise InputError(f"{table}: {clip.path} is listed twice; delete one of its rows")
        seen.add(path)


def refuse_missing(dataset: Dataset) -> None:
    """Refuses a data set whose audio files are not all there.

    Raises:
      InputError: with their number, and the first of them.
    """
    missing = [clip.path for clip in dataset.clips if not dataset.audio_path(clip).exists()]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"{dataset.root}: {len(missing)} of {len(dataset.clips)} listed files are not there "
            f"({shown}); unpack all audio archives into the same folder, or delete their rows"
        )


def _read_published_folds(setup: pathlib.Path, clips: Sequence[Clip]) -> dict[int, PublishedFold]:
    if not setup.is_dir():
        return {}
    index = {clip.path: i for i, clip in enumerate(clips)}
    parts: dict[int, dict[str, tuple[int, ...]]] = {}
    for path in sorted(setup.iterdir()):
        if match := _FOLD_FILE.match(path.name):
            fold = parts.setdefault(int(match["fold"]), {})
            fold[match["part"]] = _read_fold_part(path, clips, index)
    folds = {}
    for number, fold in sorted(parts.items()):
        # `test` is `evaluate` without the labels; either names the held-out clips.
        evaluate = fold.get("evaluate", fold.get("test"))
        if evaluate is None or "train" not in fold:
            raise InputError(
                f"{setup}: fold {number} has no {'train' if evaluate else 'evaluate'} list; "
                f"add fold{number}_{'train' if evaluate else 'evaluate'}.txt"
            )
        folds[number] = PublishedFold(fold["train"], evaluate)
    return folds


def _read_fold_part(
    path: pathlib.Path, clips: Sequence[Clip], index: Mapping[str, int]
) -> tuple[int, ...]:
    members = []
    for row in _rows(path):
        if row[0] not in index:
            near = difflib.get_close_matches(row[0], index, n=1)
            hint = f" (meta.csv has {near[0]})" if near else ""
            raise InputError(
                f"{path}: {row[0]} is not in meta.csv{hint}; make the lists agree, or restore "
                f"meta.csv if it has been cut short (it lists {len(clips)} clips)"
            )
        clip = clips[index[row[0]]]
        if len(row) > 1 and row[1] != clip.scene_label:
            raise InputError(
                f"{path}: {row[0]} is {row[1]!r} here and {clip.scene_label!r} in meta.csv; "
                "make the lists agree"
            )
        members.append(index[row[0]])
    if not members:
        raise InputError(f"{path}: lists no clip; fill it, or delete this fold's lists")
    if len(set(members)) != len(members):
        raise InputError(f"{path}: lists a clip twice; delete one of its rows")
    return tuple(members)
