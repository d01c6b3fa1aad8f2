"""Data sets of strangers: folders and tables of all forms, odd names, files of many formats."""

import csv
import functools
import io
import json
import os
import pathlib
import re
import tempfile
from typing import NamedTuple

import numpy as np
import soundfile
from hypothesis import strategies as st

from asc_jax.data.audio import LENGTH_TOLERANCE_S
from asc_jax.data.check import check_dataset
from asc_jax.data.clips import Clip, Dataset, read_tables
from asc_jax.data.crops import Crops
from asc_jax.data.folds import KINDS, make_splits
from asc_jax.data.importing import import_dataset
from asc_jax.data.published_folds import folds_of_columns
from asc_jax.data.table import Row
from asc_jax.inference.windows import in_windows
from asc_jax.report.dataset import render, write_page
from asc_jax.train.losses import balanced_weights
from benchmarks.fuzz import refusal, strike

_FORMATS = ("wav", "flac", "ogg", "mp3", "aiff", "w64", "caf", "au")


class File(NamedTuple):
    """A file of a set, and what its writer says of it."""

    name: str
    scene_label: str
    identifier: str
    fold: str
    number: int  # of its sound
    spoilt: str  # "": whole


class Made(NamedTuple):
    """A set, and how it is written."""

    form: str
    files: tuple[File, ...]
    delimiter: str
    column: str  # "fold", "split" or ""
    besides: tuple[tuple[str, str], ...]  # kind and path of what else lies there
    pattern: str  # of --identifier; "" for none
    link: bool


# Any bytes but those that no name has; as Python shows them.
_BYTES = st.binary(min_size=1, max_size=12).map(os.fsdecode)
_ODD = st.sampled_from(
    ["-", "--help", "~", "a b", " a", "a ", "a,b", "a;b", 'a"b', "'", "$HOME", "a\tb", "a\nb", "\r",
     "\x1b[31m", "e\u0301", "\xe9", "\udce9", "\u202e", "\u2028", "CON", "nul", "x" * 240, "%s",
     "{0}",
     "{filename}", "*", "?", "#", "&amp;<b>", "A", "a", "1", "01", ".hidden", "street-paris-1-2-a",
     "audio", "meta", "evaluation_setup", "x.wav", "a.part", "..", "../up", "/tmp/evil", "a//b"]
)  # fmt: skip
_NAME = st.one_of(st.sampled_from(["bus", "tram", "park"]), _ODD, _BYTES, st.text(max_size=8)).map(
    lambda name: (
        os.fsdecode(name.encode(errors="surrogateescape").replace(b"\0", b"_"))
        if not any("\ud800" <= letter < "\udc80" for letter in name)
        else "surrogate"
    )
)
_PLAIN = st.sampled_from(["bus", "tram", "park"])
_FOLD = st.one_of(
    st.sampled_from(["1", "2", "3"]),
    st.sampled_from(["1", "2", "", "0", "-1", "1.0", "\u0661", "007", "9" * 25, "9" * 5000, "\xb2",
                     "train", "test", "Evaluate", "../..", str(2**63), str(2**31)]),
)  # fmt: skip
_USUAL = st.builds(
    File,
    st.integers(0, 999).map("clip{}".format), _PLAIN, st.integers(0, 9).map("place {}".format),
    st.sampled_from(["1", "2"]), st.integers(0, 23), st.sampled_from([""] * 9 + ["cut"]),
)  # fmt: skip
_OTHER = st.builds(
    File,
    st.one_of(st.integers(0, 99).map("clip{}".format), _NAME),
    st.one_of(_PLAIN, _PLAIN, _NAME),
    st.one_of(st.sampled_from(["a", "b", "c"]), _NAME, st.just("")),
    st.one_of(st.sampled_from(["1", "2"]), _FOLD),
    st.integers(0, 23),
    st.sampled_from(["", "", "", "", "cut", "flipped", "empty", "text", "folder", "loop", "gone"]),
)
SETS = st.builds(
    Made,
    st.sampled_from(["folders", "esc50", "urban", "columns", "table", "lists"]),
    st.tuples(st.lists(_USUAL, max_size=6), st.lists(_OTHER, max_size=2)).map(
        lambda files: tuple(files[0] + files[1])
    ),
    st.sampled_from("\t,;"),
    st.sampled_from(["fold", "split", ""]),
    st.lists(
        st.tuples(
            st.sampled_from(["fifo", "file", "folder", "loop", "up"]),
            st.sampled_from(["meta.csv", "x.csv", "x.tsv", "x.wav", "evaluation_setup", "zz",
                             "bus/x.wav", "evaluation_setup/fold1_train.txt", "meta/esc50.csv"]),
        ), max_size=1).map(tuple),
    st.sampled_from(["", "", ".", "(.)", "clip(.*)", r"(\s*)", "(?s:.*)"]),
    st.booleans(),
)  # fmt: skip


@functools.cache
def _sound(number: int) -> tuple[str, bytes]:
    """An ending and a file: of 24 of them, all of other samples."""
    ending = _FORMATS[number % len(_FORMATS)]
    content = io.BytesIO()
    noise = 0.1 * np.random.default_rng(number).standard_normal((1500, 1 + number % 2))
    soundfile.write(content, noise, 8000, format=ending)
    return ending, content.getvalue()


def _path_of(made: Made, file: File) -> str:
    """Where a file lies in its set."""
    name = f"{file.name}.{_sound(file.number)[0]}"
    folder = {"folders": file.scene_label, "esc50": "audio", "urban": f"audio/fold{file.fold}"}
    return f"{folder.get(made.form, 'audio')}/{name}"


def _lay(root: pathlib.Path, made: Made) -> None:
    """Writes a set; what the disk takes no name of is left out."""
    for file in made.files:
        _put(root / _path_of(made, file), file, root)
    for kind, path in made.besides:
        try:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            match kind:
                case "fifo":
                    os.mkfifo(root / path)
                case "folder":
                    (root / path).mkdir()
                case "file":
                    (root / path).write_bytes(_sound(0)[1])
                case _:
                    (root / path).symlink_to({"loop": root / path, "up": ".."}[kind])
        except OSError:
            continue
    cells = [
        (_path_of(made, file), file.scene_label, file.identifier, file.fold) for file in made.files
    ]
    names = [f"{file.name}.{_sound(file.number)[0]}" for file in made.files]
    match made.form:
        case "esc50":
            header = ("filename", "fold", "category", "src_file")
            rows = [(n, c[3], c[1], c[2]) for n, c in zip(names, cells, strict=True)]
            _write(root / "meta/esc50.csv", [header, *rows], ",")
        case "urban":
            header = ("slice_file_name", "fsID", "fold", "class")
            rows = [(n, c[2], c[3], c[1]) for n, c in zip(names, cells, strict=True)]
            _write(root / "metadata/UrbanSound8K.csv", [header, *rows], ",")
        case "columns" | "table":
            n = 3 + bool(made.column)
            header = ("filename", "scene_label", "identifier", made.column)[:n]
            path = "meta.csv" if made.form == "columns" else "anything.tsv"
            _write(root / path, [header, *(row[:n] for row in cells)], made.delimiter)
        case "lists":
            _write(root / "meta.csv", [row[:3] for row in cells], "\t")
            for part in ("train", "evaluate"):
                rows = [row[:2] for row in cells if (row[3] == "1") == (part == "train")]
                _write(root / f"evaluation_setup/fold1_{part}.txt", rows, "\t")


def _put(path: pathlib.Path, file: File, root: pathlib.Path) -> None:
    _, content = _sound(file.number)
    middle = len(content) // 2
    match file.spoilt:
        case "cut":
            content = content[:middle]
        case "flipped":
            content = strike(content, "bit", middle, b"\6")
        case "empty" | "text":
            content = b"no sound" * (file.spoilt == "text")
        case "gone":
            return
    if not pathlib.Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.spoilt == "folder":
            path.mkdir()
        elif file.spoilt == "loop":
            path.symlink_to(path)
        elif not path.is_dir():
            path.write_bytes(content)
    except (OSError, ValueError):
        return


def _write(path: pathlib.Path, rows: list[tuple], delimiter: str) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() and not path.is_symlink():
            path.write_bytes(text.getvalue().encode(errors="surrogateescape"))
    except OSError:
        return


def check_set(made: Made) -> str:
    """A set is read as it was meant, checked and imported whole, or refused; it stays as it was."""
    with tempfile.TemporaryDirectory() as folder:
        root, new = pathlib.Path(folder, "set"), pathlib.Path(folder, "new")
        root.mkdir()
        _lay(root, made)
        before = _listing(folder)
        data, said = refusal(read_tables, root, names=folder)
        found, said_of_check = refusal(check_dataset, root)
        assert bool(said) == bool(said_of_check), (said, said_of_check)
        if not said:
            _check_meaning(made, data)
            text = render(found)
            assert all(map(str.isprintable, text.split("\n"))), text
            json.dumps(found)
            write_page(pathlib.Path(folder, "page.html"), found)
            os.unlink(pathlib.Path(folder, "page.html"))
        pattern = re.compile(made.pattern) if made.pattern else None
        brought, said_of_import = refusal(
            import_dataset, root, new, identifier=pattern, link=made.link
        )
        after = {
            path: kind for path, kind in _listing(folder).items() if path.parts[:1] != ("new",)
        }
        assert after == before, set(after.items()) ^ set(before.items())
        if said or said_of_import:
            assert not new.exists(), (said_of_import, sorted(new.rglob("*")))
            return "refused"
        _check_brought(data, brought, pattern)
        for clip, other in zip(data.clips, brought.clips, strict=True):
            assert data.audio_path(clip).read_bytes() == brought.audio_path(other).read_bytes()
    return "read"


def _listing(folder: str) -> dict:
    """All that lies in a folder, and what it is."""
    found = {}
    for path in pathlib.Path(folder).rglob("*"):
        status = path.lstat()
        if path.name not in ("set", "new") or path.parent != pathlib.Path(folder):
            found[path.relative_to(folder)] = (status.st_mode, status.st_size, status.st_ino)
    return found


def _check_meaning(made: Made, data: Dataset) -> None:
    """What was read is what was written."""
    if made.besides:  # which may be of another form
        return
    read = [(clip.path, clip.scene_label) for clip in data.clips]
    if made.form == "folders":
        there = [str(path.relative_to(data.root)) for path in data.root.glob("*/**/*.*")]
        assert all(path in there and label == path.partition("/")[0] for path, label in read)
        return
    meant = [(_path_of(made, file).strip(), file.scene_label.strip()) for file in made.files]
    assert read == meant, (read, meant)  # tables know no space around a cell


def _check_brought(data: Dataset, brought: Dataset, pattern: re.Pattern | None) -> None:
    assert [clip.scene_label for clip in brought.clips] == [c.scene_label for c in data.clips]
    assert brought.published_folds == data.published_folds
    if pattern is None:
        places = [[c.location == c.path or c.location for c in d.clips] for d in (data, brought)]
        assert places[0] == places[1], places


class Asked(NamedTuple):
    """Clips with their locations and published folds, and the splits that are asked for."""

    clips: tuple[tuple[int, int], ...]  # label and location
    column: str
    cells: tuple[str, ...]  # of that column, by location
    kind: str
    n_folds: int
    test_fold: int
    inner_fraction: float
    seed: int


_N_CLIPS, _N_PLACES = 24, 10
SPLITS = st.builds(
    Asked,
    st.sampled_from([1, 2, 12, 18]).flatmap(
        lambda n: st.lists(
            st.tuples(st.integers(0, 1 + n // 18), st.integers(0, _N_PLACES - 1)),
            min_size=n, max_size=_N_CLIPS,
        ).map(tuple)
    ),
    st.sampled_from(["fold", "split", ""]),
    st.sampled_from([["1", "2"], ["1", "2", "3"], ["1", "2", "9" * 25]]).flatmap(
        lambda cells: st.tuples(*[st.sampled_from(cells)] * _N_PLACES)
    ),
    st.sampled_from(KINDS),
    st.integers(0, 5),
    st.sampled_from([0, 0, 0, 1, 2]),
    st.sampled_from([0.0, 0.0, 0.1, 0.3, 0.5, 0.9]),
    st.integers(0, 2**31),
)  # fmt: skip


def check_splits(asked: Asked) -> str:
    """Folds are refused, or every class is trained on and no location is on two sides."""
    n = len(asked.clips)
    cells = [asked.cells[place] for _, place in asked.clips]
    if asked.column == "split":
        cells = ["test" if cell == "1" else "train" for cell in cells]
    rows = [
        Row(i, f"{i}.wav", **({asked.column: cell} if asked.column else {}))
        for i, cell in enumerate(cells)
    ]
    published, said = refusal(folds_of_columns, pathlib.Path("meta.csv"), rows, {})
    if said:
        return "refused"
    clips = [Clip(f"{i}.wav", f"l{k}", f"place {p}") for i, (k, p) in enumerate(asked.clips)]
    labels = sorted({clip.scene_label for clip in clips})
    data = Dataset(pathlib.Path("set"), tuple(clips), tuple(labels), published)
    how = {name: getattr(asked, name) for name in ("kind", "n_folds", "seed", "test_fold")}
    found, said = refusal(make_splits, data, inner_fraction=asked.inner_fraction, **how)
    if said:
        return "refused"
    splits, test = found
    for split in splits:
        train, inner, held_out = (
            set(part.tolist()) for part in (split.train, split.inner, split.held_out)
        )
        assert not (train & inner or train & held_out or inner & held_out)
        assert bool(inner) == bool(asked.inner_fraction)
        assert not set(test.tolist()) & (train | inner | held_out)
        places = lambda part: {clips[i].location for i in part}
        if asked.kind != "random":
            assert not places(train | inner) & places(held_out)
        assert not places(train) & places(inner)
        assert not places(train | inner) & places(test.tolist())
        targets = np.array([labels.index(clips[i].scene_label) for i in split.train])
        weights = balanced_weights(np.bincount(targets))
        assert np.isfinite(weights).all() and abs(weights[targets].mean() - 1) < 1e-5
    held_out = np.concatenate([split.held_out for split in splits])
    assert len(set(held_out.tolist())) == len(held_out)
    if asked.kind == "all":
        assert not len(held_out)
    elif asked.kind != "published":
        assert len(held_out) + len(test) == n
    assert not asked.n_folds or len(splits) == asked.n_folds
    _check_crops(asked)
    return "read"


def _check_crops(asked: Asked) -> None:
    """Windows begin where those of a recording do that is asked for by itself."""
    rng = np.random.default_rng(asked.seed)
    size, hop, length = map(int, rng.integers(500, [20_000, 40_000, 200_000]))
    crops = Crops(size, hop, round(LENGTH_TOLERANCE_S * 48_000))
    windows = in_windows([(np.ones((length, 1), np.float32), 48_000)], 48_000, size, hop)
    assert crops.in_a_row(length).tolist() == [window.start for window in windows], crops
