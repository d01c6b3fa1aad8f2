"""Bringing recordings and their labels into the layout of the TUT sets."""

import csv
import io
import pathlib
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence

from asc_jax.data.clips import Clip, Dataset, read_dataset, read_tables
from asc_jax.data.published_folds import find_lists
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole


def import_dataset(
    source: pathlib.Path,
    root: pathlib.Path,
    *,
    identifier: re.Pattern | None = None,
    link: bool = False,
) -> Dataset:
    """Copies a data set of any form that `read_dataset` knows, with tables that say all of it.

    What a stop has left is completed by the same call.

    Args:
      source: its folder.
      root: where to; `meta.csv` comes last.
      identifier: searched in each file's path below `source`: what its first group, or all of it,
        finds is the clip's identifier. None for those that the set has itself.
      link: make symbolic links in the place of copies.

    Returns:
      The set in its new place.

    Raises:
      InputError: as `read_dataset`; there is a data set already, the expression finds nothing in
        a path, a name is such as no table holds, or a file cannot be written.
    """
    dataset = read_dataset(source, argument="SOURCE")
    if (root / "meta.csv").exists():
        raise InputError("is a data set already; name another folder", path=root)
    if root.resolve().is_relative_to(source.resolve()):
        raise InputError("lies in SOURCE; name a folder beside it", path=root)
    names = {clip.path: _new_name(clip.path, source) for clip in dataset.clips}
    identifiers = [_identifier(clip, identifier, source) for clip in dataset.clips]
    _refuse_unwritable(dataset, names, identifiers)
    if dataset.published_folds.keys() != _folds_there(root) != set():
        raise InputError("holds lists of another data set; name another folder", path=root)
    for clip in dataset.clips:
        _bring(dataset.audio_path(clip), root / names[clip.path], link=link)
    _write_tables(root, dataset, names, identifiers)
    return read_dataset(root)


def _folds_there(root: pathlib.Path) -> set[int]:
    """The numbers of the folds of which a folder has lists."""
    return {number for number, _ in find_lists(root / "evaluation_setup")}


def _new_name(path: str, source: pathlib.Path) -> str:
    if re.search(r"[\t\r\n]", path):
        raise InputError("has a tab or a line break in its name; rename it", path=source / path)
    if not (source / path).is_file():
        raise InputError("is not a file; leave it out", path=source / path)
    return f"audio/{pathlib.PurePosixPath(path).as_posix().removeprefix('audio/')}"


def _refuse_unwritable(
    dataset: Dataset, names: Mapping[str, str], identifiers: Sequence[str]
) -> None:
    """Refuses names that tables do not hold, such as those with line breaks."""
    with tempfile.TemporaryDirectory() as folder:
        _write_tables(pathlib.Path(folder), dataset, names, identifiers)
        try:
            written = read_tables(folder)
        except InputError as error:
            raise InputError(f"cannot be imported: {error.message}", path=dataset.root) from None
    for clip, other in zip(dataset.clips, written.clips, strict=True):
        if (names[clip.path], clip.scene_label) != (other.path, other.scene_label):
            raise InputError(
                "has a name that a table cannot hold; rename it", path=dataset.audio_path(clip)
            )


def _identifier(clip: Clip, identifier: re.Pattern | None, source: pathlib.Path) -> str:
    if identifier is None:
        return "" if clip.location == clip.path else clip.location
    if clip.city:
        raise InputError(
            "has a name of TUT's form, which already gives its location; leave "
            "--identifier out, or rename the files",
            field="--identifier",
            path=source / clip.path,
        )
    found = identifier.search(clip.path)
    name = found and found[1 if identifier.groups else 0]
    if not (name and name.strip()):
        raise InputError(
            f"{identifier.pattern} matches nothing in "
            f"{clip.path}{' by its first group' * bool(found)}; give an expression that matches "
            "all files: (...|[^/]+$) also matches the names of those that stand alone",
            field="--identifier",
            path=source / clip.path,
        )
    return name.strip()


def _bring(source: pathlib.Path, place: pathlib.Path, *, link: bool) -> None:
    """Copies a file, or links to it, unless that is done."""
    try:
        if place.exists() and _is_same(source, place):
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        if link:
            place.symlink_to(source.resolve())
            return
        part = place.with_name(".asc_jax.part")  # no name of a recording
        try:
            shutil.copy2(source, part)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror}); fix this and run the same command to resume",
            path=place,
        ) from None


def _is_same(source: pathlib.Path, place: pathlib.Path) -> bool:
    """Whether a file is, by its size and time or by its link, the one that was brought."""
    if place.is_symlink():
        return place.samefile(source)
    ours, theirs = source.stat(), place.stat()
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def _write_tables(
    root: pathlib.Path, dataset: Dataset, names: Mapping[str, str], identifiers: Sequence[str]
) -> None:
    """Writes the lists of the folds, then `meta.csv`."""
    for fold, split in dataset.published_folds.items():
        for part in ("train", "evaluate"):
            clips = [dataset.clips[i] for i in getattr(split, part)]
            rows = [(names[clip.path], clip.scene_label) for clip in clips]
            _write_table(root / "evaluation_setup" / f"fold{fold}_{part}.txt", rows)
    header = ("filename", "scene_label", "identifier", "source_label")
    rows = [
        (names[clip.path], clip.scene_label, own, clip.device)
        for clip, own in zip(dataset.clips, identifiers, strict=True)
    ]
    _write_table(root / "meta.csv", [header, *rows])


def _write_table(path: pathlib.Path, rows: list[tuple[str, ...]]) -> None:
    content = io.StringIO()
    csv.writer(content, delimiter="\t", lineterminator="\n").writerows(rows)
    write_whole(path, content.getvalue())
