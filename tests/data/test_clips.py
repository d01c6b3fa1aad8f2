"""Reading the tables of a data set, and refusing those that contradict themselves."""

import pathlib
import subprocess
import sys

import pytest

from asc_jax.data import Dataset, PublishedFold, read_dataset
from asc_jax.errors import InputError

HEADER = "filename\tscene_label\tidentifier\tsource_label\n"
TUT = HEADER + (
    "audio/airport-barcelona-0-0-a.wav\tairport\tbarcelona-0\ta\n"
    "audio/airport-barcelona-0-1-a.wav\tairport\tbarcelona-0\ta\n"
    "audio/street_traffic-london-161-4898-a.wav\tstreet_traffic\tlondon-161\ta\n"
)
TRAIN = "audio/airport-barcelona-0-0-a.wav\tairport\naudio/airport-barcelona-0-1-a.wav\tairport\n"
EVALUATE = "audio/street_traffic-london-161-4898-a.wav\tstreet_traffic\n"
TEST = "audio/street_traffic-london-161-4898-a.wav\n"
META, SETUP = "meta.csv", "evaluation_setup"


def lay_out(root: pathlib.Path, tables: dict[str, str], lacking: tuple[str, ...] = ()) -> Dataset:
    """Writes tables, and an empty file for each clip that they list; then reads them."""
    for name, text in tables.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        for line in text.splitlines():
            path = line.split("\t")[0]
            if path.startswith("audio/") and path not in lacking:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
    return read_dataset(root)


def refusal(*arguments, **options) -> str:
    with pytest.raises(InputError) as refused:
        lay_out(*arguments, **options)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_the_tut_2018_layout(tmp_path):
    dataset = lay_out(
        tmp_path,
        {
            META: TUT,
            f"{SETUP}/fold1_train.txt": TRAIN,
            f"{SETUP}/fold1_evaluate.txt": EVALUATE,
            f"{SETUP}/fold1_test.txt": TEST,
        },
    )
    first, _, last = dataset.clips
    assert first.path == "audio/airport-barcelona-0-0-a.wav"
    assert (first.scene_label, first.location, first.city) == (
        "airport",
        "barcelona-0",
        "barcelona",
    )
    assert (last.location, last.device) == ("london-161", "a")
    assert last.stem == "street_traffic-london-161-4898-a"
    assert dataset.scene_labels == ("airport", "street_traffic")
    assert dataset.labelled
    assert dataset.published_folds == {1: PublishedFold(train=(0, 1), evaluate=(2,))}
    assert dataset.audio_path(first).is_file()


def test_the_later_tau_layout_has_csv_lists_with_a_header(tmp_path):
    meta = TUT.replace("-a.wav", "-s3.wav")
    lists = {
        f"{SETUP}/fold1_train.csv": "filename\tscene_label\n" + TRAIN,
        f"{SETUP}/fold1_evaluate.csv": "filename\tscene_label\n" + EVALUATE,
        f"{SETUP}/fold1_test.csv": "filename\n" + TEST,
    }
    lists = {name: text.replace("-a.wav", "-s3.wav") for name, text in lists.items()}
    dataset = lay_out(tmp_path, {META: meta, **lists})
    assert dataset.published_folds == {1: PublishedFold(train=(0, 1), evaluate=(2,))}
    assert dataset.clips[0].device == "s3"
    assert dataset.clips[0].location == "barcelona-0"


@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_a_fold_may_name_its_held_out_clips_by_test_alone(tmp_path, ending):
    lists = {f"{SETUP}/fold1_train.{ending}": TRAIN, f"{SETUP}/fold1_test.{ending}": TEST}
    dataset = lay_out(tmp_path, {META: TUT, **lists})
    assert dataset.published_folds[1].evaluate == (2,)


@pytest.mark.parametrize(("name", "header"), [("test.txt", ""), ("test.csv", "filename\n")])
def test_a_leaderboard_set_has_no_labels(tmp_path, name, header):
    dataset = lay_out(tmp_path, {f"{SETUP}/{name}": f"{header}audio/0.wav\naudio/1.wav\n"})
    assert [clip.path for clip in dataset.clips] == ["audio/0.wav", "audio/1.wav"]
    assert not dataset.labelled
    assert {clip.scene_label for clip in dataset.clips} == {""}
    assert dataset.published_folds == {}


def test_a_location_is_the_identifier_where_the_name_is_not_tuts(tmp_path):
    table = HEADER + "audio/1-100032-A.ogg\tdog\t100032\tfs\naudio/2.ogg\tdog\t\tfs\n"
    dataset = lay_out(tmp_path, {META: table})
    assert [clip.location for clip in dataset.clips] == ["100032", "audio/2.ogg"]
    assert {clip.city for clip in dataset.clips} == {""}


def test_a_tut_name_outranks_the_identifier(tmp_path):
    dataset = lay_out(tmp_path, {META: TUT.replace("\tbarcelona-0\t", "\televator\t")})
    assert dataset.clips[0].location == "barcelona-0"


@pytest.mark.parametrize(
    "table",
    [
        "\ufeff" + TUT,
        TUT.replace("\n", "\r\n"),
        TUT.replace("\n", "\n\n"),
        TUT.removeprefix(HEADER),
        TUT.replace("\tairport\t", "\t airport \t"),
    ],
    ids=["byte order mark", "DOS line ends", "blank lines", "no header", "spaces"],
)
def test_tables_as_editors_leave_them(tmp_path, table):
    plain = lay_out(tmp_path, {META: TUT})
    (tmp_path / META).write_bytes(table.encode())
    assert read_dataset(tmp_path) == plain


def test_esc10_reads_as_it_stands(esc10):
    dataset = read_dataset(esc10)
    assert len(dataset.clips) == 400
    assert len(dataset.scene_labels) == 10
    assert list(dataset.published_folds) == [1, 2, 3, 4, 5]
    for fold in dataset.published_folds.values():
        assert sorted(fold.train + fold.evaluate) == list(range(400))
        sides = [{dataset.clips[i].location for i in side} for side in (fold.train, fold.evaluate)]
        assert not sides[0] & sides[1]


def test_the_procedural_set_reads_as_the_real_one(scenes):
    dataset = read_dataset(scenes)
    assert (len(dataset.clips), len(dataset.scene_labels)) == (80, 10)
    assert len({clip.location for clip in dataset.clips}) == 40
    assert list(dataset.published_folds) == [1]


def test_a_missing_folder_names_the_field_to_set(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: no such folder; data\.root must"):
        read_dataset(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: no such folder"):
        read_dataset(tmp_path / "file")


def test_a_folder_without_tables(tmp_path):
    message = refusal(tmp_path, {"README.md": ""})
    assert f"{tmp_path / META}: not found" in message
    assert f"{SETUP}/test.txt" in message
    assert "data.root must be the folder" in message


def test_listed_files_that_are_missing_are_counted(tmp_path):
    paths = [f"audio/{i}.wav" for i in range(5)]
    table = HEADER + "".join(f"{path}\tbus\tl\ta\n" for path in paths)
    message = refusal(tmp_path, {META: table}, lacking=(paths[3],))
    assert message.startswith(f"{tmp_path}: 1 of 5 listed files are not there (audio/3.wav)")
    assert "unpack" in message
    for path in tmp_path.glob("audio/*"):
        path.unlink()
    message = refusal(tmp_path, {META: table}, lacking=tuple(paths))
    assert "5 of 5" in message
    assert "audio/2.wav, ..." in message


def test_a_dangling_link_is_missing(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "0.wav").symlink_to(tmp_path / "unmounted" / "0.wav")
    message = refusal(tmp_path, {META: "audio/0.wav\tbus\n"}, lacking=("audio/0.wav",))
    assert "audio/0.wav" in message


@pytest.mark.parametrize("alias", ["audio/0.wav", "./audio/0.wav", "audio//0.wav"])
def test_a_clip_listed_twice(tmp_path, alias):
    message = refusal(tmp_path, {META: f"{HEADER}audio/0.wav\tbus\ta\n{alias}\tbus\tb\n"})
    assert message.startswith(f"{tmp_path / META}: {alias} is listed twice; delete")


@pytest.mark.parametrize("path", ["../other/0.wav", "/etc/passwd", "audio/../../0.wav"])
def test_a_path_that_leaves_the_root(tmp_path, path):
    (tmp_path / "set" / "audio").mkdir(parents=True)
    (tmp_path / "0.wav").touch()
    message = refusal(tmp_path / "set", {META: f"{path}\tbus\n"}, lacking=(path,))
    assert f"{META}: {path} leaves the data set's folder" in message


@pytest.mark.parametrize("path", ["", "."])
def test_a_row_without_a_file(tmp_path, path):
    message = refusal(tmp_path, {META: f"{HEADER}{path}\tbus\tl\n"})
    assert f"{META}: a row of 'bus' names no file" in message


@pytest.mark.parametrize("row", ["audio/0.wav", "audio/0.wav,bus,l,a"])
def test_a_row_of_one_column(tmp_path, row):
    """A table separated by commas, in particular."""
    message = refusal(tmp_path, {META: f"{HEADER}audio/1.wav\tbus\n{row}\n"})
    assert f"{META}: the row {row!r} has one column" in message
    assert "filename TAB scene_label" in message


def test_some_labels_but_not_all(tmp_path):
    message = refusal(tmp_path, {META: "audio/0.wav\tbus\tl\naudio/1.wav\t\tm\n"})
    assert f"{META}: audio/1.wav has no scene_label; give every clip one, or none" in message


@pytest.mark.parametrize("name", [META, f"{SETUP}/test.txt"])
@pytest.mark.parametrize("text", ["", HEADER])
def test_an_empty_table(tmp_path, name, text):
    assert f"{tmp_path / name}: lists no clip" in refusal(tmp_path, {name: text})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfea\x00u\x00", "save it as UTF-8"),
        (b'audio/0.wav\t"bus\tl\naudio/1.wav\ttram\tm\n', "no tab-separated table"),
        (b"audio/0.wav\t" + b"x" * 200_000, "no tab-separated table"),
    ],
    ids=["UTF-16", "open quote", "no text"],
)
def test_a_file_that_is_no_table(tmp_path, content, reason):
    (tmp_path / META).write_bytes(content)
    with pytest.raises(InputError, match=f"{META}: .*{reason}"):
        read_dataset(tmp_path)


def test_a_folder_in_the_place_of_a_table(tmp_path):
    (tmp_path / SETUP / "fold1_train.txt").mkdir(parents=True)
    assert "fold1_train.txt: Is a directory" in refusal(tmp_path, {META: TUT})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("fold1_train.txt", TRAIN.replace("\tairport", "\tpark"), "'park' here and 'airport' in"),
        ("fold1_train.txt", TRAIN.replace("-0-1-", "-0-2-"), "-0-2-a.wav is not in meta.csv"),
        ("fold1_train.txt", TRAIN.replace("-0-1-", "-0-2-"), "(meta.csv has audio/airport"),
        ("fold1_train.txt", TRAIN.replace("-0-1-", "-0-2-"), "meta.csv if it has been cut short"),
        ("fold1_train.txt", TRAIN + TRAIN, "lists a clip twice; delete"),
        ("fold1_train.txt", "", "lists no clip; fill it"),
        ("fold1_evaluate.txt", "", "lists no clip; fill it"),
    ],
)
def test_a_fold_list_that_contradicts_the_table(tmp_path, name, text, expected):
    lists = {"fold1_train.txt": TRAIN, "fold1_evaluate.txt": EVALUATE, name: text}
    lists = {f"{SETUP}/{list_name}": content for list_name, content in lists.items()}
    message = refusal(tmp_path, {META: TUT, **lists})
    assert message.startswith(str(tmp_path / SETUP / name))
    assert expected in message


@pytest.mark.parametrize(
    ("name", "text", "mend"),
    [
        ("fold2_train.txt", TRAIN, "add fold2_evaluate.txt"),
        ("fold2_evaluate.txt", EVALUATE, "add fold2_train.txt"),
        ("fold2_test.txt", TEST, "add fold2_train.txt"),
    ],
)
def test_an_incomplete_fold(tmp_path, name, text, mend):
    message = refusal(tmp_path, {META: TUT, f"{SETUP}/{name}": text})
    assert f"{tmp_path / SETUP}: fold 2 has no" in message
    assert mend in message


def test_reading_tables_needs_neither_jax_nor_a_decoder(scenes):
    program = (
        "import sys; from asc_jax.data import read_dataset; read_dataset(sys.argv[1]); "
        "print(sorted({'jax', 'soundfile', 'sklearn', 'librosa'} & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(scenes)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
