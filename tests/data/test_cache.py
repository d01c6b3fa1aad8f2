"""The cache: used when it is whole and current, made again in every other case."""

import concurrent.futures
import dataclasses
import errno
import fcntl
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soxr
from refusals import refused

from asc_jax import frontend
from asc_jax.data import audio, cache, decoding, pool, read_dataset
from asc_jax.data.decoding import Decoding
from asc_jax.data.pool import load_pool
from asc_jax.data.procedural import write_synthetic_dataset
from asc_jax.frontend import FrontendConfig
from asc_jax.runtime.errors import InputError

FRONTEND = FrontendConfig(sr=16_000, n_fft=512, win_length=512, hop_length=256, n_mels=8)
SETTINGS = {
    "kind": "waveform",
    "frontend": FRONTEND,
    "clip_seconds": 0.1,
    "n_frames": 0,
    "channels": 2,
}
TINY = {
    "n_cities": 1,
    "locations_per_scene": 2,
    "clips_per_location": 1,
    "clip_seconds": 0.1,
    "sr": 16_000,
}


@pytest.fixture
def tiny(tmp_path):
    return read_dataset(write_synthetic_dataset(tmp_path / "set", **TINY))


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    return tmp_path / "cache"


def load(dataset, folder, **settings):
    decoding = Decoding(**SETTINGS | settings)
    return load_pool(dataset, dataset.scene_labels, decoding, cache_dir=folder)[0]


def entries(folder) -> list[pathlib.Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def assert_equal(pool, other) -> None:
    jax.tree.map(np.testing.assert_array_equal, pool, other)


@pytest.fixture
def decoded(monkeypatch) -> list[pathlib.Path]:
    """The clips that were decoded so far."""
    paths, decode = [], audio.decode

    def count(path):
        if path.parent.name == "audio":
            paths.append(path)
        return decode(path)

    monkeypatch.setattr(audio, "decode", count)
    return paths


def test_a_second_run_decodes_nothing(tiny, folder, decoded):
    first = load(tiny, folder)
    assert len(decoded) == len(tiny.clips)
    assert isinstance(first.values, np.memmap) and first.values.dtype == np.int16
    decoded.clear()
    assert_equal(load(tiny, folder), first)
    assert decoded == []
    assert len(entries(folder)) == 1


def test_the_default_folder_is_the_users(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    load(tiny, "")
    assert len(entries(tmp_path / "xdg" / "asc_jax")) == 1


def test_a_touched_file_makes_it_stale(tiny, folder, decoded):
    first = load(tiny, folder)
    path = tiny.audio_path(tiny.clips[3])
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    decoded.clear()
    assert_equal(load(tiny, folder), first)
    assert len(decoded) == len(tiny.clips)


def test_another_file_of_the_same_size_and_time_makes_it_stale(tiny, folder):
    first = load(tiny, folder)
    path, other = (tiny.audio_path(tiny.clips[i]) for i in (0, 1))
    status = path.stat()
    assert other.stat().st_size == status.st_size
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = load(tiny, folder)
    np.testing.assert_array_equal(again.values[0], first.values[1])


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "waveform"},
        {"channels": 0},
        {"fit_length": True},
        {"clip_seconds": 0.11},
        {"n_frames": 3},
        {"frontend": dataclasses.replace(FRONTEND, log_floor=1e-5)},
    ],
    ids=list,
)
def test_other_settings_are_another_key(change):
    decoding = Decoding(**SETTINGS | {"kind": "log_mel"})
    other = dataclasses.replace(decoding, **change)
    assert json.dumps(other.key) != json.dumps(decoding.key)


def test_another_key_is_another_entry(tiny, folder, decoded):
    first = load(tiny, folder)
    decoded.clear()
    load(tiny, folder, channels=0)
    assert len(decoded) == len(tiny.clips)
    assert len(entries(folder)) == 2
    decoded.clear()
    assert_equal(load(tiny, folder), first)
    assert decoded == []


def test_the_digests_and_lengths_of_the_files_are_kept(tiny, folder, decoded):
    decoding = Decoding(**SETTINGS)
    paths = [tiny.audio_path(clip) for clip in tiny.clips]
    expected = [hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest() for path in paths]
    first = load_pool(tiny, tiny.scene_labels, decoding, cache_dir=folder)
    decoded.clear()
    again = load_pool(tiny, tiny.scene_labels, decoding, cache_dir=folder)
    assert decoded == []
    assert list(first.digests) == list(again.digests) == expected
    assert first.seconds.tolist() == again.seconds.tolist() == [0.1] * len(paths)


def power_law(waveform, cfg):
    return jnp.abs(frontend.stft(waveform, cfg)[..., : cfg.n_mels]) ** 0.1


def half_of(function):
    return lambda *arguments, **options: function(*arguments, **options) / 2


def louder(function, factor):
    def read(*arguments, **options):
        samples, number = function(*arguments, **options)
        return samples * factor, number

    return read


# The kind of pool that it changes, module, function, what takes its place.
REPLACED = {
    "mel_spectrogram": ("log_mel", frontend, "mel_spectrogram", power_law),
    "a function in log_mel": ("log_mel", frontend, "mel_to_hz", half_of(frontend.mel_to_hz)),
    "mono": ("waveform", audio, "mono", half_of(audio.mono)),
    "read_clip": ("waveform", audio, "read_clip", louder(audio.read_clip, 0.5)),
    "a library's": ("waveform", soxr, "resample", half_of(soxr.resample)),
    "a closure": ("waveform", audio, "decode", louder(audio.decode, 2)),
    "quantise": (
        "waveform",
        cache,
        "quantise",
        lambda values: (values.astype(np.int16), np.array([1, 0])),
    ),
}


@pytest.mark.parametrize(("kind", "module", "name", "function"), REPLACED.values(), ids=REPLACED)
def test_another_function_is_another_entry(tiny, folder, monkeypatch, kind, module, name, function):
    first = load(tiny, folder, kind=kind)
    monkeypatch.setattr(module, name, function)
    with_cache = load(tiny, folder, kind=kind)
    assert len(entries(folder)) == 2
    assert_equal(with_cache, load(tiny, folder / "fresh", kind=kind))
    monkeypatch.undo()
    assert_equal(load(tiny, folder, kind=kind), first)


def test_an_edited_package_is_another_entry_and_a_comment_in_the_frontend_is_not(
    tiny, folder, tmp_path
):
    """In processes of their own, as it is edited between two runs."""
    expected = load(tiny, folder, kind="log_mel")
    package = tmp_path / "edited" / "asc_jax"
    root = pathlib.Path(pool.__file__).parents[1]
    shutil.copytree(root, package, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys, numpy; from asc_jax.data import read_dataset; from asc_jax.data.pool import *;"
        "from asc_jax.frontend import FrontendConfig;"
        "d = read_dataset(sys.argv[1]); f = FrontendConfig(**eval(sys.argv[3]));"
        "p, *_ = load_pool(d, d.scene_labels, Decoding('log_mel', f, 0.1, channels=2),"
        "cache_dir=sys.argv[2]); numpy.save(sys.argv[4], p.values)"
    )
    fields = repr(dataclasses.asdict(FRONTEND))
    command = [sys.executable, "-c", code, str(tiny.root), str(folder), fields]

    def edit(name: str, old: str, new: str) -> np.ndarray:
        text = (package / name).read_text()
        assert old in text
        (package / name).write_text(text.replace(old, new))
        out = tmp_path / "values.npy"
        subprocess.run([*command, str(out)], cwd=package.parent, check=True)
        return np.load(out)

    values = edit("frontend.py", "import math\n", "# A comment.\nimport math\n")
    np.testing.assert_array_equal(values, expected.values)
    assert len(entries(folder)) == 1
    values = edit("frontend.py", "jnp.log(mel_spectrogram", "-(mel_spectrogram")
    assert len(entries(folder)) == 2
    assert (values != expected.values).any()


def test_what_decodes_is_known_by_its_files_and_the_log_mel_by_its_program():
    named = decoding.written_in()
    assert {"data/decoding.py", "data/audio.py", "data/wav.py", "data/cache.py"} <= named.keys()
    assert "frontend.py" not in named


def truncate(name, n_bytes):
    return lambda entry: os.truncate(entry / name, n_bytes)


def flip(name):
    def damage(entry):
        content = bytearray((entry / name).read_bytes())
        content[-3] ^= 1
        (entry / name).write_bytes(content)

    return damage


def replace(name, text):
    return lambda entry: (entry / name).write_text(text)


def remove(name):
    return lambda entry: (entry / name).unlink()


def other_digest(entry):
    written = json.loads((entry / "fingerprint.json").read_text())
    written["digests"][2] = "e"
    (entry / "fingerprint.json").write_text(json.dumps(written))


DAMAGE = {
    "values cut": truncate("values.npy", 100),
    "values flipped": flip("values.npy"),
    "values gone": remove("values.npy"),
    "affine flipped": flip("affine.npy"),
    "seconds flipped": flip("seconds.npy"),
    "another digest": other_digest,
    "fingerprint gone": remove("fingerprint.json"),
    "fingerprint cut": truncate("fingerprint.json", 30),
    "fingerprint garbage": replace("fingerprint.json", "\0\xff{"),
    "fingerprint a list": replace("fingerprint.json", "[]"),
    "fingerprint another's": replace("fingerprint.json", '{"made_of": {}, "checksum": ""}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_entry_is_made_again(tmp_path, damage):
    made_of, clips = plain_entry(tmp_path)
    first = cache.store(tmp_path / "cache", made_of, iter(clips))
    values, affine, seconds = map(np.array, first[:3])
    assert first.digests == ("a", "b", "c", "d")
    (entry,) = entries(tmp_path / "cache")
    damage(entry)
    assert cache.load(tmp_path / "cache", made_of) is None
    again = cache.store(tmp_path / "cache", made_of, iter(clips))
    np.testing.assert_array_equal(again[0], values)
    np.testing.assert_array_equal(again[1], affine)
    np.testing.assert_array_equal(again[2], seconds)
    assert again.digests == first.digests
    assert entries(tmp_path / "cache") == [entry]


def plain_entry(tmp_path):
    """What makes an entry of four clips, without audio."""
    paths = [tmp_path / f"{i}.wav" for i in range(4)]
    for path in paths:
        path.write_bytes(b"RIFF")
    made_of = cache.fingerprint(paths, {"kind": "log_mel", "n_frames": 5})
    values = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    return made_of, list(zip(values, np.arange(4.0), "abcd", strict=True))


def test_a_stop_while_writing_leaves_nothing(tmp_path):
    made_of, clips = plain_entry(tmp_path)

    def stopped():
        yield clips[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.store(tmp_path / "cache", made_of, stopped())
    assert entries(tmp_path / "cache") == []
    assert cache.load(tmp_path / "cache", made_of) is None


def test_bad_files_leave_nothing(tiny, folder):
    tiny.audio_path(tiny.clips[4]).write_bytes(b"")
    tiny.audio_path(tiny.clips[9]).write_bytes(b"<html>" * 99)
    with pytest.raises(InputError) as caught:
        load(tiny, folder)
    assert len(str(caught.value).splitlines()) == 2
    assert entries(folder) == []


def test_a_leftover_of_a_killed_process_is_no_obstacle(tmp_path):
    """In a container the next process has the same number."""
    made_of, clips = plain_entry(tmp_path)
    cache.store(tmp_path / "cache", made_of, iter(clips))
    (entry,) = entries(tmp_path / "cache")
    leftover = entry.rename(entry.with_name(f"{entry.name}.partial-{os.getpid()}"))
    (leftover / "fingerprint.json").unlink()
    values = cache.store(tmp_path / "cache", made_of, iter(clips)).values
    assert len(values) == 4


def test_one_at_a_time_makes_an_entry_and_the_next_finds_it(tmp_path):
    made_of, clips = plain_entry(tmp_path)
    begun, goes_on = threading.Event(), threading.Event()

    def slowly():
        begun.set()
        goes_on.wait(timeout=60)
        yield from clips

    def never():
        raise AssertionError("the entry is made twice")
        yield

    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(cache.store, tmp_path / "cache", made_of, slowly())
        assert begun.wait(timeout=60)
        second = pool.submit(cache.store, tmp_path / "cache", made_of, never())
        goes_on.set()
        values, again = (future.result(timeout=60)[0] for future in (first, second))
    np.testing.assert_array_equal(values, again)
    assert len(entries(tmp_path / "cache")) == 1


def test_a_third_finds_the_lock_of_those_who_wait(tmp_path, monkeypatch):
    """The first fails, the second waits for it; a third must not build beside the second."""
    made_of, clips = plain_entry(tmp_path)
    lock = cache._entry(tmp_path / "cache", made_of).with_suffix(".lock")
    begun, waits, goes_on, builds, ends = (threading.Event() for _ in range(5))
    flock = fcntl.flock

    def opened(*arguments):
        if begun.is_set():
            waits.set()  # the second has opened the lock of the first
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", opened)

    def failing():
        begun.set()
        assert goes_on.wait(timeout=60)
        raise InputError("is bad", path="bad.wav")
        yield

    def slowly():
        builds.set()
        assert ends.wait(timeout=60)
        yield from clips

    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(cache.store, tmp_path / "cache", made_of, failing())
        assert begun.wait(timeout=60)
        second = pool.submit(cache.store, tmp_path / "cache", made_of, slowly())
        assert waits.wait(timeout=60)
        goes_on.set()
        assert builds.wait(timeout=60)
        try:
            with lock.open("r+") as third, pytest.raises(BlockingIOError):
                flock(third, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            ends.set()
        with refused(path="bad.wav"):
            first.result(timeout=60)
        assert len(second.result(timeout=60).values) == 4
    assert not lock.exists()


@pytest.mark.parametrize("below", ["", "further"])
def test_a_folder_that_cannot_be_written_is_a_warning(tiny, folder, tmp_path, capsys, below):
    expected = load(tiny, folder)
    (tmp_path / "taken").write_text("mine")
    place = tmp_path / "taken" / below
    assert_equal(load(tiny, place), expected)
    (line,) = capsys.readouterr().err.splitlines()
    assert str(place) in line and "data.cache_dir" in line
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_full_disk(tmp_path, mount_disk):
    disk, _ = mount_disk("64k")
    made_of, _ = plain_entry(tmp_path)
    clips = itertools.repeat((np.linspace(0, 1, 20_000, dtype=np.float32), 1.0, "a"), 4)
    with pytest.raises(OSError) as caught:
        cache.store(disk, made_of, clips)
    assert caught.value.errno == errno.ENOSPC
    assert entries(disk) == []


def read(values, rows) -> np.ndarray:
    out = np.zeros((len(rows), *values.shape[1:]), values.dtype)
    cache.read_rows(values, np.array(rows), out)
    return out


def test_rows_are_read_as_the_map_shows_them(tiny, folder):
    values = load(tiny, folder).values
    for rows in ([0], [3, 1, 3, len(values) - 1], []):
        np.testing.assert_array_equal(read(values, rows), np.asarray(values)[rows])
    # A part of a map, and an array, are read as well.
    np.testing.assert_array_equal(read(values[5:], [2]), np.asarray(values)[[7]])
    np.testing.assert_array_equal(read(np.array(values), [2]), np.asarray(values)[[2]])


@pytest.mark.parametrize("damage", ["truncate", "delete"])
def test_a_file_that_is_damaged_while_in_use_is_one_line(tiny, folder, damage):
    values = load(tiny, folder).values
    (path,) = folder.glob("*/values.npy")
    if damage == "truncate":
        os.truncate(path, values.offset + 3 * values[0].nbytes - 1)
        read(values, [0, 1])
    else:
        path.unlink()
    with refused(path=path):
        read(values, [2])
    assert len(load(tiny, folder).values) == len(tiny.clips)  # so it does
