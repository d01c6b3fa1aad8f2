"""Tables of a data set: text whose columns are found by their names.

Tabs separate the columns, or commas or semicolons where a header says so.
"""

import csv
import dataclasses
import pathlib
import re
from collections.abc import Collection

from asc_jax.runtime.errors import InputError

COLUMNS = ("filename", "scene_label", "identifier", "source_label", "fold", "split")


@dataclasses.dataclass(frozen=True)
class Row:
    """What a table says of one clip; "" for a column that it leaves out.

    Attributes:
      line: where the row stands in its file, from 1.
      filename, scene_label, identifier, source_label, fold, split: its cells.
    """

    line: int
    filename: str
    scene_label: str = ""
    identifier: str = ""
    source_label: str = ""
    fold: str = ""
    split: str = ""


def names_files(path: pathlib.Path) -> bool:
    """Says whether a table, in whatever encoding, begins with a header with a column `filename`.

    Raises:
      InputError: the file cannot be read.
    """
    if not path.is_file():
        return False
    text = _read(path).replace(b"\0", b"").decode("utf-8-sig", "replace").replace("\ufffd", "")
    first = next(filter(str.strip, text.splitlines()), "")
    return any("filename" in _cells_of_header(first, delimiter) for delimiter in _DELIMITERS)


def lists_any(path: pathlib.Path, names: Collection[str]) -> bool:
    """Says whether a table has a cell, in its first lines, that is or ends in one of some names.

    Raises:
      InputError: the file cannot be read.
    """
    if not path.is_file():
        return False
    lines = _read(path).decode("utf-8-sig", "replace").splitlines()[:20]
    cells = {cell.strip(" \"'") for line in lines for cell in re.split("[,;\t]", line)}
    return any(cell.replace("\\", "/").rpartition("/")[2] in names for cell in cells if cell)


def read_rows(path: pathlib.Path) -> list[Row]:
    """Reads a table of a data set.

    Args:
      path: `meta.csv` or a list of `evaluation_setup`. Its first row may name the columns, in
        any order; without a header they are those of `COLUMNS`.

    Returns:
      The rows with anything in them, without the header.

    Raises:
      InputError: the file cannot be read, is no table of text and tabs, or has other columns,
        or fewer in one row than in another.
    """
    rows: list[Row] = []
    names = None
    widths: list[int] = []  # of the rows, with empty cells at their ends
    width = 0  # of the widest, without them
    # Only these end a line: `str.splitlines` also cuts at characters that names may hold.
    lines = re.split(r"\r\n|\n|\r", _read_text(path))
    delimiter = _delimiter(next(filter(str.strip, lines), ""))
    for line, text in enumerate(lines, start=1):
        if delimiter != "\t" and "\t" in text:
            raise InputError(
                f"line {line} has tabs, but the header {_DELIMITERS[delimiter]}; save it with tabs",
                path=path,
            )
        cells = _split(path, line, text, delimiter)
        n_cells = len(cells)
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            continue
        if names is None:
            names = _header(path, cells)
            if names:
                continue
            names = COLUMNS
        if len(cells) > len(names):
            raise InputError(
                f"line {line} has {len(cells)} columns, more than {', '.join(names)}; delete the "
                "others",
                path=path,
            )
        row = Row(line, **{"filename": "", **dict(zip(names, cells, strict=False))})
        if not row.filename:
            raise InputError(f"line {line} names no file; name it, or delete the line", path=path)
        rows.append(row)
        widths.append(n_cells)
        width = max(width, len(cells))
    for row, n_cells in zip(rows, widths, strict=True):
        if n_cells < width:  # which of them is missing cannot be told
            raise InputError(
                f"line {row.line} has {n_cells} columns where others have {width}; add the "
                f"missing cells ({_DELIMITERS[delimiter]} separate the columns, empty ones too)",
                path=path,
            )
    return rows


def _read_text(path: pathlib.Path) -> str:
    content = _read(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("is UTF-16 text; save it as UTF-8", path=path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text; save it as UTF-8 text with tabs", path=path) from None
    if "\0" in text:
        raise InputError("has NUL characters; save it as UTF-8 text with tabs", path=path)
    return text


def _read(path: pathlib.Path) -> bytes:
    if path.is_fifo():  # which may never end
        raise InputError("is a pipe, not a file; move it away", path=path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{error.strerror}; make it readable", path=path) from None


# What may separate columns.
_DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons"}


def _delimiter(first: str) -> str:
    """What separates the columns, by the first line: a header names `filename` among others."""
    for delimiter in _DELIMITERS:
        cells = _cells_of_header(first, delimiter)
        if "filename" in cells and not set(cells) - set(COLUMNS):
            return delimiter
    return "\t"


def _cells_of_header(first: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"').casefold() for cell in first.split(delimiter)]


def _split(path: pathlib.Path, line: int, text: str, delimiter: str) -> list[str]:
    """The cells of a line."""
    try:
        # Line by line, so that a stray quote cannot swallow the rows up to the next one.
        (cells,) = csv.reader([text], delimiter=delimiter, strict=True) if text else ([],)
    except csv.Error as error:
        raise InputError(
            f"line {line} is not a row of a table ({error}): {text[:60]!r}; correct it (a "
            "cell that begins with a quote must end with one)",
            path=path,
        ) from None
    return [cell.strip() for cell in cells]


def _header(path: pathlib.Path, cells: list[str]) -> tuple[str, ...]:
    """The columns that a first row names, or none if it is a clip's."""
    names = tuple(cell.casefold() for cell in cells)
    # A clip's row has a file name, with an ending or a folder.
    if set(names).isdisjoint(COLUMNS) and any(mark in cell for cell in cells for mark in "./"):
        return ()
    if len(names) == 1 and set(re.split(r"[,;|\s]+", names[0])) & set(COLUMNS) - set(names):
        raise InputError(
            "its columns are not separated by tabs, commas or semicolons, or are not all "
            f"among {', '.join(COLUMNS)}; save it with tabs and only these columns",
            path=path,
        )
    for name in names:
        if name not in COLUMNS:
            raise InputError(
                f"its first row names a column {name!r:.60}, which is not one of "
                f"{', '.join(COLUMNS)}; rename it, or delete it",
                path=path,
            )
        if names.count(name) > 1:
            raise InputError(f"its header names {name} twice; delete one of the columns", path=path)
    if "filename" not in names:
        raise InputError("its header has no column filename; add it", path=path)
    return names
