"""Zip archives: looked at as a whole, then unpacked file by file."""

import contextlib
import json
import pathlib
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping

from asc_jax.data.names import on_any_disk
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, write_whole

# A folder below a root: archives on their way, and what was unpacked of each.
HIDDEN = ".download"

# Folders of a data set. Any other folder that all files of an archive share is left out.
_LAYOUT = ("audio", "evaluation_setup")

# Bytes of a path in an archive, twice what those of a data set take.
_LONGEST_PATH = 200


def unpack(path: pathlib.Path, root: pathlib.Path) -> None:
    """Unpacks a zip archive of a data set, without the folder that all of its files share.

    Files that are there as the archive has them stay. Each other one is there whole or not at all.

    Args:
      path: the archive.
      root: where its files go, and a record of them, for `is_unpacked`.

    Raises:
      InputError: it cannot be read, holds anything but plain files below `root`, or needs more room
        than there is; or another file is in the place of one of its own. Nothing is written then.
        Later: one of its files is damaged, or cannot be written.
    """
    with _reading(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = _members(archive.infolist(), path)
        missing = {
            name: member for name, member in members.items() if not _is_there(root / name, member)
        }
        require_space(root, sum(member.file_size for member in missing.values()))
        for name, member in missing.items():
            with _reading(path):
                content = archive.read(member)
                if len(content) < member.file_size:
                    raise EOFError(f"{name} is shorter than the listing says")
            write_whole(root / name, content)
    sizes = {name: member.file_size for name, member in members.items()}
    write_whole(_record(root, path.name), json.dumps(sizes, indent=0) + "\n")


def is_unpacked(root: pathlib.Path, archive: str) -> bool:
    """Whether all files of an archive of this name are there, by the record of them."""
    try:
        sizes = parse_json(_record(root, archive).read_bytes()).items()
        return all((root / name).stat().st_size == size for name, size in sizes)
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def require_space(folder: pathlib.Path, n_bytes: int) -> None:
    """Checks that a disk has room.

    Args:
      folder: on that disk; it need not exist yet.
      n_bytes: that are to be written.

    Raises:
      InputError: it has not.
    """
    free = shutil.disk_usage(existing(folder)).free
    if free < n_bytes:
        raise InputError(
            f"{n_bytes / 1e9:.2f} GB are needed on its disk, {free / 1e9:.2f} GB are free; free "
            "some space, or use a folder on another disk",
            path=folder,
        )


def existing(folder: pathlib.Path) -> pathlib.Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _record(root: pathlib.Path, archive: str) -> pathlib.Path:
    """Says the size of each file of an archive that is unpacked."""
    return root / HIDDEN / f"{archive}.json"


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
    """Says of an archive what is wrong with it."""
    try:
        yield
    except (
        OSError, EOFError, RuntimeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise InputError(
            f"cannot be unpacked ({error!s:.200}); delete it, and run the same command to "
            "download it again",
            path=path,
        ) from None


def _members(listing: Iterable[zipfile.ZipInfo], path: pathlib.Path) -> Mapping:
    """The files of an archive by their paths below the root: {str: ZipInfo}."""
    files = {}
    for member in listing:
        if fault := _fault(member):
            raise InputError(f"holds {member.filename!r:.100}, which {fault}; delete it", path=path)
        if not member.is_dir():
            files.setdefault(on_any_disk(member.filename), []).append(member)
    folders = {str(parent) for name in files for parent in pathlib.PurePosixPath(name).parents}
    for name, members in files.items():
        if len(members) > 1 or name in folders:
            raise InputError(f"holds {name!r:.100} twice; delete it", path=path)
    names = {member.filename: member for (member,) in files.values()}
    tops = {name.partition("/")[0] for name in names}
    shared = len(tops) == 1 and not tops & set(_LAYOUT) and all("/" in name for name in names)
    return {name.partition("/")[2] if shared else name: names[name] for name in names}


def _fault(member: zipfile.ZipInfo) -> str:
    """Why an entry of an archive is refused, or ""."""
    name = member.filename
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in another way than those of a data set"  # without a bound
    parts = on_any_disk(name).removesuffix("/").split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        return "is no path below the folder"
    if HIDDEN in parts:
        return f"uses the name {HIDDEN}"
    if "\\" in name or any(unicodedata.category(character) == "Cc" for character in name):
        return "has a backslash or a control character in it"
    if len(name.encode()) > _LONGEST_PATH:
        return f"is longer than {_LONGEST_PATH} bytes"
    return ""


def _is_there(path: pathlib.Path, member: zipfile.ZipInfo) -> bool:
    """Whether a file of an archive is unpacked; refuses another file in its place."""
    try:
        if not path.exists():
            return False
        same = (
            path.is_file()
            and path.stat().st_size == member.file_size
            and zlib.crc32(path.read_bytes()) == member.CRC
        )
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror}); make it readable, or move it away", path=path
        ) from None
    if not same:
        raise InputError(
            "exists, and differs from the file in the archive; move it away, or use another --root",
            path=path,
        )
    return True
