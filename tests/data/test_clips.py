"""Reading the tables of a data set, and refusing those that contradict themselves."""

import itertools
import pathlib
import subprocess
import sys

import pytest

from asc_jax.data import Dataset, PublishedFold, read_dataset
from asc_jax.runtime.errors import InputError

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


@pytest.mark.parametrize("name", ["fold1_test.csv", "fold1_evaluate.csv", "fold1_test.txt"])
def test_an_evaluation_set_of_the_later_tau_sets(tmp_path, name):
    dataset = lay_out(tmp_path, {f"{SETUP}/{name}": "filename\naudio/0.wav\naudio/1.wav\n"})
    assert [clip.path for clip in dataset.clips] == ["audio/0.wav", "audio/1.wav"]
    assert not dataset.labelled
    assert dataset.published_folds == {}


@pytest.mark.parametrize("header", ["filename\n", ""])
@pytest.mark.parametrize("lists", [(), ("fold1_test.csv",), ("test.txt", "fold1_test.csv")])
def test_a_meta_csv_of_one_column_has_no_labels(tmp_path, header, lists):
    table = f"{header}audio/0.wav\naudio/1.wav\n"
    dataset = lay_out(tmp_path, {META: table, **{f"{SETUP}/{name}": table for name in lists}})
    assert [clip.path for clip in dataset.clips] == ["audio/0.wav", "audio/1.wav"]
    assert not dataset.labelled
    assert dataset.published_folds == {}


@pytest.mark.parametrize(
    "names",
    [
        ("test.txt", "test.csv"),
        ("test.txt", "fold1_test.csv"),
        ("fold1_test.csv", "fold2_test.csv"),
        ("fold1_evaluate.csv", "fold1_test.csv"),
    ],
)
def test_lists_of_which_either_may_be_the_sets(tmp_path, names):
    message = refusal(tmp_path, {f"{SETUP}/{name}": "audio/0.wav\n" for name in names})
    assert all(str(tmp_path / SETUP / name) in message for name in names)


def test_a_list_of_other_clips_than_an_unlabelled_meta_csv(tmp_path):
    whole, part = "audio/0.wav\naudio/1.wav\n", "audio/1.wav\n"
    message = refusal(tmp_path, {META: whole, f"{SETUP}/fold1_test.csv": part})
    assert str(tmp_path / META) in message
    assert str(tmp_path / SETUP / "fold1_test.csv") in message
    message = refusal(tmp_path, {META: part, f"{SETUP}/fold1_test.csv": whole})
    assert message.startswith(f"{tmp_path / SETUP / 'fold1_test.csv'}: audio/0.wav is not in")


def test_the_lists_of_a_development_set_need_its_meta_csv(tmp_path):
    lists = {f"{SETUP}/fold1_train.txt": TRAIN, f"{SETUP}/fold1_test.txt": TEST}
    assert f"{tmp_path / META}: not found" in refusal(tmp_path, lists)


@pytest.mark.parametrize(
    "names",
    [
        ("fold1_train.csv", "fold1_train.txt"),
        ("fold01_evaluate.txt", "fold1_evaluate.txt"),
    ],
)
def test_two_files_for_one_list_of_a_fold(tmp_path, names):
    lists = {"fold1_train.txt": TRAIN, "fold1_evaluate.txt": EVALUATE}
    lists |= dict.fromkeys(names, TRAIN if "train" in names[0] else EVALUATE)
    message = refusal(tmp_path, {META: TUT, **{f"{SETUP}/{n}": text for n, text in lists.items()}})
    assert all(str(tmp_path / SETUP / name) in message for name in names)


def test_evaluate_and_test_of_a_fold_are_one_list(tmp_path):
    other = "audio/airport-barcelona-0-1-a.wav\n"
    lists = {"fold1_train.txt": TRAIN.splitlines()[0], "fold1_evaluate.txt": EVALUATE}
    lists = {META: TUT, **{f"{SETUP}/{name}": text for name, text in lists.items()}}
    message = refusal(tmp_path, {**lists, f"{SETUP}/fold1_test.txt": other})
    assert "fold1_evaluate.txt" in message
    assert "fold1_test.txt" in message


def test_a_fold_nought(tmp_path):
    message = refusal(tmp_path, {META: TUT, f"{SETUP}/fold0_train.txt": TRAIN})
    assert message.startswith(f"{tmp_path / SETUP / 'fold0_train.txt'}: ")


def test_a_header_names_the_columns_in_any_order(tmp_path):
    rows = [line.split("\t") for line in TUT.splitlines()]
    plain = lay_out(tmp_path / "plain", {META: TUT, f"{SETUP}/fold1_train.txt": TRAIN,
                                         f"{SETUP}/fold1_evaluate.txt": EVALUATE})  # fmt: skip
    for order in itertools.permutations(range(4)):
        table = "".join("\t".join(row[i] for i in order) + "\n" for row in rows)
        lists = {
            f"{SETUP}/fold1_{part}.csv": "scene_label\tFilename\n"
            + "".join("\t".join(reversed(line.split("\t"))) + "\n" for line in text.splitlines())
            for part, text in (("train", TRAIN), ("evaluate", EVALUATE))
        }
        (root := tmp_path / "".join(map(str, order))).mkdir()
        (root / "audio").symlink_to(tmp_path / "plain" / "audio")
        dataset = lay_out(root, {META: table, **lists})
        assert dataset.clips == plain.clips
        assert dataset.published_folds == plain.published_folds


def test_columns_that_the_header_leaves_out_are_not_read(tmp_path):
    table = "FILENAME\tScene_Label\tsource_label\naudio/0.wav\tbus\tphone\n"
    (clip,) = lay_out(tmp_path, {META: table}).clips
    assert (clip.scene_label, clip.location, clip.device) == ("bus", "audio/0.wav", "phone")


@pytest.mark.parametrize("name", [META, f"{SETUP}/fold1_train.txt", f"{SETUP}/fold1_evaluate.csv"])
@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("filename\tscene_label\tidentifer", "'identifer'"),
        ("filename\tscene_label\tlocation", "'location'"),
        ("file\tlabel", "'file'"),
        ("filename\t\tscene_label", "''"),
        ("filename\tscene_label\tFilename", "filename twice"),
        ("scene_label\tidentifier", "no column filename"),
        ("filename,scene_label,identifier", "tabs"),
        ("filename;scene_label", "tabs"),
        ("filename  scene_label", "tabs"),
    ],
)
def test_a_header_that_could_mean_something_else(tmp_path, name, header, named):
    lists = {"fold1_train.txt": TRAIN, "fold1_evaluate.csv": EVALUATE}
    tables = {META: TUT, **{f"{SETUP}/{part}": text for part, text in lists.items()}}
    body = tables[name].removeprefix(HEADER)
    message = refusal(tmp_path, {**tables, name: f"{header}\n{body}"})
    assert message.startswith(f"{tmp_path / name}: ")
    assert named in message


@pytest.mark.parametrize("header", ["", HEADER, "scene_label\tfilename\n"])
def test_a_row_of_more_columns_than_there_are(tmp_path, header):
    message = refusal(tmp_path, {META: f"{header}audio/0.wav\tbus\tl\ta\tmore\n"})
    assert f"{META}: line {1 + bool(header)} has 5 columns" in message


def test_the_names_of_tau_2022(tmp_path):
    names = [f"airport-lisbon-1000-40000-{part}-{device}.wav" for part in (0, 1) for device in "as"]
    table = HEADER + "".join(f"audio/{name}\tairport\tx{i}\tb\n" for i, name in enumerate(names))
    clips = lay_out(tmp_path, {META: table}).clips
    assert {clip.location for clip in clips} == {"lisbon-1000"}
    assert {clip.city for clip in clips} == {"lisbon"}
    assert [clip.device for clip in clips] == ["a", "s", "a", "s"]


def test_a_location_is_the_identifier_where_the_name_is_not_tuts(tmp_path):
    table = HEADER + "audio/1-100032-A.ogg\tdog\t100032\tfs\naudio/2.ogg\tdog\t\tfs\n"
    dataset = lay_out(tmp_path, {META: table})
    assert [clip.location for clip in dataset.clips] == ["100032", "audio/2.ogg"]
    assert {clip.device for clip in dataset.clips} == {"fs"}
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


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        ("audio\\bus\\0.wav", "audio/bus/0.wav"),
        ("0.wav", "audio/0.wav"),
        ("audio/0.wav", "audio/0.WAV"),
        ("audio/0.wav", "Audio/0.wav"),
        ("audio/caf\xe9.wav", "audio/cafe\u0301.wav"),
        ("audio/cafe\u0301.wav", "audio/caf\xe9.wav"),
        ("audio/0.wav,bus,l", "audio/0.wav"),
        ("audio/0.wav;bus", "audio/0.wav"),
    ],
)
def test_a_file_that_is_there_under_another_name(tmp_path, listed, there):
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).touch()
    (tmp_path / META).write_text(f"{listed}\n")
    with pytest.raises(InputError) as refused:
        read_dataset(tmp_path)
    message = str(refused.value)
    shown = [name if name.isascii() else ascii(name) for name in (listed, there)]
    assert message.startswith(f"{tmp_path}: 1 of 1 ")
    assert f"({shown[0]} is {shown[1]})" in message
    assert "delete" not in message


def test_missing_and_renamed_files_are_told_apart(tmp_path):
    paths = [f"audio/{i}.wav" for i in range(9)]
    (tmp_path / "audio").mkdir()
    for i in range(4):
        (tmp_path / f"audio/{i}.WAV").touch()
    (tmp_path / META).write_text("\n".join(paths))
    with pytest.raises(InputError) as refused:
        read_dataset(tmp_path)
    renamed, gone = str(refused.value).splitlines()
    assert renamed.startswith(f"{tmp_path}: 4 of 9 ")
    assert "(audio/0.wav is audio/0.WAV, " in renamed
    assert "audio/3.wav" not in renamed
    assert gone.startswith(f"{tmp_path}: 5 of 9 ")
    assert "(audio/4.wav, audio/5.wav, audio/6.wav, ...)" in gone
    assert f"asc-jax data check {tmp_path}" in gone


def test_a_name_that_no_disk_takes_is_not_there(tmp_path):
    path = f"audio/{'x' * 300}.wav"
    assert "1 of 1" in refusal(tmp_path, {META: f"{path}\tbus\n"}, lacking=(path,))
    with pytest.raises(InputError, match="no such folder"):
        read_dataset(tmp_path / ("x" * 300))


@pytest.mark.parametrize("names", [("a.wav", "A.wav"), ("caf\xe9.wav", "cafe\u0301.wav")])
def test_two_names_are_refused_where_the_disk_takes_them_for_one(tmp_path, names):
    paths = [tmp_path / "audio" / name for name in names]
    paths[0].parent.mkdir()
    paths[0].touch()
    (tmp_path / META).write_text("".join(f"audio/{name}\tbus\n" for name in names))
    paths[1].hardlink_to(paths[0])  # as a disk without case has it
    with pytest.raises(InputError, match="one file on this disk"):
        read_dataset(tmp_path)
    paths[1].unlink()
    paths[1].touch()
    assert len(read_dataset(tmp_path).clips) == 2


@pytest.mark.parametrize("mark", ["\u2028", "\x0c", "\x85", "\x0b", "\x1c"])
def test_only_line_ends_end_a_row(tmp_path, mark):
    path = f"audio/a{mark}b.wav"
    (tmp_path / "audio").mkdir()
    (tmp_path / path).touch()
    (tmp_path / META).write_text(f"{path}\tbus\tl\n")
    assert [clip.path for clip in read_dataset(tmp_path).clips] == [path]


@pytest.mark.parametrize(
    "label",
    ["../../esc", "a/b", "a\\b", ".", "..", ".bus", "a\x1bb", "a\x7fb", "a\u2028b", "\xe9" * 101],
)
def test_a_label_that_files_cannot_be_named_after(tmp_path, label):
    table = f"{HEADER}audio/0.wav\ttram\tl\naudio/1.wav\t{label}\tl\n"
    message = refusal(tmp_path, {META: table})
    assert message.startswith(f"{tmp_path / META}: line 3: scene_label {label[:60]!a} ")
    assert message.isascii()


@pytest.mark.parametrize(
    "label", ["a b", "caf\xe9", "a,b", 'a"b', "x" * 200, "-", "1.5", "\u516c\u5712"]
)
def test_a_label_that_files_can_be_named_after(tmp_path, label):
    dataset = lay_out(tmp_path, {META: f"audio/0.wav\ttram\naudio/1.wav\t{label}\n"})
    assert set(dataset.scene_labels) == {"tram", label}
    (tmp_path / f".{label}-fold10-b00000-r00.wav.1234567.partial").touch()


ALIKE = [
    ("Bus", "bus"),
    ("caf\xe9", "cafe\u0301"),
    ("bus", "bus\u200b"),
    ("bus\ufeffstop", "busstop"),
    ("bus stop", "bus\xa0stop"),
    ("bus stop", "bus  stop"),
    ("1", "01"),
    ("0", "00"),
    ("stra\xdfe", "STRASSE"),
]


@pytest.mark.parametrize("column", ["scene_label", "identifier"])
@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_names_that_look_alike(tmp_path, column, first, second):
    rows = [("audio/0.wav", first), ("audio/1.wav", second)]
    if column == "scene_label":
        table = "".join(f"{path}\t{name}\n" for path, name in rows)
    else:
        table = "".join(f"{path}\tbus\t{name}\n" for path, name in rows)
    message = refusal(tmp_path, {META: table})
    assert message.startswith(f"{tmp_path / META}: {column} ")
    assert ascii(first) in message
    assert ascii(second) in message


@pytest.mark.parametrize(
    ("first", "second"), [("10", "1"), ("a1", "a01"), ("bus", "bus_"), ("0", "")]
)
def test_identifiers_that_differ_plainly(tmp_path, first, second):
    table = f"audio/0.wav\tbus\t{first}\naudio/1.wav\ttram\t{second}\n"
    locations = [clip.location for clip in lay_out(tmp_path, {META: table}).clips]
    assert locations == [first, second or "audio/1.wav"]


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
    assert f"{META}: line 2 names no file" in message


@pytest.mark.parametrize("row", ["audio/0.wav", "audio/0.wav,bus,l,a"])
def test_a_row_of_one_column(tmp_path, row):
    message = refusal(tmp_path, {META: f"{HEADER}audio/1.wav\tbus\n{row}\n"})
    assert f"{META}: line 3 has 1 columns" in message
    assert "tabs" in message


@pytest.mark.parametrize("header", [HEADER, ""])
@pytest.mark.parametrize("row", ["audio/1.wav\tl1\ta", "audio/1.wav\tbus\ta"])
def test_a_row_that_lacks_a_cell(tmp_path, header, row):
    full = "audio/0.wav\tbus\tl0\ta"
    message = refusal(tmp_path, {META: f"{header}{full}\n{row}\n"})
    assert f"{META}: line {2 + bool(header)} has 3 columns where others have 4" in message
    dataset = lay_out(tmp_path, {META: f"{header}{full}\naudio/1.wav\tbus\tl1\t\n"})
    assert [clip.location for clip in dataset.clips] == ["l0", "l1"]


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
        ("\ufeffaudio/0.wav\tbus\n".encode("utf-16-le"), "UTF-16.*save it as UTF-8"),
        ("\ufeffaudio/0.wav\tbus\n".encode("utf-16-be"), "UTF-16.*save it as UTF-8"),
        ("audio/0.wav\tbus\n".encode("utf-16-le"), "NUL.*save it as UTF-8"),
        ("audio/0.wav\tcaf\xe9\n".encode("latin-1"), "save it as UTF-8"),
        (b'audio/0.wav\t"bus\tl\naudio/1.wav\ttram\tm\n', "line 1 .*quote"),
        (b'audio/0.wav\tbus\n"audio/1.wav\tbus\naudio/2.wav\tbus"\n', "line 2 .*quote"),
        (b"audio/0.wav\t" + b"x" * 200_000, "line 1 "),
    ],
    ids=[
        "UTF-16",
        "UTF-16 BE",
        "UTF-16 without its mark",
        "Latin-1",
        "open quote",
        "quotes of two rows",
        "no text",
    ],
)
def test_a_file_that_is_no_table(tmp_path, content, reason):
    (tmp_path / META).write_bytes(content)
    with pytest.raises(InputError, match=f"{META}: .*{reason}"):
        read_dataset(tmp_path)


def test_a_folder_in_the_place_of_a_table(tmp_path):
    (tmp_path / SETUP / "fold1_train.txt").mkdir(parents=True)
    message = refusal(tmp_path, {META: TUT, f"{SETUP}/fold1_evaluate.txt": EVALUATE})
    assert "fold1_train.txt: Is a directory" in message


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
