"""What `data check` says of a data set."""

import pathlib
import shutil

import numpy as np
import pytest
import soundfile
from refusals import refused

from asc_jax.data import read_dataset
from asc_jax.data.check import check_dataset
from asc_jax.runtime.errors import InputError


@pytest.fixture
def root(scenes, tmp_path) -> pathlib.Path:
    """A copy of the procedural set: 80 clips of 1 s."""
    return pathlib.Path(shutil.copytree(scenes, tmp_path / "set"))


def test_the_procedural_set(scenes):
    first, *lines, formats, fields = check_dataset(scenes).splitlines()
    assert str(scenes) in first and "80" in first and "40" in first
    for label in read_dataset(scenes).scene_labels:
        (line,) = [line for line in lines if line.split()[0] == label]
        assert line.split()[1::2] == ["8", "4"]  # clips, locations
    assert "1" in lines[-1] and "56" in lines[-1] and "24" in lines[-1]  # fold, its two sides
    assert [word for word in formats.split() if word.isdigit()] == ["80", "1", "48000", "2"]
    assert fields.endswith(" --config.data.clip_seconds=1 --config.data.channels=2")


def test_every_format_is_told_the_commonest_first(root):
    odd = read_dataset(root).clips[0].path
    soundfile.write(root / odd, np.zeros(22_050), 44_100)
    *_, most, other, fields = check_dataset(root).splitlines()
    assert most.split()[0] == "79"
    assert other.split()[0] == "1" and "0.5 s" in other and "44100 Hz" in other and odd in other
    assert fields.endswith(
        " --config.data.clip_seconds=1 --config.data.fit_length=True --config.data.channels=0"
    )


def test_clips_of_all_lengths_are_a_few_lines(root):
    for number, clip in enumerate(read_dataset(root).clips):
        soundfile.write(root / clip.path, np.zeros(800 + 80 * number), 8000)
    lines = check_dataset(root).splitlines()
    assert len(lines) < 20
    assert "76" in lines[-2] and "0.14 to 0.89 s" in lines[-2]
    assert "--config.data.fit_length=True --config.data.channels=1" in lines[-1]


def test_lengths_are_told_to_a_hundredth_of_a_second(root):
    for clip, n_samples in zip(read_dataset(root).clips, (44_721, 44_699), strict=False):
        soundfile.write(root / clip.path, np.zeros(n_samples), 44_100)  # a codec's padding
    *_, odd, fields = check_dataset(root).splitlines()
    assert odd.split()[0] == "2" and "1.01 s" in odd
    assert "fit_length" not in fields  # so much any config takes


def test_all_that_is_wrong_is_said_at_once(root):
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
    with pytest.raises(InputError) as caught:
        check_dataset(root)
    renamed, gone, empty, cut, unreadable, _, most, other, _ = str(caught.value).splitlines()
    assert "1 of 80" in renamed and names[70].replace(".wav", ".WAV") in renamed
    assert "4 of 80" in gone and f"({names[0]}, {names[60]}, {names[61]}, ...)" in gone
    assert empty.startswith(f"{paths[4]}: ")
    assert cut.startswith(f"{paths[50]}: ") and "4 more of 80" in cut and str(paths[51]) in cut
    assert unreadable.startswith(f"{paths[79]}: ")
    assert most.split()[0] == "67"
    assert other.split()[0] == "1" and names[1] in other


def test_audio_that_was_never_unpacked_is_one_line(root):
    shutil.rmtree(root / "audio")
    with refused() as caught:
        check_dataset(root)
    assert "80 of 80" in str(caught.value)


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
    first, *others = check_dataset(root).splitlines()
    assert "80" in first and "40" in first
    assert len(others) == 3 and "scene_label" in others[0]
