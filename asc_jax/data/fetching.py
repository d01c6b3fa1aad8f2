"""A large file over HTTP: resumed where it was cut, and checked before it gets its name."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

import requests
import tqdm

from asc_jax.data.zenodo import Archive
from asc_jax.runtime.errors import InputError, Stopped, visible
from asc_jax.runtime.files import remove

TIMEOUT = 25.0  # seconds without a byte: the connection has stalled
PATIENCE = 60.0  # seconds without anything new: the server is given up
PAUSE = 1.0  # seconds before the second try, twice as many before the third, and so on
LONGEST_WAIT = 600.0  # seconds that a busy server may ask for

_BUSY = (408, 429, 500, 502, 503, 504)
_CHUNK_BYTES = 1 << 16


class _Trouble(Exception):
    """The request failed in a way that may pass.

    Attributes:
      silent: seconds that were spent on nothing.
      wait: seconds that the server asks for.
    """

    def __init__(self, problem: str, *, silent: float = 0.0, wait: float = 0.0):
        super().__init__(visible(problem))  # it may have words of the server
        self.silent, self.wait = silent, wait


def fetch(url: str, archive: Archive, path: pathlib.Path, bar: tqdm.tqdm) -> None:
    """Downloads an archive, or what is missing of it.

    What has come lies in `PATH.partial`, also after a stop. It is named `path` once its size and
    MD5 sum are those of the archive.

    Args:
      url: its address.
      archive: what it must be.
      path: the file; its folder exists.
      bar: counts bytes.

    Raises:
      InputError: the server has no such file or another one, whose bytes are removed again; the
        file cannot be written; or another process writes it.
      Stopped: the server is silent or busy.
    """
    partial = partial_of(path)
    with _hold(partial) as file:
        if file.tell() > archive.size:  # of something else
            file.truncate(0)
            file.seek(0)
        _complete(file, url, archive.size, bar)
        file.flush()
        os.fsync(file.fileno())
        if md5_of(file) != archive.md5:
            remove(partial)
            raise InputError(
                f"the downloaded file had another MD5 sum than {archive.md5}, and was deleted; "
                "run the same command to download it again",
                path=url,
            )
        partial.replace(path)


def partial_of(path: pathlib.Path) -> pathlib.Path:
    """Where a file lies while it is incomplete."""
    return path.with_name(f"{path.name}.partial")


def md5_of(file: BinaryIO) -> str:
    """The MD5 sum of an open file, in hexadecimal digits."""
    file.seek(0)
    return hashlib.file_digest(file, "md5").hexdigest()


@contextlib.contextmanager
def _hold(partial: pathlib.Path) -> Iterator[BinaryIO]:
    """Opens a file at its end, for this process alone."""
    try:
        with partial.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    "another process is downloading it; wait for it, or use another folder",
                    path=partial,
                ) from None
            try:
                yield file
            finally:
                if not file.tell():
                    partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror}); free some space, or make its folder "
            "writable, and run the same command to resume",
            path=partial,
        ) from None


def _complete(file: BinaryIO, url: str, size: int, bar: tqdm.tqdm) -> None:
    """Appends what a file lacks, in as many requests as it takes while bytes come."""
    furthest, failures, silent = file.tell(), 0, 0.0
    with requests.Session() as session:
        while (have := file.tell()) < size:
            try:
                for offset, chunk in _chunks(session, url, have, size):
                    if offset < file.tell():  # the server knows no ranges
                        bar.update(offset - file.tell())
                        file.truncate(offset)
                        file.seek(offset)
                    file.write(chunk)
                    bar.update(len(chunk))
            except _Trouble as trouble:
                if file.tell() > furthest:
                    furthest, failures, silent = file.tell(), 0, 0.0
                pause = PAUSE * 2**failures
                failures += 1
                silent += trouble.silent + pause
                if silent + TIMEOUT > PATIENCE or trouble.wait > LONGEST_WAIT:
                    raise Stopped(f"{url}: {trouble}; run the same command to resume") from None
                pause = max(pause, trouble.wait)
                bar.write(f"{url}: {trouble}; next try in {pause:g} s", sys.stderr)
                time.sleep(pause)


def _chunks(
    session: requests.Session, url: str, start: int, size: int
) -> Iterator[tuple[int, bytes]]:
    """Yields pieces of a file and where they begin: at `start`, or at 0 if it must begin anew."""
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            offset = _first_byte(response, url, start, size)
            for chunk in response.iter_content(_CHUNK_BYTES):
                yield offset, chunk
                offset += len(chunk)
                if offset > size:  # its MD5 sum will be another one
                    return
    except requests.RequestException as error:
        raise _trouble(error) from None
    if offset < size:
        raise _Trouble("the connection was cut")


def _first_byte(response: requests.Response, url: str, start: int, size: int) -> int:
    """The place in the file where an answer begins."""
    status = f"{response.status_code} {response.reason:.200}"
    if response.status_code in _BUSY:
        wait = response.headers.get("Retry-After", "")
        raise _Trouble(f"answers {status}", wait=float(wait) if wait.isdecimal() else 0.0)
    if response.status_code not in (200, 206):
        raise InputError(
            f"answers {status}; download it by other means, and name its folder with --archives",
            path=url,
        )
    first, total = "0", response.headers.get("Content-Length", "*")
    if response.status_code == 206:
        content_range = response.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        first, total = found.groups() if found else ("", "*")
    if total not in ("*", str(size)):
        raise InputError(
            f"is not the published file ({total:.20} bytes, not {size}); download it by "
            "other means, and name its folder with --archives",
            path=url,
        )
    if first not in ("0", str(start)):
        raise _Trouble("answers with other bytes than were asked for")
    return int(first)


def _trouble(error: requests.RequestException) -> _Trouble:
    """What lies at the bottom of requests' exception."""
    bottom: BaseException = error
    while bottom.__context__ is not None:
        bottom = bottom.__context__
    if isinstance(bottom, TimeoutError):
        return _Trouble(f"nothing came for {TIMEOUT:g} s", silent=TIMEOUT)
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return _Trouble("the connection was cut")
    reason = getattr(bottom, "strerror", None) or str(bottom).strip()
    return _Trouble(f"the connection fails ({reason:.200})")
