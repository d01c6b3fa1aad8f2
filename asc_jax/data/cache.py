"""What was computed from a data set's audio, kept on disk beside what it was made of.

An entry is a folder named after its fingerprint:

    values.npy        (clips, ...) int16
    affine.npy        (2, clips) float32: scale and offset; value * scale + offset
    seconds.npy       (clips,) float64: how long the audio files are
    fingerprint.json  what made it, a digest of each audio file, and a checksum; written last

Other inputs give another fingerprint, hence another entry: a stale one is never opened. A
torn or altered one fails its checksum and is made again.
"""

import contextlib
import errno
import hashlib
import json
import mmap
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from asc_jax.runtime.errors import InputError, shown
from asc_jax.runtime.files import parse_json
from asc_jax.runtime.paths import expand

FORMAT = 3

# What is made of an audio file: float32, all of one shape; its length, s; its digest.
Clip = tuple[np.ndarray, float, str]


class Entry(NamedTuple):
    """What was computed from some audio files.

    Attributes:
      values: (clips, ...) int16, memory-mapped where it is on disk.
      affine: (2, clips) float32: scale and offset.
      seconds: (clips,) float64, how long the audio files are.
      digests: of the audio files, as `asc_jax.data.audio.digest` names them.
    """

    values: np.ndarray
    affine: np.ndarray
    seconds: np.ndarray
    digests: tuple[str, ...]


def default_cache_dir() -> pathlib.Path:
    """`$XDG_CACHE_HOME/asc_jax`, by default `~/.cache/asc_jax`.

    Raises:
      InputError: there is neither that variable nor a home folder.
    """
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        base = expand(named or "~/.cache")
    except InputError as error:
        if named:
            raise error.at(field="XDG_CACHE_HOME", value=shown(named)) from None
        raise InputError(
            "no home folder is known, so there is no folder for the cache; set "
            "XDG_CACHE_HOME or data.cache_dir to a writable folder"
        ) from None
    return pathlib.Path(base) / "asc_jax"


def fingerprint(paths: Iterable[pathlib.Path], settings: Mapping) -> dict:
    """What an entry depends on: the files' names, sizes and times, and all settings.

    Args:
      paths: the audio files, in the order of the arrays' first axis.
      settings: everything else that decides the values; JSON types only.

    Returns:
      A dict of JSON types; equal dicts mean equal values.
    """
    files = []
    for path in paths:
        status = path.stat()
        # The last of these no program can set: it tells a file that was put in the place of
        # another of its size, with its time of modification.
        times = [status.st_mtime_ns, status.st_ctime_ns]
        files.append([str(path.absolute()), status.st_size, *times])
    return {"format": FORMAT, "settings": dict(settings), "files": files}


CONSTANT = 1  # no scale of a waveform, nor of log-mels


def quantise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One clip's values on int16, over its own range.

    The largest error is (max - min) / 131,068: below 0.001 for natural log-mels, and
    about 100 dB below a waveform's peak.

    Args:
      values: any shape, float32, finite.

    Returns:
      int16 of the same shape, and (2,) float32: scale and offset. The scale of values that are
      all the same is `CONSTANT`.
    """
    low, high = float(values.min()), float(values.max())
    scale = np.float32((high - low) / 65_534) or np.float32(CONSTANT)
    offset = np.float32((high + low) / 2)
    steps = np.rint((values - offset) / scale)
    return np.clip(steps, -32_767, 32_767).astype(np.int16), np.array([scale, offset])


def load(cache_dir: pathlib.Path, made_of: Mapping) -> Entry | None:
    """The entry made of exactly this, or None if there is none or it is damaged."""
    entry = _entry(cache_dir, made_of)
    try:
        written = parse_json((entry / "fingerprint.json").read_text())
        digests = tuple(written["digests"])
        if written["made_of"] != made_of or written["checksum"] != _checksum(entry, digests):
            return None
        values = np.load(entry / "values.npy", mmap_mode="r")
        numbers = (np.load(entry / f"{name}.npy") for name in ("affine", "seconds"))
        return Entry(values, *numbers, digests)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store(cache_dir: pathlib.Path, made_of: Mapping, clips: Iterator[Clip]) -> Entry:
    """Writes an entry clip by clip, and opens it.

    It is written beside its place and renamed into it, so a stop at any moment leaves
    either the whole entry or none.

    Args:
      cache_dir: where entries live; made if need be.
      made_of: from `fingerprint`.
      clips: of the files.

    Returns:
      The entry, as `load` gives it.

    Raises:
      OSError: the folder cannot be written, the disk is full, or does not read back as written.
    """
    with _only_process(cache_dir, made_of):
        if load(cache_dir, made_of) is None:  # else another process was quicker
            _build(_entry(cache_dir, made_of), made_of, clips)
        opened = load(cache_dir, made_of)
    if opened is None:
        raise OSError(errno.EIO, "it does not read back as written")
    return opened


def in_memory(n_clips: int, clips: Iterator[Clip]) -> Entry:
    """The entry that `store` would write, in memory alone.

    Args:
      n_clips: how many come.
      clips: as for `store`.
    """
    values, affine, lengths, digests = None, np.zeros((2, n_clips), np.float32), [], []
    for row, (clip, seconds, digest) in enumerate(clips):
        if values is None:
            values = np.zeros((n_clips, *clip.shape), np.int16)
        values[row], affine[:, row] = quantise(clip)
        lengths.append(seconds)
        digests.append(digest)
    return Entry(values, affine, np.array(lengths), tuple(digests))


@contextlib.contextmanager
def _only_process(cache_dir: pathlib.Path, made_of: Mapping) -> Iterator[None]:
    """One process at a time, of one run or of several, makes an entry."""
    import fcntl

    entry = _entry(cache_dir, made_of)
    entry.parent.mkdir(parents=True, exist_ok=True)
    place = entry.with_suffix(".lock")
    while True:
        with place.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever held it has removed it, and others may have locked a new one since.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), place.stat()):
                    try:
                        yield
                    finally:
                        place.unlink(missing_ok=True)
                    return


def _build(entry: pathlib.Path, made_of: Mapping, clips: Iterator[Clip]) -> None:
    partial = entry.with_name(f"{entry.name}.partial-{uuid.uuid4().hex}")
    try:
        partial.mkdir()
        digests = _write(partial, len(made_of["files"]), clips)
        checksum = _checksum(partial, digests)
        made = {"made_of": made_of, "digests": digests, "checksum": checksum}
        (partial / "fingerprint.json").write_text(json.dumps(made))
        shutil.rmtree(entry, ignore_errors=True)  # damaged
        partial.rename(entry)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(partial)


def read_rows(values: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Reads some clips of an entry into memory.

    It reads the file and not its memory map: pages of a map count as the process's memory,
    and if the file is cut short meanwhile, touching them ends the process without a word.

    Args:
      values: (clips, ...) int16, as `load` gives it; any other array is indexed.
      rows: (n,) indices of clips.
      out: (n, ...) int16, filled here.

    Raises:
      InputError: the file is gone, or no longer whole.
    """
    # A slice of a map says no more where in the file it lies: its base is the map.
    if not (isinstance(values, np.memmap) and isinstance(values.base, mmap.mmap)):
        out[:] = values[rows]
        return
    try:
        with open(values.filename, "rb", buffering=0) as file:
            for row, place in zip(rows.tolist(), out, strict=True):
                file.seek(values.offset + row * place.nbytes)
                if file.readinto(place) != place.nbytes:
                    raise OSError(errno.EIO, "it has been cut short")
    except OSError as error:
        raise InputError(
            f"can no longer be read ({error.strerror}); run the same command again to "
            "decode the clips anew",
            path=values.filename,
        ) from None


def _entry(cache_dir: pathlib.Path, made_of: Mapping) -> pathlib.Path:
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return pathlib.Path(cache_dir) / digest[:24]


def _write(folder: pathlib.Path, n_clips: int, clips: Iterator[Clip]) -> list[str]:
    """Writes the arrays; returns the digests."""
    affine, lengths, digests = np.zeros((2, n_clips), np.float32), [], []
    # Plain writes, not a memory map: a full disk is then an error and not a signal.
    with (folder / "values.npy").open("wb") as file:
        for clip, seconds, digest in clips:
            values, affine[:, len(digests)] = quantise(clip)
            if not digests:
                header = {"descr": "<i2", "fortran_order": False, "shape": (n_clips, *clip.shape)}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(values.astype("<i2").tobytes())
            lengths.append(seconds)
            digests.append(digest)
        file.flush()
        os.fsync(file.fileno())
    if len(digests) != n_clips:
        raise RuntimeError(f"{len(digests)} clips came for {n_clips} files")
    np.save(folder / "affine.npy", affine)
    np.save(folder / "seconds.npy", np.array(lengths, np.float64))
    return digests


def _checksum(folder: pathlib.Path, digests: Sequence[str]) -> str:
    digest = hashlib.blake2b(" ".join(digests).encode(), digest_size=16)
    for name in ("values.npy", "affine.npy", "seconds.npy"):
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
