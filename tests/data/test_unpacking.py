"""Archives of the data set's layout, and such as no data set has."""

import pathlib
import stat
import tempfile
import zipfile

import pytest
from archive_server import zipped
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from asc_jax.data.unpacking import is_unpacked, unpack

TOP = "TUT-urban-acoustic-scenes-2018-development"
FILES = {f"audio/tram-paris-1-{n}-a.wav": bytes([n]) * 3000 for n in range(5)}


def put(folder: pathlib.Path, content: bytes, name: str = "set.audio.1.zip") -> pathlib.Path:
    path = folder / name
    path.write_bytes(content)
    return path


def files_in(root: pathlib.Path) -> dict[str, bytes]:
    """All files below a folder but for the records."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if not path.is_dir() and not path.is_relative_to(root / ".download")
    }


@pytest.mark.parametrize("top", [TOP, "other", ""])
@pytest.mark.parametrize("more", [{}, {"README.md": b"terms", "evaluation_setup/test.txt": b"x"}])
def test_the_shared_folder_is_left_out_and_no_other(tmp_path, top, more):
    root = tmp_path / "set"
    unpack(put(tmp_path, zipped(FILES | more, top)), root)
    assert files_in(root) == FILES | more
    assert is_unpacked(root, "set.audio.1.zip") and not is_unpacked(root, "set.audio.2.zip")


@pytest.mark.parametrize("change", [pathlib.Path.unlink, lambda path: path.write_bytes(b"cut")])
def test_what_has_gone_is_seen(tmp_path, change):
    path, root = put(tmp_path, zipped(FILES, TOP)), tmp_path / "set"
    unpack(path, root)
    change(root / next(iter(FILES)))
    assert not is_unpacked(root, path.name)


def test_a_damaged_record_is_none(tmp_path):
    path, root = put(tmp_path, zipped(FILES, TOP)), tmp_path / "set"
    unpack(path, root)
    (record,) = (root / ".download").iterdir()
    for content in ("", "[]", '{"a": ', '{"audio": []}'):
        record.write_text(content)
        assert not is_unpacked(root, path.name)


def test_files_that_are_there_stay(tmp_path):
    path, root = put(tmp_path, zipped(FILES, TOP)), tmp_path / "set"
    first = root / next(iter(FILES))
    first.parent.mkdir(parents=True)
    first.write_bytes(FILES[next(iter(FILES))])
    before = first.stat()
    unpack(path, root)
    assert first.stat().st_ino == before.st_ino and files_in(root) == FILES


def test_another_file_in_its_place_is_not_overwritten(tmp_path):
    path, root = put(tmp_path, zipped(FILES, TOP)), tmp_path / "set"
    last = root / list(FILES)[-1]
    last.parent.mkdir(parents=True)
    for content in (b"mine", b"?" * 3000):
        last.write_bytes(content)
        with refused(path=last):
            unpack(path, root)
        assert list(files_in(root).values()) == [content]


def test_more_than_the_disk_holds(tmp_path):
    path, root = tmp_path / "bomb.zip", tmp_path / "set"
    root.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{TOP}/audio/a.wav", b"small")
        archive.filelist[0].file_size = 1 << 60  # what the listing at the end will say
    with refused(path=root):
        unpack(path, root)
    assert files_in(root) == {}


def test_a_damaged_archive_leaves_no_damaged_file(tmp_path):
    content = bytearray(zipped(FILES, TOP))
    content[content.index(b".wav", len(content) // 3) + 10] ^= 0xFF  # in the compressed bytes
    path, root = put(tmp_path, bytes(content)), tmp_path / "set"
    with refused(path=path):
        unpack(path, root)
    assert files_in(root).items() < FILES.items()
    assert not is_unpacked(root, path.name)
    for content in (b"", b"PK", zipped(FILES)[:-30]):
        with refused(path=path):
            unpack(put(tmp_path, content), root)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_may_grow_without_bound_is_not_unpacked(tmp_path, method):
    path, root = tmp_path / "bomb.zip", tmp_path / "set"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(f"{TOP}/audio/a.wav", bytes(1 << 20))
    with refused(path=path):
        unpack(path, root)
    assert not root.exists()


def test_a_listing_that_says_another_size_or_name(tmp_path):
    content = zipped({"audio/a.wav": b"a" * 3000})
    listing = content.index(b"PK\1\2")
    size = content[: listing + 26] + b"\1" + content[listing + 27 :]
    name = content[:27] + b"\7" + content[28:]
    for number, damaged in enumerate((size, name)):
        path, root = put(tmp_path, damaged), tmp_path / f"set{number}"
        with refused(path=path) as caught:
            unpack(path, root)
        assert len(caught.value.message) < 400 and files_in(root) == {}


def evil_zip(path: pathlib.Path, names: list[str], mode: int = stat.S_IFREG | 0o644) -> None:
    """A zip whose names are exactly these; its first file is as it should be."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{TOP}/audio/good.wav", b"good")
        for name in names:
            member = zipfile.ZipInfo()
            member.filename = name  # as it is: the constructor would mend it
            member.external_attr = mode << 16
            archive.writestr(member, b"evil")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names",
    [
        ["../evil"],
        [f"{TOP}/../../evil"],
        [f"{TOP}/audio/.."],
        ["/tmp/evil"],
        [f"{TOP}//evil"],
        [f"{TOP}\\evil"],
        [f"{TOP}/e\nvil"],
        [f"{TOP}/{'e' * 300}"],
        [f"{TOP}/" + "e/" * 3000 + "vil"],
        [f"{TOP}/audio/good.wav"],
        [f"{TOP}/AUDIO/Good.wav"],
        [f"{TOP}/audio/good.wav/evil"],
        [f"{TOP}/audio"],
        ["../"],
    ],
)
def test_evil_names(tmp_path, names):
    path, root = tmp_path / "evil.zip", tmp_path / "below" / "set"
    evil_zip(path, names)
    with refused(path=path):
        unpack(path, root)
    assert files_in(tmp_path).keys() == {"evil.zip"}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices(tmp_path, kind):
    path, root = tmp_path / "evil.zip", tmp_path / "set"
    evil_zip(path, [f"{TOP}/audio/evil.wav"], kind | 0o777)
    with refused(path=path):
        unpack(path, root)
    assert files_in(tmp_path).keys() == {"evil.zip"}


PARTS = st.one_of(
    st.sampled_from(["..", ".", "", "~", "C:", "a", "A", "audio", TOP, ".download", "\\", "é"]),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8),
)
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=60, deadline=None)
@given(names=st.lists(NAMES, max_size=4))
def test_whatever_the_names_nothing_is_written_elsewhere(names):
    with tempfile.TemporaryDirectory() as folder:
        path, root = pathlib.Path(folder, "evil.zip"), pathlib.Path(folder, "a", "b", "set")
        evil_zip(path, names)
        try:
            unpack(path, root)
        except ValueError as error:
            assert getattr(error, "path", "") == str(path), error
            assert not root.exists()
        found = [entry for entry in pathlib.Path(folder).rglob("*") if not entry.is_dir()]
        assert all(entry == path or entry.is_relative_to(root) for entry in found)
        assert not any(entry.is_symlink() for entry in found)
