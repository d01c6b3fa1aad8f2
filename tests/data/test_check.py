"""What `data check` says of a data set."""

import shutil

import numpy as np
import pytest
import soundfile

from asc_jax.data import read_dataset
from asc_jax.data.check import check_dataset
from asc_jax.errors import InputError


def test_the_procedural_set(scenes):
    text = check_dataset(scenes)
    assert text.startswith(f"{scenes}: 80 clips, 40 locations\n")
    for label in read_dataset(scenes).scene_labels:
        (line,) = [line for line in text.splitlines() if line.split()[0] == label]
        assert line.split()[1:] == ["8", "clips", "4", "locations"]
    assert "fold 1: 56 train, 24 evaluate" in text
    assert text.endswith("80 files of 1 s, 48000 Hz, 2 channels")


def test_every_format_is_told_the_commonest_first(scenes, tmp_path):
    root = shutil.copytree(scenes, tmp_path / "set")
    odd = root / read_dataset(root).clips[0].path
    soundfile.write(odd, np.zeros(22_050), 44_100)
    lines = check_dataset(root).splitlines()
    assert lines[-2].strip() == "79 files of 1 s, 48000 Hz, 2 channels"
    assert lines[-1].strip() == "1 file of 0.5 s, 44100 Hz, 1 channel"


def test_lengths_are_told_to_a_hundredth_of_a_second(scenes, tmp_path):
    root = shutil.copytree(scenes, tmp_path / "set")
    for clip, n_samples in zip(read_dataset(root).clips, (44_721, 44_699), strict=False):
        soundfile.write(root / clip.path, np.zeros(n_samples), 44_100)  # a codec's padding
    lines = check_dataset(root).splitlines()
    assert lines[-1].strip() == "2 files of 1.01 s, 44100 Hz, 1 channel"


def test_all_bad_files_are_listed(scenes, tmp_path):
    root = shutil.copytree(scenes, tmp_path / "set")
    paths = [root / clip.path for clip in read_dataset(root).clips]
    paths[4].write_bytes(b"")
    paths[50].write_bytes(paths[50].read_bytes()[:5000])
    paths[79].write_text("not audio")
    for number in (0, 60, 61, 62):
        paths[number].unlink()
    with pytest.raises(InputError) as refused:
        check_dataset(root)
    lines = str(refused.value).splitlines()
    gone = ("no such file", "restore it")
    expected = {0: gone, 4: ("empty", "replace"), 50: ("truncated", "replace"), 60: gone}
    expected |= {61: gone, 62: gone, 79: ("not readable", "replace")}
    for line, (number, words) in zip(lines, expected.items(), strict=True):
        assert line.startswith(f"{paths[number]}: ")
        assert all(word in line for word in words)


def test_audio_that_was_never_unpacked_is_one_line(scenes, tmp_path):
    root = shutil.copytree(scenes, tmp_path / "set")
    shutil.rmtree(root / "audio")
    with pytest.raises(InputError, match=r"80 of 80 listed files are not there .*\.\.\.\); unpack"):
        check_dataset(root)


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(InputError, match=r"meta\.csv: not found.*; FOLDER must be the folder"):
        check_dataset(tmp_path, argument="FOLDER")
    with pytest.raises(InputError, match=r"no such folder; FOLDER must be the folder"):
        check_dataset(tmp_path / "nowhere", argument="FOLDER")


def test_a_set_without_labels(scenes, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(scenes / "audio", root / "audio")
    (root / "evaluation_setup").mkdir()
    paths = [clip.path for clip in read_dataset(scenes).clips]
    (root / "evaluation_setup" / "test.txt").write_text("\n".join(paths))
    lines = check_dataset(root).splitlines()
    assert lines[0] == f"{root}: 80 clips, 40 locations"
    assert len(lines) == 2
