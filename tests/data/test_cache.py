"""The cache: used when it is whole and current, made again in every other case."""

import concurrent.futures
import dataclasses
import errno
import itertools
import json
import os
import pathlib
import threading

import jax
import numpy as np
import pytest

from asc_jax.data import audio, cache, read_dataset
from asc_jax.data.pool import load_pool
from asc_jax.data.synth import write_synthetic_dataset
from asc_jax.errors import InputError
from asc_jax.frontend import FrontendConfig

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
    settings = {**SETTINGS, **settings}
    return load_pool(dataset, dataset.scene_labels, cache_dir=folder, **settings)


def entries(folder) -> list[pathlib.Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def assert_equal(pool, other) -> None:
    jax.tree.map(np.testing.assert_array_equal, pool, other)


@pytest.fixture
def decoded(monkeypatch) -> list[pathlib.Path]:
    """The files that were decoded so far."""
    paths, decode = [], audio.decode

    def count(path):
        paths.append(path)
        return decode(path)

    monkeypatch.setattr(audio, "decode", count)
    return paths


def test_a_second_run_decodes_nothing(tiny, folder, decoded, monkeypatch):
    first = load(tiny, folder)
    assert len(decoded) == len(tiny.clips)
    monkeypatch.setattr(audio, "decode", None)
    assert_equal(load(tiny, folder), first)
    assert len(entries(folder)) == 1


def test_values_are_mapped_not_read(tiny, folder):
    assert isinstance(load(tiny, folder).values, np.memmap)
    assert load(tiny, folder).values.dtype == np.int16


def test_the_default_folder_is_the_users(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    load(tiny, "")
    assert len(entries(tmp_path / "xdg" / "asc_jax")) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.default_cache_dir() == pathlib.Path.home() / ".cache" / "asc_jax"


def test_a_touched_file_makes_it_stale(tiny, folder, decoded):
    first = load(tiny, folder)
    path = tiny.audio_path(tiny.clips[3])
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    decoded.clear()
    assert_equal(load(tiny, folder), first)
    assert len(decoded) == len(tiny.clips)


def test_another_file_of_the_same_time_makes_it_stale(tiny, folder):
    first = load(tiny, folder)
    path, other = (tiny.audio_path(tiny.clips[i]) for i in (0, 1))
    status = path.stat()
    path.write_bytes(other.read_bytes() + b"\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = load(tiny, folder)
    np.testing.assert_array_equal(again.values[0], first.values[1])


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({}, {"kind": "log_mel"}),
        ({}, {"channels": 0}),
        ({}, {"fit_length": True}),
        ({}, {"clip_seconds": 0.11}),
        ({"kind": "log_mel"}, {"n_frames": 3}),
        ({"kind": "log_mel"}, {"frontend": dataclasses.replace(FRONTEND, log_floor=1e-5)}),
    ],
)
def test_other_settings_are_another_entry(tiny, folder, decoded, settings, change):
    first = load(tiny, folder, **settings)
    decoded.clear()
    load(tiny, folder, **{**settings, **change})
    assert len(decoded) == len(tiny.clips)
    assert len(entries(folder)) == 2
    decoded.clear()
    assert_equal(load(tiny, folder, **settings), first)
    assert decoded == []


def test_the_number_of_workers_changes_nothing(tiny, folder, decoded):
    first = load(tiny, folder, workers=1)
    decoded.clear()
    assert_equal(load(tiny, folder, workers=3), first)
    assert decoded == []


def truncate(name, n_bytes=100):
    def damage(entry):
        content = (entry / name).read_bytes()
        (entry / name).write_bytes(content[:n_bytes])

    return damage


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


DAMAGE = {
    "values cut": truncate("values.npy"),
    "values empty": truncate("values.npy", 0),
    "values flipped": flip("values.npy"),
    "values gone": remove("values.npy"),
    "affine flipped": flip("affine.npy"),
    "affine gone": remove("affine.npy"),
    "fingerprint gone": remove("fingerprint.json"),
    "fingerprint cut": truncate("fingerprint.json", 30),
    "fingerprint empty": truncate("fingerprint.json", 0),
    "fingerprint garbage": replace("fingerprint.json", "\0\xff{"),
    "fingerprint a list": replace("fingerprint.json", "[]"),
    "fingerprint null": replace("fingerprint.json", "null"),
    "fingerprint a text": replace("fingerprint.json", '"made_of"'),
    "fingerprint another's": replace("fingerprint.json", '{"made_of": {}, "checksum": ""}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_entry_is_made_again(tmp_path, damage):
    made_of, clips = plain_entry(tmp_path)
    values, affine = map(np.array, cache.store(tmp_path / "cache", made_of, iter(clips)))
    (entry,) = entries(tmp_path / "cache")
    damage(entry)
    assert cache.load(tmp_path / "cache", made_of) is None
    again = cache.store(tmp_path / "cache", made_of, iter(clips))
    np.testing.assert_array_equal(again[0], values)
    np.testing.assert_array_equal(again[1], affine)
    assert entries(tmp_path / "cache") == [entry]


def test_a_damaged_entry_is_decoded_again(tiny, folder, decoded):
    first = jax.tree.map(np.array, load(tiny, folder))
    flip("values.npy")(entries(folder)[0])
    decoded.clear()
    assert_equal(load(tiny, folder), first)
    assert len(decoded) == len(tiny.clips)


def plain_entry(tmp_path):
    """What makes an entry of four clips, without audio."""
    paths = [tmp_path / f"{i}.wav" for i in range(4)]
    for path in paths:
        path.write_bytes(b"RIFF")
    made_of = cache.fingerprint(paths, {"kind": "log_mel", "n_frames": 5})
    return made_of, np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)


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
    with pytest.raises(InputError) as refused:
        load(tiny, folder)
    assert len(str(refused.value).splitlines()) == 2
    assert entries(folder) == []


def test_a_leftover_of_a_killed_process_is_no_obstacle(tmp_path):
    """In a container the next process has the same number."""
    made_of, clips = plain_entry(tmp_path)
    cache.store(tmp_path / "cache", made_of, iter(clips))
    (entry,) = entries(tmp_path / "cache")
    leftover = entry.rename(entry.with_name(f"{entry.name}.partial-{os.getpid()}"))
    (leftover / "fingerprint.json").unlink()
    values, _ = cache.store(tmp_path / "cache", made_of, iter(clips))
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


@pytest.mark.parametrize("below", ["", "further"])
def test_a_file_in_the_place_of_the_folder(tiny, tmp_path, below):
    (tmp_path / "taken").write_text("mine")
    place = tmp_path / "taken" / below
    with pytest.raises(InputError) as refused:
        load(tiny, place)
    message = str(refused.value)
    assert message.startswith(f"{place}: the cache cannot be written (")
    assert "data.cache_dir" in message
    assert "\n" not in message
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_disk_that_reports_itself_full(tmp_path, monkeypatch):
    made_of, clips = plain_entry(tmp_path)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=rf"^{tmp_path / 'cache'}: .*No space left.*free some"):
        cache.store(tmp_path / "cache", made_of, iter(clips))
    assert entries(tmp_path / "cache") == []


def test_a_full_disk(tmp_path, mount_disk):
    disk, _ = mount_disk("64k")
    made_of, _ = plain_entry(tmp_path)
    clips = itertools.repeat(np.linspace(0, 1, 20_000, dtype=np.float32), 4)
    with pytest.raises(InputError, match=rf"^{disk}: .*No space left on device"):
        cache.store(disk, made_of, clips)
    assert entries(disk) == []


def test_the_fingerprint_is_plain_json(tmp_path):
    made_of, _ = plain_entry(tmp_path)
    assert json.loads(json.dumps(made_of)) == made_of


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
    with pytest.raises(InputError) as refused:
        read(values, [2])
    message = str(refused.value)
    assert message.startswith(f"{path}: can no longer be read (") and "\n" not in message
    assert "run the same command again" in message
    assert len(load(tiny, folder).values) == len(tiny.clips)  # so it does
