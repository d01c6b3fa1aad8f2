"""The folds that a data set publishes: by lists in `evaluation_setup`, or by a column."""

import dataclasses
import difflib
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from asc_jax.data.table import Row, read_rows
from asc_jax.runtime.errors import InputError

_LIST_FILE = re.compile(r"^(fold(?P<fold>\d+)_)?(?P<part>train|evaluate|test)\.(txt|csv)$")


@dataclasses.dataclass(frozen=True)
class PublishedFold:
    """A split that the data set itself publishes: indices into `Dataset.clips`."""

    train: tuple[int, ...]
    evaluate: tuple[int, ...]


# The lists of `evaluation_setup`, by the fold's number, 0 for none, and the part.
Lists = Mapping[tuple[int, str], pathlib.Path]


def find_lists(setup: pathlib.Path) -> Lists:
    """Finds the lists of a folder, which may be missing; in the order of their names.

    Raises:
      InputError: the folder cannot be read, or two files may be one list.
    """
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


def only_list(meta: pathlib.Path, lists: Lists, argument: str) -> pathlib.Path:
    """Finds the list that stands in place of `meta.csv` in a set without labels.

    Args:
      meta: where the table would be.
      lists: from `find_lists`.
      argument: the field or flag that names the folder, for messages.

    Raises:
      InputError: there is none, or more than one.
    """
    held_out = [path for (_, part), path in lists.items() if part != "train"]
    if not held_out or len(held_out) < len(lists):
        raise InputError(
            f"not found; {argument} must be a folder with a folder of recordings for each class, "
            "or with meta.csv and audio/ (for a set without labels one list is enough, such as "
            f"{meta.parent / 'evaluation_setup' / 'test.txt'})",
            path=meta,
        )
    if len(held_out) > 1:
        raise InputError(
            f"this or {held_out[1]} may be the list of this set, which has no meta.csv; delete "
            "one of them",
            path=held_out[0],
        )
    return held_out[0]


def refuse_other_lists(meta: pathlib.Path, lists: Lists, labels: Mapping[str, str]) -> None:
    """Refuses lists that say something else of a set without labels than its `meta.csv`.

    Args:
      meta: the table.
      lists: from `find_lists`.
      labels: the label of each clip by its path, in the order of the table.
    """
    for (_, part), path in lists.items():
        members = _read_list(path, labels)
        if part != "train" and len(members) < len(labels):
            raise InputError(
                f"lists {len(members)} clips, and {meta} {len(labels)}: either may be the list of "
                "this set without labels; make them agree, or delete one of them",
                path=path,
            )


def folds_of_columns(
    table: pathlib.Path, rows: Sequence[Row], lists: Lists
) -> dict[int, PublishedFold]:
    """Reads the folds of a column `fold`, or the one fold of a column `split`.

    A fold of the former holds out its own clips; the latter trains on "train", and holds out "test"
    or "evaluate".

    Args:
      table: the rows' file.
      rows: of all clips.
      lists: from `find_lists`, for none to stand beside a column.

    Returns:
      Number -> fold; none where there is no such column.

    Raises:
      InputError: a cell is neither, or a fold has an empty side.
    """
    given = [name for name in ("fold", "split") if any(getattr(row, name) for row in rows)]
    if not given:
        return {}
    if lists or len(given) > 1:
        other = "evaluation_setup has lists" if lists else "a column split"
        raise InputError(f"has a column {given[0]}, and {other}; delete either", path=table)
    fits, expected = {
        "fold": (re.compile(r"0*[1-9]\d{0,3}").fullmatch, "a number from 1 to 9999"),
        "split": (lambda cell: cell in ("train", "test", "evaluate"), "train, test or evaluate"),
    }[given[0]]
    cells = [getattr(row, given[0]).casefold() for row in rows]
    for row, cell in zip(rows, cells, strict=True):
        if not fits(cell):
            raise InputError(
                f"line {row.line}: {given[0]} {cell!r:.60} is not {expected}; give each clip one",
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
            raise InputError(f"fold {number} {side} no clip; correct {given[0]}", path=table)
    return {
        number: PublishedFold(
            tuple(np.flatnonzero(~held_out).tolist()), tuple(np.flatnonzero(held_out).tolist())
        )
        for number, held_out in sides.items()
    }


def read_published_folds(
    setup: pathlib.Path, lists: Lists, labels: Mapping[str, str]
) -> dict[int, PublishedFold]:
    """Reads the folds of the lists.

    Args:
      setup: their folder.
      lists: from `find_lists`.
      labels: the label of each clip by its path, in the order of the table.

    Returns:
      Number -> fold.

    Raises:
      InputError: a list is missing, or contradicts another or the table.
    """
    folds = {}
    for number in sorted({number for number, _ in lists} - {0}):
        train, evaluate, test = (lists.get((number, p)) for p in ("train", "evaluate", "test"))
        if not train or not (evaluate or test):
            lacking = "evaluate" if train else "train"
            raise InputError(
                f"fold {number} has no {lacking} list; add fold{number}_{lacking}.txt", path=setup
            )
        # `test` is `evaluate` without the labels; either names the held-out clips.
        held_out = _read_list(evaluate or test, labels)
        if evaluate and test and set(held_out) != set(_read_list(test, labels)):
            raise InputError(f"lists other clips than {test}; make them agree", path=evaluate)
        folds[number] = PublishedFold(_read_list(train, labels), held_out)
    return folds


def _read_list(path: pathlib.Path, labels: Mapping[str, str]) -> tuple[int, ...]:
    """The clips of a list, by their places in `labels`."""
    index = {clip: i for i, clip in enumerate(labels)}
    members = []
    for row in read_rows(path):
        if row.filename not in index:
            near = difflib.get_close_matches(row.filename, index, n=1)
            hint = f" (meta.csv has {near[0]})" if near else ""
            raise InputError(
                f"{row.filename} is not in meta.csv{hint}; make the lists agree, or restore "
                f"meta.csv if it has been cut short (it lists {len(labels)} clips)",
                path=path,
            )
        label = labels[row.filename]
        if row.scene_label not in (label, ""):
            raise InputError(
                f"{row.filename} is {row.scene_label!r:.60} here and {label!r:.60} in meta.csv; "
                "make the lists agree",
                path=path,
            )
        members.append(index[row.filename])
    if not members:
        raise InputError("lists no clip; fill it, or delete this fold's lists", path=path)
    if len(set(members)) != len(members):
        raise InputError("lists a clip twice; delete one of its rows", path=path)
    return tuple(members)
