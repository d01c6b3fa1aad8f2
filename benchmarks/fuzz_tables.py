"""Tables of data sets: written as `asc_jax.data` documents them, then damaged."""

import pathlib
import re
import tempfile
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from asc_jax.data.clips import read_tables
from benchmarks.fuzz import refusal, strike

COLUMNS = ("filename", "scene_label", "identifier", "source_label")


class Row(NamedTuple):
    """A clip as the writer means it, and what a reader should make of its name."""

    filename: str
    scene_label: str
    identifier: str
    source_label: str
    location: str
    city: str
    device: str


class Table(NamedTuple):
    """A data set's tables: the truth, and how it is written."""

    rows: tuple[Row, ...]
    columns: tuple[str, ...]  # in the order of the file
    header: tuple[str, ...]  # as they are written; () for none
    newline: str
    bom: bool
    blank_lines: bool
    quote_all: bool
    last_newline: bool
    folds: tuple[tuple[int, ...], ...]  # the rows that each published fold holds out
    list_ending: str
    list_only: bool  # a set without labels, as a list and no meta.csv


# Letters of several scripts, marks that other formats give a meaning to, and spaces within.
_CELL = st.text(
    st.one_of(
        st.sampled_from("abcXYZ019 ,;\"'|-_()&%#$+=~é\u00fc\u4e2d\u0416\U0001f3b5\u2028\u00a0"),
        st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cf"], exclude_characters="/\\."),
    ),
    min_size=1,
    max_size=12,
).filter(lambda text: text == text.strip())
_LABELS = st.lists(
    st.one_of(st.sampled_from(["bus", "tram", "street_traffic", "métro", "a,b", 'x"y']), _CELL),
    min_size=1,
    max_size=4,
    unique_by=lambda label: _look(label),
)


def _look(name: str) -> str:
    """What of a name a reader sees, roughly: finer than what the package refuses."""
    return "".join(unicodedata.normalize("NFKD", name).casefold().split()).lstrip("0")


@st.composite
def _rows(draw) -> tuple[Row, ...]:
    labels = draw(_LABELS)
    identifiers = draw(st.lists(_CELL, min_size=1, max_size=4, unique_by=_look))
    rows = []
    for number in range(draw(st.integers(1, 8))):
        label, identifier = draw(st.sampled_from(labels)), draw(st.sampled_from(identifiers))
        device = draw(st.sampled_from(["a", "b", "s1"]))
        folder = draw(st.sampled_from(["audio/", "audio/x y/", "./audio/", ""]))
        if draw(st.booleans()):
            city = draw(st.sampled_from(["london", "paris", "vienna"]))
            place, part = draw(st.integers(0, 9)), draw(st.sampled_from(["", "-0", "-12"]))
            name = f"street_traffic-{city}-{place}-{number}{part}-{device}.wav"
            rows.append(
                Row(folder + name, label, identifier, device, f"{city}-{place}", city, device)
            )
        else:
            name = f"{folder}{draw(_CELL)}{number}X.wav"
            rows.append(Row(name, label, identifier, device, identifier, "", device))
    return tuple(rows)


@st.composite
def tables(draw) -> Table:
    """A set of clips and a way to write it."""
    rows = draw(_rows())
    list_only = draw(st.integers(0, 4)) == 0
    n_columns = 1 if list_only else draw(st.integers(1, 4))
    columns = COLUMNS[:n_columns]
    header: tuple[str, ...] = ()
    if draw(st.booleans()):
        columns = tuple(draw(st.permutations(columns)))
        header = tuple(draw(st.sampled_from([c, c.title(), c.upper(), f" {c} "])) for c in columns)
    known = set(columns)
    rows = tuple(
        row._replace(
            scene_label=row.scene_label if "scene_label" in known else "",
            location=row.location if row.city or "identifier" in known else row.filename,
            device=row.device if row.city or "source_label" in known else "",
        )
        for row in rows
    )
    folds = ()
    if "scene_label" in known and len(rows) > 1 and draw(st.booleans()):
        n_folds = draw(st.integers(1, 3))
        folds = tuple(
            tuple(sorted(draw(st.sets(st.integers(0, len(rows) - 1), min_size=1,
                                      max_size=len(rows) - 1))))
            for _ in range(n_folds)
        )  # fmt: skip
    return Table(
        rows, columns, header,
        draw(st.sampled_from(["\n", "\r\n", "\r"])),
        *(draw(st.booleans()) for _ in range(4)),
        folds, draw(st.sampled_from(["txt", "csv"])), list_only,
    )  # fmt: skip


def write(table: Table, root: pathlib.Path) -> pathlib.Path:
    """Writes the tables; returns the main one."""
    (root / "audio").mkdir()
    setup = root / "evaluation_setup"
    setup.mkdir()
    cells = [[getattr(row, column) for column in table.columns] for row in table.rows]
    main = setup / f"test.{table.list_ending}" if table.list_only else root / "meta.csv"
    main.write_bytes(_encoded(table, table.header, cells))
    for number, held_out in enumerate(table.folds, start=1):
        for part, inside in (("train", False), ("evaluate", True)):
            chosen = [
                [row.filename, row.scene_label]
                for i, row in enumerate(table.rows)
                if (i in held_out) == inside
            ]
            path = setup / f"fold{number}_{part}.{table.list_ending}"
            path.write_bytes(_encoded(table, table.header and COLUMNS[:2], chosen))
    return main


def _encoded(table: Table, header: Sequence[str], cells: Sequence[Sequence[str]]) -> bytes:
    lines = [*([list(header)] if header else []), *cells]
    text = table.newline.join(
        "\t".join(_quoted(cell, table.quote_all) for cell in line) for line in lines
    )
    if table.blank_lines:
        text = f"{table.newline}  {table.newline}{text}{table.newline}{table.newline}"
    text += table.newline if table.last_newline else ""
    return (b"\xef\xbb\xbf" if table.bom else b"") + text.encode()


def _quoted(cell: str, always: bool) -> str:
    """A cell as spreadsheets write it; a quote within one that does not begin with it may stand."""
    return '"' + cell.replace('"', '""') + '"' if always or cell.startswith('"') else cell


def _as_read(root: pathlib.Path) -> tuple:
    """What the package reads, in plain types."""
    data = read_tables(root)
    clips = [(c.path, c.scene_label, c.location, c.city, c.device) for c in data.clips]
    folds = [(n, fold.train, fold.evaluate) for n, fold in sorted(data.published_folds.items())]
    assert data.scene_labels == tuple(sorted({clip[1] for clip in clips} - {""}))
    return clips, folds


def _truth(table: Table) -> tuple:
    rows = table.rows
    clips = [(r.filename, r.scene_label, r.location, r.city, r.device) for r in rows]
    folds = [
        (number, tuple(i for i in range(len(rows)) if i not in held_out), held_out)
        for number, held_out in enumerate(table.folds, start=1)
    ]
    return clips, folds


def check_tables(table: Table) -> str:
    """Tables that are as the documentation says are read as they were meant."""
    with tempfile.TemporaryDirectory() as folder:
        write(table, pathlib.Path(folder))
        found, said = refusal(_as_read, pathlib.Path(folder), names=folder)
    assert not said, said
    assert found == _truth(table), (found, _truth(table))
    return "read"


TABLES = tables()


class Damaged(NamedTuple):
    """Tables, and what is done to the main one."""

    table: Table
    kind: str
    places: tuple[float, ...]  # in the file or its lines, as shares
    octets: bytes


DAMAGED = st.builds(
    Damaged,
    tables(),
    st.sampled_from(
        ["cell deleted", "cells exchanged", "header exchanged", "row twice", "row deleted",
         "byte", "NUL", "cut", "inserted", "other bytes"]
    ),
    st.tuples(*[st.floats(0, 1, exclude_max=True)] * 3),
    st.binary(min_size=1, max_size=20),
)  # fmt: skip


def damage(content: bytes, damaged: Damaged) -> bytes:
    """The content of a table after one blow."""
    kind, (first, second, third), octets = damaged.kind, damaged.places, damaged.octets
    place = int(first * len(content))
    newline = damaged.table.newline.encode()
    lines = content.split(newline)
    line, other = int(first * len(lines)), int(second * len(lines))
    cells = lines[line].split(b"\t")
    match kind:
        case "cell deleted":
            del cells[int(second * len(cells))]
            lines[line] = b"\t".join(cells)
        case "cells exchanged" | "header exchanged":
            line = 0 if kind == "header exchanged" else line
            cells = lines[line].split(b"\t")
            a, b = int(second * len(cells)), int(third * len(cells))
            cells[a], cells[b] = cells[b], cells[a]
            lines[line] = b"\t".join(cells)
        case "row twice":
            lines.insert(other, lines[line])
        case "row deleted":
            del lines[line]
        case "NUL":
            return strike(content, "inserted", place, b"\0")
        case "other bytes":
            return octets
        case _:
            return strike(content, kind, place, octets)
    return newline.join(lines)


def check_damaged(damaged: Damaged) -> str:
    """Damaged tables are refused, or read as another reader reads what stands there now."""
    with tempfile.TemporaryDirectory() as folder:
        main = write(damaged.table, pathlib.Path(folder))
        content = damage(main.read_bytes(), damaged)
        main.write_bytes(content)
        found, said = refusal(_as_read, pathlib.Path(folder), names=folder)
    if said:
        return "refused"
    clips, folds = found
    assert clips == _read_otherwise(content), (content, clips)
    paths = [clip[0] for clip in clips]
    meant = [row.filename for row in damaged.table.rows]
    for number, train, held_out in folds:  # their lists are as they were written
        inside = damaged.table.folds[number - 1]
        assert {paths[i] for i in held_out} == {meant[i] for i in inside}
        assert {paths[i] for i in train} == set(meant) - {meant[i] for i in inside}
    return "read"


_TUT = re.compile(r"[a-z_]+-([a-z]+)-([0-9]+)-[0-9]+(?:-[0-9]+)?-([a-z0-9]+)")


def _read_otherwise(content: bytes) -> list[tuple]:
    """The clips of a table that the package has read; every row is as long as the longest."""
    text = content.decode("utf-8-sig")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    cell_of = re.compile(r'(?:^|\t)("(?:[^"]|"")*"(?=\t|$)|[^\t]*)')
    table = [[_unquoted(c) for c in cell_of.findall(line)] for line in lines if line.strip()]
    names = [cell.lower() for cell in table[0]]
    if "filename" in names:
        while not names[-1]:
            names.pop()
        table = table[1:]
    else:
        names = list(COLUMNS)[: max(map(len, table))]
    width = max(max(i for i, cell in enumerate(cells) if cell) for cells in table) + 1
    clips = []
    for cells in table:
        assert len(cells) >= width and not any(cells[len(names) :]), "a row of other columns"
        row = dict(zip(names, cells, strict=False))
        path, label = row["filename"], row.get("scene_label", "")
        stem = re.sub(r"(?<=[^/])\.[^./]*$", "", path.rstrip("/")).rpartition("/")[2]
        if match := _TUT.fullmatch(stem):
            city, place, device = match.groups()
            clips.append((path, label, f"{city}-{place}", city, device))
        else:
            place = row.get("identifier") or path
            clips.append((path, label, place, "", row.get("source_label", "")))
    return clips


def _unquoted(cell: str) -> str:
    if cell.startswith('"'):
        cell = cell[1:-1].replace('""', '"')
    return cell.strip()
