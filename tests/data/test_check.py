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
    assert lines[-1].strip() == "1 files of 0.5 s, 44100 Hz, 1 channels"


def test_all_bad_files_are_listed(scenes, tmp_path):
    root = shutil.copytree(scenes, tmp_path / "set")
    paths = [root / clip.path for clip in read_dataset(root).clips]
    paths[4].write_bytes(b"")
    paths[50].write_bytes(paths[50].read_bytes()[:5000])
    paths[79].write_text("not audio")
    with pytest.raises(InputError) as refused:
        check_dataset(root)
    lines = str(refused.value).splitlines()
    for line, number, reason in zip(
        lines, (4, 50, 79), ("empty", "truncated", "not readable"), strict=True
    ):
        assert line.startswith(f"{paths[number]}: ")
        assert reason in line
        assert "replace" in line


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(InputError, match=r"meta\.csv: not found"):
        check_dataset(tmp_path)


def test_a_set_without_labels(scenes, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(scenes / "audio", root / "audio")
    (root / "evaluation_setup").mkdir()
    paths = [clip.path for clip in read_dataset(scenes).clips]
    (root / "evaluation_setup" / "test.txt").write_text("\n".join(paths))
    lines = check_dataset(root).splitlines()
    assert lines[0] == f"{root}: 80 clips, 40 locations"
    assert len(lines) == 2
