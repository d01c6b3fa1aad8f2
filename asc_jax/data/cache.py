"""What was computed from a data set's audio, kept on disk beside what it was made of.

An entry is a folder named after its fingerprint:

    values.npy        (clips, ...) int16
    affine.npy        (2, clips) float32: scale and offset; value * scale + offset
    fingerprint.json  what made it, and a checksum of the two arrays; written last

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
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from asc_jax.errors import InputError
from asc_jax.paths import expand

FORMAT = 1


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
            raise InputError(f"XDG_CACHE_HOME={named}: {error}") from None
        raise InputError(
            "no home folder is known, so there is no place for caches; set XDG_CACHE_HOME, or "
            "data.cache_dir, to a folder that can be written"
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
        files.append([str(path.absolute()), status.st_size, status.st_mtime_ns])
    return {"format": FORMAT, "settings": dict(settings), "files": files}


def quantise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One clip's values on int16, over its own range.

    The largest error is (max - min) / 131,068: below 0.001 for natural log-mels, and
    about 100 dB below a waveform's peak.

    Args:
      values: any shape, float32, finite.

    Returns:
      int16 of the same shape, and (2,) float32: scale and offset.
    """
    low, high = float(values.min()), float(values.max())
    scale = np.float32((high - low) / 65_534) or np.float32(1)
    offset = np.float32((high + low) / 2)
    steps = np.rint((values - offset) / scale)
    return np.clip(steps, -32_767, 32_767).astype(np.int16), np.array([scale, offset])


def load(cache_dir: pathlib.Path, made_of: Mapping) -> tuple[np.ndarray, np.ndarray] | None:
    """The entry made of exactly this, or None if there is none or it is damaged.

    Returns:
      values (clips, ...) int16, memory-mapped, and affine (2, clips) float32.
    """
    entry = _entry(cache_dir, made_of)
    try:
        written = json.loads((entry / "fingerprint.json").read_text())
        if written["made_of"] != made_of or written["checksum"] != _checksum(entry):
            return None
        values = np.load(entry / "values.npy", mmap_mode="r")
        return values, np.load(entry / "affine.npy")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store(
    cache_dir: pathlib.Path, made_of: Mapping, clips: Iterator[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Writes an entry clip by clip, and opens it.

    It is written beside its place and renamed into it, so a stop at any moment leaves
    either the whole entry or none.

    Args:
      cache_dir: where entries live; made if need be.
      made_of: from `fingerprint`.
      clips: one float32 array per file, all of one shape.

    Returns:
      As `load`.

    Raises:
      InputError: the folder cannot be written, or the disk is full.
    """
    try:
        with _only_process(cache_dir, made_of):
            if load(cache_dir, made_of) is None:  # else another process was quicker
                _build(_entry(cache_dir, made_of), made_of, clips)
    except OSError as error:
        raise InputError(
            f"{cache_dir}: the cache cannot be written ({error.strerror}); free some space, or "
            "set data.cache_dir to a folder that can be written"
        ) from None
    opened = load(cache_dir, made_of)
    if opened is None:
        raise InputError(
            f"{_entry(cache_dir, made_of)}: does not read back as written; check the disk"
        )
    return opened


@contextlib.contextmanager
def _only_process(cache_dir: pathlib.Path, made_of: Mapping) -> Iterator[None]:
    """One process at a time, of one run or of several, makes an entry."""
    import fcntl

    entry = _entry(cache_dir, made_of)
    entry.parent.mkdir(parents=True, exist_ok=True)
    place = entry.with_suffix(".lock")
    with place.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            place.unlink(missing_ok=True)  # those who wait find the entry made


def _build(entry: pathlib.Path, made_of: Mapping, clips: Iterator[np.ndarray]) -> None:
    partial = entry.with_name(f"{entry.name}.partial-{uuid.uuid4().hex}")
    try:
        partial.mkdir()
        _write(partial, len(made_of["files"]), clips)
        made = {"made_of": made_of, "checksum": _checksum(partial)}
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
            f"{values.filename}: can no longer be read ({error.strerror}); run the same command "
            "again, which decodes the clips anew"
        ) from None


def _entry(cache_dir: pathlib.Path, made_of: Mapping) -> pathlib.Path:
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return pathlib.Path(cache_dir) / digest[:24]


def _write(folder: pathlib.Path, n_clips: int, clips: Iterator[np.ndarray]) -> None:
    affine = np.zeros((2, n_clips), np.float32)
    n_written = 0
    # Plain writes, not a memory map: a full disk is then an error and not a signal.
    with (folder / "values.npy").open("wb") as file:
        for clip in clips:
            values, affine[:, n_written] = quantise(clip)
            if n_written == 0:
                header = {"descr": "<i2", "fortran_order": False, "shape": (n_clips, *clip.shape)}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(values.astype("<i2").tobytes())
            n_written += 1
        file.flush()
        os.fsync(file.fileno())
    if n_written != n_clips:
        raise RuntimeError(f"{n_written} clips came for {n_clips} files")
    np.save(folder / "affine.npy", affine)


def _checksum(folder: pathlib.Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in ("values.npy", "affine.npy"):
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
