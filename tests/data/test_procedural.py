"""The procedural data set: its layout, its determinism, and what it refuses."""

import errno
import hashlib
import json
import pathlib
import shutil

import numpy as np
import pytest
import soundfile
from refusals import refused

from asc_jax.data import procedural
from asc_jax.data.clips import read_dataset
from asc_jax.data.procedural import write_synthetic_dataset

TINY = {"locations_per_scene": 2, "clips_per_location": 1, "clip_seconds": 0.2}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_synthetic_dataset(tmp_path_factory.mktemp("tiny") / "set", **TINY)


def digests(root: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_reads_back_as_a_dataset(tiny):
    dataset = read_dataset(tiny)
    assert len(dataset.clips) == 20
    assert dataset.scene_labels == (
        "airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall",
        "street_pedestrian", "street_traffic", "tram",
    )  # fmt: skip
    assert {clip.device for clip in dataset.clips} == {"a"}
    numbers = {clip.location.rpartition("-")[2] for clip in dataset.clips}
    assert len(numbers) == 20  # unique over the set, not only within a scene


def test_audio_format_and_levels(tiny):
    for path in sorted((tiny / "audio").iterdir()):
        info = soundfile.info(path)
        assert (info.subtype, info.channels, info.samplerate) == ("PCM_24", 2, 48000)
        assert info.frames == 9600
        waveform, _ = soundfile.read(path)
        peak_dbfs = 20 * np.log10(np.abs(waveform).max())
        assert -30.1 < peak_dbfs < -5.9
        correlation = np.corrcoef(waveform.T)[0, 1]
        assert 0.1 < correlation < 0.999


@pytest.mark.parametrize("scene_label", procedural.RECIPES)
def test_waveforms_are_finite_and_never_clip(scene_label):
    for sr, n_samples in ((16000, 1600), (44100, 30011)):  # the FFT must not mind a prime length
        waveform = procedural.scene_waveform(scene_label, 3, 1, seed=5, n_samples=n_samples, sr=sr)
        assert waveform.shape == (n_samples, 2)
        assert waveform.dtype == np.float32
        assert np.isfinite(waveform).all()
        assert np.abs(waveform).max() < 0.51


@pytest.mark.parametrize("locations_per_scene", [2, 3, 5])
def test_published_fold_holds_out_locations(tmp_path, monkeypatch, locations_per_scene):
    monkeypatch.setattr(procedural, "_wav_bytes", lambda waveform, sr: b"")
    sizes = {**TINY, "locations_per_scene": locations_per_scene, "clip_seconds": 0.1}
    dataset = read_dataset(write_synthetic_dataset(tmp_path / "set", **sizes))
    fold = dataset.published_folds[1]
    sides = [[dataset.clips[i] for i in part] for part in (fold.train, fold.evaluate)]
    for side in sides:
        assert {clip.scene_label for clip in side} == set(dataset.scene_labels)
    locations = [{clip.location for clip in side} for side in sides]
    assert not locations[0] & locations[1]
    assert sum(map(len, sides)) == len(dataset.clips)
    if locations_per_scene > 2:
        assert 0.25 < len(locations[1]) / sum(map(len, locations)) < 0.36
    assert {clip.city for clip in dataset.clips} == {"alder", "birch", "cedar"}


def test_bytes_depend_on_the_seed_and_not_on_the_workers(tmp_path, tiny):
    threaded = digests(write_synthetic_dataset(tmp_path / "threaded", workers=4, **TINY))
    assert threaded == digests(tiny)
    other = digests(write_synthetic_dataset(tmp_path / "other", seed=1, **TINY))
    audio = [name for name in threaded if name.startswith("audio")]
    assert all(threaded[name] != other[name] for name in audio)
    assert len({threaded[name] for name in audio}) == len(audio)


def test_longer_locations_keep_the_earlier_clips(tmp_path, tiny):
    """A clip is drawn from its own numbers, so adding clips changes none."""
    more = digests(write_synthetic_dataset(tmp_path / "more", **{**TINY, "clips_per_location": 2}))
    assert all(
        more[name] == digest for name, digest in digests(tiny).items() if name.startswith("audio")
    )


def test_an_interrupted_run_is_completed(tmp_path, monkeypatch, tiny):
    root = tmp_path / "set"
    whole, calls = procedural._wav_bytes, []

    def stop_at_the_sixth(waveform, sr):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return whole(waveform, sr)

    monkeypatch.setattr(procedural, "_wav_bytes", stop_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic_dataset(root, workers=1, **TINY)
    assert not (root / "meta.csv").exists()
    assert 0 < len(list((root / "audio").iterdir())) < 20
    (root / "audio" / "tram-birch-19-0-a.wav.part").write_bytes(b"half a clip")

    monkeypatch.setattr(procedural, "_wav_bytes", whole)
    write_synthetic_dataset(root, **TINY)
    assert digests(root) == digests(tiny)


def test_a_complete_output_is_left_alone(tmp_path, monkeypatch):
    root = write_synthetic_dataset(tmp_path / "set", **TINY)
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    monkeypatch.setattr(procedural, "scene_waveform", None)
    assert write_synthetic_dataset(root, **TINY) == root
    assert times == {path: path.stat().st_mtime_ns for path in root.rglob("*")}


@pytest.mark.parametrize(
    ("name", "content"),
    [("thesis.txt", "mine"), ("synth.json", "no json"), ("synth.json", "[]"), ("synth.json", "{}")],
)
def test_a_foreign_folder_is_refused_and_untouched(tmp_path, name, content):
    """Another program's synth.json is foreign too."""
    (tmp_path / name).write_text(content)
    with refused(path=tmp_path):
        write_synthetic_dataset(tmp_path, **TINY)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == content


def test_other_parameters_are_refused(tiny):
    before = digests(tiny)
    with refused(path=tiny) as caught:
        write_synthetic_dataset(tiny, seed=1, **TINY)
    assert "seed" in caught.value.message
    assert digests(tiny) == before
    assert json.loads((tiny / "synth.json").read_text())["seed"] == 0


def test_a_file_in_the_way_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "set"):
        with refused(path=root):
            write_synthetic_dataset(root, **TINY)


def test_a_full_disk_is_one_line_and_leaves_no_part(tmp_path, monkeypatch):
    root, write_bytes = tmp_path / "set", pathlib.Path.write_bytes

    def full(path, content):
        if path.name.endswith(".wav.part"):
            write_bytes(path, content[:100])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_bytes(path, content)

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with refused(path="-a.wav.part"):
        write_synthetic_dataset(root, **TINY)
    assert not list(root.rglob("*.part"))
    monkeypatch.undo()
    assert len(read_dataset(write_synthetic_dataset(root, **TINY)).clips) == 20


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("seed", 2**32),
        ("n_cities", 7),
        ("locations_per_scene", 1),
        ("clips_per_location", 10**9),
        ("clip_seconds", float("nan")),
        ("clip_seconds", 1e9),
        ("sr", 0),
        ("workers", 0),
    ],
)
def test_sizes_out_of_range_name_their_field(tmp_path, field, value):
    with refused(field=field) as caught:
        write_synthetic_dataset(tmp_path / "set", **{field: value})
    flag = {"seed": "--seed", "clip_seconds": "--seconds"}.get(field, "")
    assert flag in caught.value.message
    assert not (tmp_path / "set").exists()


def test_a_folder_name_that_no_disk_takes(tmp_path):
    with refused(path="x" * 300):
        write_synthetic_dataset(tmp_path / ("x" * 300), **TINY)


def test_a_set_that_the_disk_cannot_hold_is_refused_before_it_is_begun(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=20 * 57_600 - 1))
    with refused(path=tmp_path / "deep" / "set"):
        write_synthetic_dataset(tmp_path / "deep" / "set", **TINY)
    assert not (tmp_path / "deep").exists()


def test_room_is_needed_for_what_is_not_there_yet(tmp_path, monkeypatch, tiny):
    root = pathlib.Path(shutil.copytree(tiny, tmp_path / "set"))
    (root / "audio" / "tram-birch-19-0-a.wav").unlink()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=57_600))
    write_synthetic_dataset(root, **TINY)
    assert digests(root) == digests(tiny)
