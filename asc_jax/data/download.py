"""A published set from its archives to a folder that `data check` reads."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Collection, Iterator

import tqdm

from asc_jax.data.fetching import fetch, md5_of, partial_of
from asc_jax.data.unpacking import HIDDEN, existing, is_unpacked, require_space, unpack
from asc_jax.data.zenodo import LICENCE, SERVER, UNPACKED, Archive, Record
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import remove


def accept_licence(accepted: bool) -> None:
    """Shows the licence, and asks for consent where it was not given.

    Args:
      accepted: whether it was given.

    Raises:
      InputError: it was not, and nobody at a terminal types y.
    """
    print(LICENCE, file=sys.stderr)
    if accepted:
        return
    answer = ""
    if sys.stdin is not None and sys.stdin.isatty():
        print("Do you accept this? [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
    if answer.strip().lower() not in ("y", "yes"):
        raise InputError(
            "the licence of the data is not accepted, so nothing is downloaded; add the flag to "
            "accept it",
            field="--accept_license",
        )


def download(
    record: Record,
    root: pathlib.Path,
    archives: pathlib.Path | None = None,
    *,
    server: str = SERVER,
) -> None:
    """Downloads, checks and unpacks what a folder lacks of a published set.

    One archive after the other. What was unpacked is not fetched again; a file that has come in
    part is resumed.

    Args:
      record: the set.
      root: where it is unpacked.
      archives: where archives lie or go, and stay. If None, each lies below `root` until it is
        unpacked.
      server: the address before "/records/".

    Raises:
      InputError: a disk is too small, an archive is not the published one, or a file cannot be
        written; what was done until then stays.
      Stopped: the server is silent or busy.
    """
    folder = archives or root / HIDDEN
    missing = [item for item in record.archives if not is_unpacked(root, item.name)]
    with _folders(root, folder, missing, keep=archives is not None), _bar(folder, missing) as bar:
        for archive in missing:
            path = folder / archive.name
            part = archive.name.partition(".")[2]  # the rest is the same for all
            bar.set_description(part)
            if path.exists():
                _check(path, archive)
            else:
                fetch(f"{server}/records/{record.number}/files/{archive.name}", archive, path, bar)
            bar.set_description(f"{part}, unpacking")
            unpack(path, root)
            if archives is None:
                remove(path)
            if not sys.stderr.isatty():
                bar.set_description(part, refresh=False)
                print(bar, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _folders(
    root: pathlib.Path, folder: pathlib.Path, missing: Collection[Archive], *, keep: bool
) -> Iterator[None]:
    """Makes the folders, if their disks have room; removes them if they stay empty.

    Args:
      root: of the set.
      folder: of the archives.
      missing: archives to be unpacked.
      keep: whether archives stay.

    Raises:
      InputError: a disk has no room, or a folder cannot be made.
    """
    n_unpacked = int(UNPACKED * sum(archive.size for archive in missing))
    try:
        to_fetch = [_to_fetch(folder / archive.name, archive) for archive in missing]
        n_archives = sum(to_fetch) if keep else max(to_fetch, default=0)
        if existing(root).stat().st_dev == existing(folder).stat().st_dev:
            n_unpacked += n_archives
        else:
            require_space(folder, n_archives)
        require_space(root, n_unpacked)
        for path in (root, folder):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be created ({error.strerror}); use another one",
            path=error.filename or root,
        ) from None
    try:
        yield
    finally:
        for path in (folder, root):
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()


def _to_fetch(path: pathlib.Path, archive: Archive) -> int:
    """Bytes of an archive that are not there yet."""
    if path.exists():
        return 0
    partial = partial_of(path)
    n_here = partial.stat().st_size if partial.exists() else 0
    return archive.size - n_here if n_here <= archive.size else archive.size


@contextlib.contextmanager
def _bar(folder: pathlib.Path, missing: Collection[Archive]) -> Iterator[tqdm.tqdm]:
    """A bar of the bytes that come from the server; it counts unseen where nobody watches."""
    total = sum(archive.size for archive in missing)
    to_fetch = sum(_to_fetch(folder / archive.name, archive) for archive in missing)
    with (
        open(os.devnull, "w") as nowhere,
        tqdm.tqdm(
            total=total,
            initial=total - to_fetch,
            file=sys.stderr if sys.stderr.isatty() else nowhere,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
        ) as bar,
    ):
        yield bar


def _check(path: pathlib.Path, archive: Archive) -> None:
    """Checks an archive that lies there already."""
    try:
        with path.open("rb") as file:
            found = md5_of(file)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror}); move it away", path=path) from None
    if found != archive.md5:
        raise InputError(
            f"is not the published archive (its MD5 sum is {found}, not {archive.md5}); "
            "delete it, and run the same command to download it again",
            path=path,
        )
