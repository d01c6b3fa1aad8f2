"""What `data check` finds in a data set."""

import pathlib
import shutil

import numpy as np
import pytest
import soundfile
from refusals import refused

from asc_jax.data import read_dataset
from asc_jax.data.check import check_dataset
from asc_jax.report.dataset import render
from asc_jax.runtime.errors import InputError


@pytest.fixture
def root(scenes, tmp_path) -> pathlib.Path:
    """A copy of the procedural set: 80 clips of 1 s."""
    return pathlib.Path(shutil.copytree(scenes, tmp_path / "set"))


def write(path: pathlib.Path, n_samples: int, sr: int = 48_000, *, seed: int = 0) -> None:
    noise = np.random.default_rng([seed, n_samples]).uniform(-0.5, 0.5, n_samples)
    soundfile.write(path, noise, sr)


def test_the_procedural_set(scenes):
    found = check_dataset(scenes)
    labels = read_dataset(scenes).scene_labels
    assert found["classes"] == [
        {"scene_label": label, "n_clips": 8, "n_locations": 4} for label in labels
    ]
    assert found["folds"] == [{"fold": 1, "train": 56, "evaluate": 24}]
    assert sum(city["n_clips"] for city in found["cities"]) == 80
    assert found["devices"] == [{"device": "a", "n_clips": 80, "n_locations": 40}]
    assert found["formats"] == [
        {"ending": ".wav", "sr": 48_000, "channels": 2, "n_files": 80, "shortest": 1.0,
         "longest": 1.0, "files": []}
    ]  # fmt: skip
    assert not found["faults"] and not found["notes"] and not found["unreadable"]
    assert found["fields"] == "--config.data.clip_seconds=1 --config.data.channels=2"
    told = render(found)
    assert all(label in told for label in labels) and found["command"] in told


def test_formats_are_told_the_commonest_first(root):
    odd = read_dataset(root).clips[0].path
    write(root / odd, 22_050, 44_100)
    found = check_dataset(root)
    most, other = found["formats"]
    assert (most["n_files"], most["files"]) == (79, [])
    assert other == most | {"n_files": 1, "sr": 44_100, "channels": 1, "shortest": 0.5,
                            "longest": 0.5, "files": [odd]}  # fmt: skip
    assert "--config.data.fit_length=True --config.data.channels=0" in found["fields"]
    assert not found["faults"]


def test_a_set_without_published_folds_needs_others(root):
    assert "folds" not in check_dataset(root)["fields"]
    shutil.rmtree(root / "evaluation_setup")
    assert "--config.folds.kind=location" in check_dataset(root)["fields"]


def test_a_codecs_padding_is_no_other_length(root):
    for seed, (clip, n) in enumerate(zip(read_dataset(root).clips, (44_721, 44_699), strict=False)):
        write(root / clip.path, n, 44_100, seed=seed)
    assert "fit_length" not in check_dataset(root)["fields"]


def test_long_recordings_are_heard_whole(root):
    write(root / read_dataset(root).clips[0].path, 320_000, 8000)
    assert "--config.data.clip_seconds=40" in check_dataset(root)["command"]


def test_all_files_that_are_bad_are_found_at_once(root):
    names = [clip.path for clip in read_dataset(root).clips]
    paths = [root / name for name in names]
    paths[4].write_bytes(b"")
    for number in (50, 51, 52, 53, 54):
        paths[number].write_bytes(paths[number].read_bytes()[: 5000 + number])
    paths[79].write_text("not audio")
    for number in (0, 60, 61, 62):
        paths[number].unlink()
    paths[70].rename(paths[70].with_suffix(".WAV"))
    found = check_dataset(root)
    renamed, gone, empty, cut, unreadable = found["faults"]
    assert "1 of 80" in renamed and names[70].replace(".wav", ".WAV") in renamed
    assert "4 of 80" in gone and f"({names[0]}, {names[60]}, {names[61]}, ...)" in gone
    assert empty.startswith(f"{paths[4]}: ")
    assert cut.startswith(f"{paths[50]}: ") and "4 more of 80" in cut and str(paths[51]) in cut
    assert unreadable.startswith(f"{paths[79]}: ")
    assert set(found["unreadable"]) == {names[i] for i in (4, 50, 51, 52, 53, 54, 79)}
    assert found["formats"][0]["n_files"] == 68


def test_sounds_that_training_would_suffer_from(root):
    names = [clip.path for clip in read_dataset(root).clips]
    for name, level in zip(names, (0.0, 1e-5, 0.25), strict=False):
        soundfile.write(root / name, np.full(48_000, level), 48_000, subtype="PCM_24")
    loud = np.clip(3 * np.sin(np.arange(48_000) / 20), -1, 1)
    soundfile.write(root / names[3], loud, 48_000)
    found = check_dataset(root)
    silent, constant = found["faults"]
    assert f"2 of 80 ({names[0]}, {names[1]})" in silent
    assert f"1 of 80 ({names[2]})" in constant
    assert f"1 of 80 ({names[3]})" in found["notes"][0]


def test_copies_are_found_by_their_sound(root):
    """Also in another format, and under another name."""
    clips = read_dataset(root).clips
    first = clips[0]
    sibling = next(c for c in clips[1:] if c.location == first.location)
    other_place = next(
        c for c in clips if c.scene_label == first.scene_label and c.location != first.location
    )
    other_label = next(c for c in clips if c.scene_label != first.scene_label)
    samples, sr = soundfile.read(root / first.path)
    soundfile.write(root / sibling.path, samples, sr, subtype="PCM_24")
    found = check_dataset(root)
    assert not found["faults"] and f"{first.path} = {sibling.path}" in found["notes"][0]
    soundfile.write(root / sibling.path, samples[::-1], sr)
    soundfile.write(root / other_place.path, samples, sr, format="FLAC", subtype="PCM_24")
    (fault,) = check_dataset(root)["faults"]
    assert f"{first.path} = {other_place.path}" in fault
    soundfile.write(root / other_place.path, samples[::2], sr)
    soundfile.write(root / other_label.path, samples, sr, subtype="PCM_24")
    (fault,) = check_dataset(root)["faults"]
    assert f"{first.path} = {other_label.path}" in fault


def test_folds_that_share_a_location_and_classes_that_lack_one(root):
    dataset = read_dataset(root)
    lists = root / "evaluation_setup"
    held_out = (lists / "fold1_evaluate.txt").read_text().splitlines()
    with (lists / "fold1_train.txt").open("a") as file:
        file.write(f"{held_out[0]}\n")
    (fault,) = check_dataset(root)["faults"]
    leaked = next(c for c in dataset.clips if c.path == held_out[0].split("\t")[0])
    assert leaked.location in fault
    shutil.rmtree(lists)
    rows = (root / "meta.csv").read_text().splitlines(keepends=True)
    bus = [c for c in dataset.clips if c.scene_label == "bus"]
    left_out = {c.path for c in bus if c.location != bus[0].location}
    (root / "meta.csv").write_text("".join(r for r in rows if r.split("\t")[0] not in left_out))
    found = check_dataset(root)
    (fault,) = found["faults"]
    assert "bus" in fault
    assert f"{len(left_out)} of 80" in found["notes"][0]  # files in no table


def test_audio_that_was_never_unpacked_is_one_fault(root):
    shutil.rmtree(root / "audio")
    (fault,) = check_dataset(root)["faults"]
    assert "80 of 80" in fault


@pytest.mark.parametrize("path", ["meta.csv", "nowhere"])
def test_a_folder_that_is_no_data_set(tmp_path, path):
    with refused(path=path) as caught:
        check_dataset(tmp_path if path == "meta.csv" else tmp_path / path, argument="FOLDER")
    assert "FOLDER" in caught.value.message


def test_a_set_without_labels(root):
    paths = [clip.path for clip in read_dataset(root).clips]
    (root / "meta.csv").unlink()
    shutil.rmtree(root / "evaluation_setup")
    (root / "evaluation_setup").mkdir()
    (root / "evaluation_setup" / "test.txt").write_text("\n".join(paths))
    found = check_dataset(root)
    assert not found["classes"] and not found["faults"] and not found["command"]
    assert "scene_label" in found["notes"][0]


def test_names_are_shown_in_a_line_each(tmp_path):
    for number, name in enumerate(("dog/a\x1b[2J.wav", "dog/b\nc.flac", "rain/a.wav")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, 8000, 8000, seed=number)
    (tmp_path / "rain" / "\x1b.wav").write_bytes(b"")
    found = check_dataset(tmp_path)
    assert all(map(str.isprintable, render(found).split("\n")))
    said = str(InputError("\n".join(found["faults"]), path=tmp_path))
    assert all(map(str.isprintable, said.split("\n"))) and "\\x1b.wav" in said
