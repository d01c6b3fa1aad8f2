"""What `data check` says of a data set."""

import shutil

import numpy as np
import pytest
import soundfile

from asc_jax.data import read_dataset
from asc_jax.data.check import check_dataset
from asc_jax.runtime.errors import InputError


def test_the_procedural_set(scenes):
    text = check_dataset(scenes)
    assert text.startswith(f"{scenes}: 80 clips, 40 locations\n")
    for label in read_dataset(scenes).scene_labels:
        (line,) = [line for line in text.splitlines() if line.split()[0] == label]
        assert line.split()[1:] == ["8", "clips", "4", "locations"]
    assert "fold 1: 56 train, 24 evaluate" in text
    assert "80 files of 1 s, 48000 Hz, 2 channels" in text
    assert text.endswith(" --config.data.clip_seconds=1 --config.data.channels=2")


def test_every_format_is_told_the_commonest_first(scenes, tmp_path):
    root = shutil.copytree(scenes, tmp_path / "set")
    odd = root / read_dataset(root).clips[0].path
    soundfile.write(odd, np.zeros(22_050), 44_100)
    *_, most, odd, fields = check_dataset(root).splitlines()
    assert most.strip() == "79 files of 1 s, 48000 Hz, 2 channels"
    assert odd.strip().startswith("1 file of 0.5 s, 44100 Hz, 1 channel (audio/")
    assert fields.endswith(
        " --config.data.clip_seconds=1 --config.data.fit_length=True --config.data.channels=0"
    )


def test_clips_of_all_lengths_are_a_few_lines(scenes, tmp_path):
    root = shutil.copytree(scenes, tmp_path / "set")
    for number, clip in enumerate(read_dataset(root).clips):
        soundfile.write(root / clip.path, np.zeros(800 + 80 * number), 8000)
    lines = check_dataset(root).splitlines()
    assert len(lines) < 20
    assert lines[-2].strip() == "76 files of 76 other formats, 0.14 to 0.89 s"
    assert "--config.data.fit_length=True --config.data.channels=1" in lines[-1]


def test_lengths_are_told_to_a_hundredth_of_a_second(scenes, tmp_path):
    root = shutil.copytree(scenes, tmp_path / "set")
    for clip, n_samples in zip(read_dataset(root).clips, (44_721, 44_699), strict=False):
        soundfile.write(root / clip.path, np.zeros(n_samples), 44_100)  # a codec's padding
    *_, odd, fields = check_dataset(root).splitlines()
    assert odd.strip().startswith("2 files of 1.01 s, 44100 Hz, 1 channel (audio/")
    assert "fit_length" not in fields  # so much any config takes


def test_all_that_is_wrong_is_said_at_once(scenes, tmp_path):
    root = shutil.copytree(scenes, tmp_path / "set")
    names = [clip.path for clip in read_dataset(root).clips]
    paths = [root / name for name in names]
    paths[4].write_bytes(b"")
    for number in (50, 51, 52, 53, 54):
        paths[number].write_bytes(paths[number].read_bytes()[: 5000 + number])
    paths[79].write_text("not audio")
    for number in (0, 60, 61, 62):
        paths[number].unlink()
    paths[70].rename(paths[70].with_suffix(".WAV"))
    soundfile.write(paths[1], np.zeros(22_050), 44_100)
    with pytest.raises(InputError) as refused:
        check_dataset(root)
    renamed, gone, empty, cut, unreadable, *others = str(refused.value).splitlines()
    assert renamed.startswith(f"{root}: 1 of 80 ")
    assert f"{names[70]} is {names[70].replace('.wav', '.WAV')}" in renamed
    assert gone.startswith(f"{root}: 4 of 80 ")
    assert f"({names[0]}, {names[60]}, {names[61]}, ...)" in gone
    assert empty.startswith(f"{paths[4]}: ")
    assert cut.startswith(f"{paths[50]}: truncated")
    assert cut.endswith(f"(and 4 more of 80 files: {paths[51]}, {paths[52]}, ...)")
    assert unreadable.startswith(f"{paths[79]}: not readable")
    assert "67 files of 1 s" in others[1]
    assert f"1 file of 0.5 s, 44100 Hz, 1 channel ({names[1]})" in others[2]


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
    assert len(lines) == 3
