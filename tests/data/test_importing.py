"""Recordings brought into the layout of the TUT sets."""

import os
import pathlib
import re
import shutil

import numpy as np
import pytest
import soundfile
from refusals import refused

from asc_jax.data import read_dataset
from asc_jax.data.importing import import_dataset
from asc_jax.runtime.errors import InputError


@pytest.fixture
def source(tmp_path) -> pathlib.Path:
    """A folder per class."""
    for number, name in enumerate(("dog/day1 a.wav", "dog/day2.flac", "rain/day1.ogg")):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).uniform(-0.5, 0.5, 8000), 8000)
    return tmp_path / "source"


@pytest.mark.parametrize("link", [False, True])
def test_what_belongs_together_is_in_the_names(source, tmp_path, link):
    pattern = re.compile(r"(day\d)")
    dataset = import_dataset(source, tmp_path / "set", identifier=pattern, link=link)
    assert [(c.path, c.scene_label, c.location) for c in dataset.clips] == [
        ("audio/dog/day1 a.wav", "dog", "day1"),
        ("audio/dog/day2.flac", "dog", "day2"),
        ("audio/rain/day1.ogg", "rain", "day1"),
    ]
    for clip in dataset.clips:
        place = dataset.audio_path(clip)
        assert place.is_symlink() == link
        assert place.read_bytes() == (source / clip.path.removeprefix("audio/")).read_bytes()
    assert len(list(source.rglob("*.*"))) == 3


def test_a_stop_is_gone_on_from(source, tmp_path):
    import_dataset(source, tmp_path / "set")
    (tmp_path / "set" / "meta.csv").unlink()
    kept = tmp_path / "set" / "audio" / "dog" / "day2.flac"
    before = kept.stat().st_ino
    cut = tmp_path / "set" / "audio" / "rain" / "day1.ogg"
    cut.write_bytes(b"half")
    dataset = import_dataset(source, tmp_path / "set")
    assert kept.stat().st_ino == before and cut.stat().st_size > 4
    assert dataset.no_identifiers


def test_a_file_of_another_source_is_not_taken_for_done(source, tmp_path):
    """Recordings of one length have one size."""
    import_dataset(source, tmp_path / "set")
    (tmp_path / "set" / "meta.csv").unlink()
    other = shutil.copytree(source, tmp_path / "other")
    path = other / "dog" / "day1 a.wav"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    import_dataset(other, tmp_path / "set")
    assert (tmp_path / "set" / "audio" / "dog" / "day1 a.wav").read_bytes() == bytes(content)


def test_lists_of_another_set_are_not_mixed_in(source, scenes, tmp_path):
    import_dataset(scenes, tmp_path / "set", link=True)
    (tmp_path / "set" / "meta.csv").unlink()
    with refused(path=tmp_path / "set"):
        import_dataset(source, tmp_path / "set")
    assert not (tmp_path / "set" / "audio" / "dog").exists()


def test_names_of_tuts_form_take_no_other_identifier(scenes, tmp_path):
    """They would be read by their names all the same."""
    with refused(field="--identifier"):
        import_dataset(scenes, tmp_path / "set", identifier=re.compile("-([a-z]+)-"))
    assert not (tmp_path / "set").exists()


def test_folds_and_identifiers_come_along(scenes, tmp_path):
    before, after = read_dataset(scenes), import_dataset(scenes, tmp_path / "set", link=True)
    assert after.clips == before.clips
    assert after.published_folds == before.published_folds


def test_what_cannot_be_brought_leaves_nothing(source, tmp_path):
    with refused(field="--identifier", path=source / "dog/day1 a.wav"):
        import_dataset(source, tmp_path / "set", identifier=re.compile("day2"))
    with refused(path=source / "inside"):
        import_dataset(source, source / "inside")
    (source / "dog" / "tab\there.wav").write_bytes((source / "dog" / "day1 a.wav").read_bytes())
    with refused(path=source / "dog/tab\there.wav"):
        import_dataset(source, tmp_path / "set")
    assert not (tmp_path / "set").exists() and not (source / "inside").exists()
    (source / "dog" / "tab\there.wav").unlink()
    import_dataset(source, tmp_path / "set")
    with refused(path=tmp_path / "set"):
        import_dataset(source, tmp_path / "set")


@pytest.mark.parametrize(
    "names",
    [
        ["a.wav", "audio/a.wav"],
        ["audio/a.wav.part", "audio/a.wav"],
        ["audio/day1.wav", "audio/DAY1.wav"],
        ["audio/day1.wav", "audio/folder"],
    ],
)
def test_names_that_would_be_lost_on_the_way(source, tmp_path, names):
    """Refused before anything is copied, or brought whole."""
    other = tmp_path / "other"
    (other / "audio" / "folder").mkdir(parents=True)
    for number, name in enumerate(names):
        if name != "audio/folder":
            (other / name).write_bytes(b"sound" + bytes(number))
    (other / "meta.csv").write_text("".join(f"{name}\tdog\n" for name in names))
    try:
        dataset = import_dataset(other, tmp_path / "set", identifier=re.compile("day1|DAY1|[^/]+$"))
    except InputError:
        assert not (tmp_path / "set").exists()
    else:
        brought = [dataset.audio_path(clip).read_bytes() for clip in dataset.clips]
        assert brought == [(other / name).read_bytes() for name in names]


def test_a_name_that_is_not_utf8_leaves_nothing(source, tmp_path):
    name = os.fsdecode(b"day1 \xff.wav")
    (source / "dog" / name).write_bytes(b"sound")
    with refused(path=f"dog/{name}"):
        import_dataset(source, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_line_break_in_an_identifier_leaves_nothing(source, tmp_path):
    (source / "meta").mkdir()
    (source / "dog").rename(source / "audio")
    shutil.rmtree(source / "rain")
    rows = 'filename,fold,category,src_file\nday1 a.wav,1,dog,"x\ny"\nday2.flac,2,dog,z\n'
    (source / "meta" / "esc50.csv").write_text(rows)
    with refused(path=source):
        import_dataset(source, tmp_path / "set")
    assert not (tmp_path / "set").exists()
