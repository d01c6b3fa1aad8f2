"""Reading the tables of a data set, and refusing those that contradict themselves."""

import os
import pathlib
import subprocess
import sys

import pytest
from refusals import refused

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
META = "meta.csv"


def lay_out(root: pathlib.Path, meta: str = "", **lists: str) -> Dataset:
    """Writes tables, and an empty file for each clip that they list; then reads them.

    `fold1_train_csv=` writes `evaluation_setup/fold1_train.csv`.
    """
    tables = {META: meta} if meta else {}
    tables |= {f"evaluation_setup/{'.'.join(n.rsplit('_', 1))}": text for n, text in lists.items()}
    for name, text in tables.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        for line in text.splitlines():
            path = line.split("\t")[0]
            if path.startswith("audio/") and len(path) < 200:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
    return read_dataset(root)


def test_the_tut_2018_layout(tmp_path):
    dataset = lay_out(
        tmp_path, TUT, fold1_train_txt=TRAIN, fold1_evaluate_txt=EVALUATE, fold1_test_txt=TEST
    )
    first, _, last = dataset.clips
    assert first.path == "audio/airport-barcelona-0-0-a.wav"
    assert first.scene_label == "airport"
    assert (first.location, first.city) == ("barcelona-0", "barcelona")
    assert (last.location, last.device) == ("london-161", "a")
    assert last.stem == "street_traffic-london-161-4898-a"
    assert dataset.scene_labels == ("airport", "street_traffic")
    assert dataset.labelled
    assert dataset.published_folds == {1: PublishedFold(train=(0, 1), evaluate=(2,))}
    assert dataset.audio_path(first).is_file()


def test_the_later_tau_layout_has_csv_lists_with_a_header(tmp_path):
    """With clips in no list, as in the development set of 2020."""
    tables = {
        "meta": TUT + "audio/bus-lisbon-1000-40000-a.wav\tbus\tlisbon-1000\ta\n",
        "fold1_train_csv": "filename\tscene_label\n" + TRAIN,
        "fold1_evaluate_csv": "filename\tscene_label\n" + EVALUATE,
        "fold1_test_csv": "filename\n" + TEST,
    }
    dataset = lay_out(
        tmp_path, **{name: text.replace("-a.wav", "-s3.wav") for name, text in tables.items()}
    )
    assert dataset.published_folds == {1: PublishedFold(train=(0, 1), evaluate=(2,))}
    assert dataset.clips[0].device == "s3"
    assert dataset.clips[0].location == "barcelona-0"


def test_a_fold_may_name_its_held_out_clips_by_test_alone(tmp_path):
    dataset = lay_out(tmp_path, TUT, fold1_train_txt=TRAIN, fold1_test_txt=TEST)
    assert dataset.published_folds[1].evaluate == (2,)


UNLABELLED = "audio/0.wav\naudio/1.wav\n"


@pytest.mark.parametrize(
    "tables",
    [
        {"test_txt": UNLABELLED},
        {"test_csv": f"filename\n{UNLABELLED}"},
        {"fold1_test_csv": f"filename\n{UNLABELLED}"},
        {"fold1_evaluate_csv": f"filename\n{UNLABELLED}"},
        {"meta": UNLABELLED},
        {"meta": f"filename\n{UNLABELLED}", "test_txt": UNLABELLED, "fold1_test_csv": UNLABELLED},
    ],
    ids=list,
)
def test_a_set_without_labels_is_one_list(tmp_path, tables):
    """A leaderboard's, an evaluation set of the later TAU sets, or a meta.csv of one column."""
    dataset = lay_out(tmp_path, **tables)
    assert [clip.path for clip in dataset.clips] == ["audio/0.wav", "audio/1.wav"]
    assert {clip.scene_label for clip in dataset.clips} == {""}
    assert not dataset.labelled
    assert dataset.published_folds == {}


FOLD = {"meta": TUT, "fold1_train_txt": TRAIN, "fold1_evaluate_txt": EVALUATE}
OTHER = TRAIN.replace("-0-1-", "-0-2-")

# Tables, the file that is wrong with what is written of it, and what else a user needs to know.
CONTRADICTIONS = {
    "no table": ({"README_md": ""}, META, ["test.txt"]),
    "lists without a meta.csv": ({**FOLD, "meta": ""}, META, []),
    "two lists of a set": ({"test_txt": TEST, "fold1_test_csv": TEST},
                           "fold1_test.csv", ["test.txt"]),
    "lists of two folds": ({"fold1_test_csv": TEST, "fold2_test_csv": TEST},
                           "fold1_test.csv", ["fold2_"]),
    "a list of a part": ({"meta": UNLABELLED, "test_csv": "audio/1.wav\n"}, "test.csv", [META]),
    "a list of more": ({"meta": "audio/1.wav\n", "test_csv": UNLABELLED},
                       "test.csv", ["audio/0.wav"]),
    "one list twice": ({**FOLD, "fold1_train_csv": TRAIN}, "fold1_train.txt", ["fold1_train.csv"]),
    "one fold twice": ({**FOLD, "fold01_train_txt": TRAIN},
                       "fold1_train.txt", ["fold01_train.txt"]),
    "evaluate and test": ({**FOLD, "fold1_test_txt": TRAIN},
                          "fold1_evaluate.txt", ["fold1_test.txt"]),
    "a fold nought": ({**FOLD, "fold0_train_txt": TRAIN}, "fold0_train.txt", []),
    "no evaluate": ({**FOLD, "fold2_train_txt": TRAIN}, "evaluation_setup", ["fold2_evaluate.txt"]),
    "no train": ({**FOLD, "fold2_test_txt": TEST}, "evaluation_setup", ["fold2_train.txt"]),
    "another label": ({**FOLD, "fold1_train_txt": TRAIN.replace("\tairport", "\tpark")},
                      "fold1_train.txt", ["park", "airport"]),
    "another clip": ({**FOLD, "fold1_train_txt": OTHER},
                     "fold1_train.txt", ["-0-2-a.wav"]),
    "a clip twice": ({**FOLD, "fold1_train_txt": TRAIN + TRAIN}, "fold1_train.txt", []),
    "no clip of a fold": ({**FOLD, "fold1_evaluate_txt": ""}, "fold1_evaluate.txt", []),
    "no clip": ({"meta": HEADER}, META, []),
    "no clip of a list": ({"test_txt": ""}, "test.txt", []),
    "some labels": ({"meta": "audio/0.wav\tbus\tl\naudio/1.wav\t\tm\n"}, META, ["audio/1.wav"]),
    "five columns": ({"meta": HEADER + "audio/0.wav\tbus\tl\ta\tmore\n"}, META, ["line 2"]),
    "five columns, no header": ({"meta": "audio/0.wav\tbus\tl\ta\tmore\n"}, META, ["line 1"]),
    "one column": ({"meta": HEADER + "audio/1.wav\tbus\naudio/0.wav\n"}, META, ["line 3"]),
    "commas": ({"meta": HEADER + "audio/1.wav\tbus\naudio/0.wav,bus\n"}, META, ["line 3", "tabs"]),
    "a cell is missing": ({"meta": "audio/0.wav\tbus\tl0\ta\naudio/1.wav\tbus\ta\n"},
                          META, ["line 2", "3", "4"]),
    "no file": ({"meta": HEADER + "\tbus\tl\n"}, META, ["line 2"]),
    "a folder": ({"meta": HEADER + ".\tbus\tl\n"}, META, ["line 2"]),
    "twice": ({"meta": "audio/0.wav\tbus\ta\n./audio//0.wav\tbus\tb\n"}, META, ["./audio//0.wav"]),
    "above the root": ({"meta": "audio/../../0.wav\tbus\n"}, META, ["audio/../../0.wav"]),
    "from the disk's root": ({"meta": "/etc/passwd\tbus\n"}, META, ["/etc/passwd"]),
}  # fmt: skip


@pytest.mark.parametrize(("tables", "path", "named"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_tables_that_contradict_themselves(tmp_path, tables, path, named):
    with refused(path=path) as caught:
        lay_out(tmp_path / "set", **tables)
    assert caught.value.path.startswith(str(tmp_path / "set"))
    assert all(name in caught.value.message for name in named)


def test_an_empty_cell_at_a_rows_end_is_a_cell(tmp_path):
    dataset = lay_out(tmp_path, "audio/0.wav\tbus\tl0\ta\naudio/1.wav\tbus\tl1\t\n")
    assert [clip.location for clip in dataset.clips] == ["l0", "l1"]


def test_a_header_names_the_columns_in_any_order(tmp_path):
    plain = lay_out(tmp_path, **FOLD)
    headed = FOLD | {
        name: f"filename\tscene_label\n{FOLD[name]}" for name in FOLD if name != "meta"
    }
    turned = {
        name: "".join("\t".join(line.split("\t")[::-1]) + "\n" for line in text.splitlines())
        for name, text in headed.items()
    }
    assert lay_out(tmp_path, **turned) == plain


def test_columns_that_the_header_leaves_out_are_not_read(tmp_path):
    (clip,) = lay_out(
        tmp_path, "FILENAME\tScene_Label\tsource_label\naudio/0.wav\tbus\tphone\n"
    ).clips
    assert (clip.scene_label, clip.location, clip.device) == ("bus", "audio/0.wav", "phone")


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("filename\tscene_label\tidentifer", "identifer"),
        ("file\tlabel", "file"),
        ("filename\t\tscene_label", "''"),
        ("filename\tscene_label\tFilename", "filename"),
        ("scene_label\tidentifier", "filename"),
        ("filename,scene_label,identifier", "tabs"),
        ("filename  scene_label", "tabs"),
    ],
)
@pytest.mark.parametrize("name", ["meta", "fold1_train_txt"])
def test_a_header_that_could_mean_something_else(tmp_path, name, header, named):
    body = FOLD[name].removeprefix(HEADER)
    with refused(path={"meta": META}.get(name, "fold1_train.txt")) as caught:
        lay_out(tmp_path, **FOLD | {name: f"{header}\n{body}"})
    assert named in caught.value.message


def test_the_names_of_tau_2022(tmp_path):
    names = [f"airport-lisbon-1000-40000-{part}-{device}.wav" for part in (0, 1) for device in "as"]
    table = HEADER + "".join(f"audio/{name}\tairport\tx{i}\tb\n" for i, name in enumerate(names))
    clips = lay_out(tmp_path, table).clips
    assert {clip.location for clip in clips} == {"lisbon-1000"}
    assert {clip.city for clip in clips} == {"lisbon"}
    assert [clip.device for clip in clips] == ["a", "s", "a", "s"]


def test_a_location_is_the_identifier_where_the_name_is_not_tuts(tmp_path):
    table = HEADER + "audio/1-100032-A.ogg\tdog\t100032\tfs\naudio/2.ogg\tdog\t\tfs\n"
    dataset = lay_out(tmp_path, table)
    assert [clip.location for clip in dataset.clips] == ["100032", "audio/2.ogg"]
    assert {clip.device for clip in dataset.clips} == {"fs"}
    assert {clip.city for clip in dataset.clips} == {""}


def test_a_tut_name_outranks_the_identifier(tmp_path):
    dataset = lay_out(tmp_path, TUT.replace("\tbarcelona-0\t", "\televator\t"))
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
    plain = lay_out(tmp_path, TUT)
    (tmp_path / META).write_bytes(table.encode())
    assert read_dataset(tmp_path) == plain


def test_esc10_reads_as_it_stands(esc10):
    dataset = read_dataset(esc10)
    assert len(dataset.clips) == 400
    assert len(dataset.scene_labels) == 10
    assert list(dataset.published_folds) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["nowhere", "file", "x" * 300])
def test_a_folder_that_is_not_there(tmp_path, name):
    (tmp_path / "file").touch()
    with refused(path=tmp_path / name) as caught:
        read_dataset(tmp_path / name, argument="FOLDER")
    assert "FOLDER" in str(caught.value)


def read_listed(root: pathlib.Path, listed: list[str], there: list[str]) -> list[str]:
    """A line for each kind of file that is wrong, of those that a table lists."""
    for path in there:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    (root / META).write_text("\n".join(listed) + "\n")
    with pytest.raises(InputError) as caught:
        read_dataset(root)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{root}: ") for line in lines)
    return lines


def test_listed_files_that_are_missing_are_counted(tmp_path):
    paths = [f"audio/{i}.wav" for i in range(9)]
    renamed, gone = read_listed(tmp_path, paths, [f"audio/{i}.WAV" for i in range(4)])
    assert "4 of 9" in renamed and "audio/0.wav is audio/0.WAV" in renamed
    assert "audio/3.wav" not in renamed
    assert "5 of 9" in gone and "(audio/4.wav, audio/5.wav, audio/6.wav, ...)" in gone
    assert f"asc-jax data check {tmp_path}" in gone


def test_a_dangling_link_and_a_name_that_no_disk_takes_are_missing(tmp_path):
    long = f"audio/{'x' * 300}.wav"
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "0.wav").symlink_to(tmp_path / "unmounted" / "0.wav")
    (line,) = read_listed(tmp_path, ["audio/0.wav", long, "audio/1.wav"], ["audio/1.wav"])
    assert "2 of 3" in line and f"(audio/0.wav, {long})" in line


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        ("audio\\bus\\0.wav", "audio/bus/0.wav"),
        ("0.wav", "audio/0.wav"),
        ("audio/0.wav", "Audio/0.WAV"),
        ("audio/caf\xe9.wav", "audio/cafe\u0301.wav"),
        ("audio/cafe\u0301.wav", "audio/caf\xe9.wav"),
        ("audio/0.wav,bus,l", "audio/0.wav"),
        ("audio/0.wav;bus", "audio/0.wav"),
    ],
)
def test_a_file_that_is_there_under_another_name(tmp_path, listed, there):
    (line,) = read_listed(tmp_path, [listed], [there])
    shown = [name if name.isascii() else ascii(name) for name in (listed, there)]
    assert "1 of 1" in line and f"({shown[0]} is {shown[1]})" in line


@pytest.mark.parametrize("names", [("a.wav", "A.wav"), ("caf\xe9.wav", "cafe\u0301.wav")])
def test_two_names_are_refused_where_the_disk_takes_them_for_one(tmp_path, names):
    paths = [f"audio/{name}" for name in names]
    (tmp_path / "audio").mkdir()
    (tmp_path / paths[0]).touch()
    (tmp_path / paths[1]).hardlink_to(tmp_path / paths[0])  # as a disk without case has it
    (line,) = read_listed(tmp_path, paths, [])
    assert all(path in line or ascii(path) in line for path in paths)
    (tmp_path / paths[1]).unlink()
    (tmp_path / paths[1]).touch()
    assert len(read_dataset(tmp_path).clips) == 2


@pytest.mark.parametrize("mark", ["\u2028", "\x0c"])
def test_only_line_ends_end_a_row(tmp_path, mark):
    path = f"audio/a{mark}b.wav"
    (tmp_path / "audio").mkdir()
    (tmp_path / path).touch()
    (tmp_path / META).write_text(f"{path}\tbus\tl\n")
    assert [clip.path for clip in read_dataset(tmp_path).clips] == [path]


@pytest.mark.parametrize(
    "label",
    ["a/b", "a\\b", ".bus", "a\x1bb", "a\u2028b", "\xe9" * 101],
)
def test_a_label_that_files_cannot_be_named_after(tmp_path, label):
    with refused(path=META) as caught:
        lay_out(tmp_path, f"{HEADER}audio/0.wav\ttram\tl\naudio/1.wav\t{label}\tl\n")
    assert "line 3" in caught.value.message and ascii(label[:60]) in caught.value.message
    assert caught.value.message.isascii()


@pytest.mark.parametrize(
    "label", ["a b", "caf\xe9", "a,b", 'a"b', "x" * 200, "-", "1.5", "\u516c\u5712"]
)
def test_a_label_that_files_can_be_named_after(tmp_path, label):
    dataset = lay_out(tmp_path, f"audio/0.wav\ttram\naudio/1.wav\t{label}\n")
    assert set(dataset.scene_labels) == {"tram", label}
    (tmp_path / f".{label}-fold10-b00000-r00.wav.1234567.partial").touch()


@pytest.mark.parametrize("table", ["audio/0.wav\t{}\naudio/1.wav\t{}\n",
                                   "audio/0.wav\tbus\t{}\naudio/1.wav\tbus\t{}\n"],
                         ids=["scene_label", "identifier"])  # fmt: skip
@pytest.mark.parametrize(
    "names",
    [
        ("Bus", "bus"),
        ("caf\xe9", "cafe\u0301"),
        ("bus\ufeffstop", "busstop"),
        ("bus stop", "bus\xa0stop"),
        ("bus stop", "bus  stop"),
        ("1", "01"),
        ("0", "00"),
        ("stra\xdfe", "STRASSE"),
    ],
)
def test_names_that_look_alike(tmp_path, table, names):
    with refused(path=META) as caught:
        lay_out(tmp_path, table.format(*names))
    assert all(ascii(name) in caught.value.message for name in names)


@pytest.mark.parametrize(
    ("first", "second"), [("10", "1"), ("a1", "a01"), ("bus", "bus_"), ("0", "")]
)
def test_identifiers_that_differ_plainly(tmp_path, first, second):
    dataset = lay_out(tmp_path, f"audio/0.wav\tbus\t{first}\naudio/1.wav\ttram\t{second}\n")
    assert [clip.location for clip in dataset.clips] == [first, second or "audio/1.wav"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("\ufeffaudio/0.wav\tbus\n".encode("utf-16-le"), "UTF-8"),
        ("\ufeffaudio/0.wav\tbus\n".encode("utf-16-be"), "UTF-8"),
        ("audio/0.wav\tbus\n".encode("utf-16-le"), "UTF-8"),
        ("audio/0.wav\tcaf\xe9\n".encode("latin-1"), "UTF-8"),
        (b'audio/0.wav\t"bus\tl\naudio/1.wav\ttram\tm\n', "line 1"),
        (b'audio/0.wav\tbus\n"audio/1.wav\tbus\naudio/2.wav\tbus"\n', "line 2"),
        (b"audio/0.wav\t" + b"x" * 200_000, "line 1"),
    ],
    ids=["UTF-16", "UTF-16 BE", "UTF-16 without its mark", "Latin-1", "an open quote",
         "quotes of two rows", "no text"],
)  # fmt: skip
def test_a_file_that_is_no_table(tmp_path, content, named):
    (tmp_path / META).write_bytes(content)
    with refused(path=META) as caught:
        read_dataset(tmp_path)
    assert named in caught.value.message


def test_a_folder_in_the_place_of_a_table(tmp_path):
    (tmp_path / "evaluation_setup" / "fold1_train.txt").mkdir(parents=True)
    with refused(path="fold1_train.txt"):
        lay_out(tmp_path, TUT, fold1_evaluate_txt=EVALUATE)


def test_a_pipe_in_the_place_of_a_table_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / META)
    with refused(path=META):
        read_dataset(tmp_path)
    (tmp_path / META).unlink()
    (tmp_path / "evaluation_setup").mkdir()
    os.mkfifo(tmp_path / "evaluation_setup" / "fold1_train.txt")
    with refused(path="fold1_train.txt"):
        lay_out(tmp_path, TUT, fold1_evaluate_txt=EVALUATE)


def test_reading_tables_needs_neither_jax_nor_a_decoder(scenes):
    program = (
        "import sys; from asc_jax.data import read_dataset; read_dataset(sys.argv[1]); "
        "print(sorted({'jax', 'soundfile', 'sklearn', 'librosa'} & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(scenes)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def write_files(root: pathlib.Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_a_folder_per_class_needs_no_table(tmp_path):
    names = ["dog/a.wav", "dog/deep/b.MP3", "rain/c.flac", "rain/airport-lyon-3-7-a.wav"]
    write_files(tmp_path, *names, "rain/notes.txt", ".git/x.wav", "dog/.hidden.wav")
    dataset = read_dataset(tmp_path)
    assert sorted(clip.path for clip in dataset.clips) == sorted(names)
    assert dataset.scene_labels == ("dog", "rain")
    labels = {clip.path: clip.scene_label for clip in dataset.clips}
    assert labels["dog/deep/b.MP3"] == "dog"
    assert not dataset.no_identifiers  # a name of TUT's form says where it was
    (tmp_path / "rain/airport-lyon-3-7-a.wav").unlink()
    assert read_dataset(tmp_path).no_identifiers


@pytest.mark.parametrize(
    ("names", "where"),
    [
        (["dog/a.wav", "rain/notes.txt"], "rain"),  # a class without a recording
        (["dog/a.wav", "rain/b.wav", "loose.wav"], "."),
        (["dog/a.wav", "audio/.x.wav"], "audio"),
        (["loose.wav"], "."),
        (["notes.txt"], "meta.csv"),
    ],
)
def test_folders_that_could_mean_something_else_are_refused(tmp_path, names, where):
    write_files(tmp_path, *names)
    with refused(path=tmp_path / where if where != "." else tmp_path):
        read_dataset(tmp_path)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_commas_and_semicolons_separate_what_a_header_names(tmp_path, delimiter, bom, newline):
    rows = [
        ["Identifier", "filename", "scene_label"],
        ["r1", "clips/a,b;c.wav", "dog"],
        ["r2", "clips/d.wav", '"quoted" rain'],
    ]
    quote = lambda cell: '"' + cell.replace('"', '""') + '"'
    text = newline.join(delimiter.join(map(quote, row)) for row in rows)
    write_files(tmp_path, "clips/a,b;c.wav", "clips/d.wav")
    (tmp_path / META).write_text(bom + text, newline="")
    dataset = read_dataset(tmp_path)
    assert [(c.path, c.scene_label, c.location) for c in dataset.clips] == [
        ("clips/a,b;c.wav", "dog", "r1"), ("clips/d.wav", '"quoted" rain', "r2"),
    ]  # fmt: skip


def test_a_column_of_folds_publishes_them(tmp_path):
    rows = [("a.wav", "dog", 2), ("b.wav", "rain", 1), ("c.wav", "dog", 1), ("d.wav", "rain", 2)]
    write_files(tmp_path, *(row[0] for row in rows))
    table = "filename,scene_label,fold\n" + "".join(f"{n},{s},{f}\n" for n, s, f in rows)
    (tmp_path / META).write_text(table)
    folds = read_dataset(tmp_path).published_folds
    assert folds == {1: PublishedFold((0, 3), (1, 2)), 2: PublishedFold((1, 2), (0, 3))}
    for wrong in ("0", "x", "", "\xb2", "10000", "9" * 5000):
        (tmp_path / META).write_text(table.replace("c.wav,dog,1", f"c.wav,dog,{wrong}"))
        with refused(path=tmp_path / META) as caught:
            read_dataset(tmp_path)
        assert len(caught.value.message) < 200
    (tmp_path / META).write_text(table)
    write_files(tmp_path, "evaluation_setup/fold1_train.txt")
    with refused(path=tmp_path / META):
        read_dataset(tmp_path)


def test_a_column_of_splits_is_a_published_fold(tmp_path):
    rows = [("a.wav", "dog", "train"), ("b.wav", "rain", "Test"), ("c.wav", "dog", "evaluate")]
    write_files(tmp_path, *(row[0] for row in rows))
    table = "split;filename;scene_label\n" + "".join(f"{s};{n};{c}\n" for n, c, s in rows)
    (tmp_path / META).write_text(table)
    assert read_dataset(tmp_path).published_folds == {1: PublishedFold((0,), (1, 2))}
    for wrong in ("valid", ""):
        (tmp_path / META).write_text(table.replace("evaluate", wrong))
        with refused(path=tmp_path / META):
            read_dataset(tmp_path)
    (tmp_path / META).write_text(table.replace("Test", "train").replace("evaluate", "train"))
    with refused(path=tmp_path / META):
        read_dataset(tmp_path)


ESC_50 = (
    "filename,fold,target,category,esc10,src_file,take\n"
    "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
    "2-117271-A-0.wav,2,0,dog,True,117271,A\n"
    "2-117271-B-10.wav,2,10,rain,True,117271,B\n"
)
URBAN_SOUND = (
    "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
    "100032-3-0-0.wav,100032,0.0,0.317551,1,1,3,dog_bark\n"
    "100263-2-0-117.wav,100263,58.5,62.5,1,2,2,children_playing\n"
    "100263-2-0-121.wav,100263,60.5,64.5,1,2,2,children_playing\n"
)
PUBLISHED = {
    "meta/esc50.csv": (ESC_50, "audio/1-100032-A-0.wav", "dog"),
    "metadata/UrbanSound8K.csv": (URBAN_SOUND, "audio/fold1/100032-3-0-0.wav", "dog_bark"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sets_are_read_as_they_are_unpacked(tmp_path, name):
    text, first, label = PUBLISHED[name]
    lines = [line.split(",") for line in text.splitlines()[1:]]
    files = [f"audio/{c[0]}" if "esc50" in name else f"audio/fold{c[5]}/{c[0]}" for c in lines]
    write_files(tmp_path, *files)
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text)
    dataset = read_dataset(tmp_path)
    assert [clip.path for clip in dataset.clips] == files and files[0] == first
    assert dataset.clips[0].scene_label == label
    one, *two = [clip.location for clip in dataset.clips]
    assert len(set(two)) == 1 and one not in two
    assert dataset.published_folds == {
        1: PublishedFold((1, 2), (0,)),
        2: PublishedFold((0,), (1, 2)),
    }
    for damaged in (
        text.replace("fold", "part", 1),
        text.replace(f",{label}", ","),
        text[:-40],
        "\0",
    ):
        (tmp_path / name).write_text(damaged)
        with refused(path=tmp_path / name):
            read_dataset(tmp_path)


@pytest.mark.parametrize("name", ["labels.csv", "my recordings.TSV"])
def test_another_table_serves_if_it_names_files(tmp_path, name):
    """Also beside recordings in folders, which are no classes then."""
    write_files(tmp_path, "clips/a.wav", "clips/b.wav")
    (tmp_path / "notes.csv").write_text("who,when\nme,today\n")
    (tmp_path / name).write_text("filename,scene_label\nclips/a.wav,dog\nclips/b.wav,rain\n")
    assert [clip.scene_label for clip in read_dataset(tmp_path).clips] == ["dog", "rain"]
    (tmp_path / "another.csv").write_text("filename,scene_label\nclips/a.wav,dog\n")
    with refused(path=tmp_path / "another.csv"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    "table",
    ["file,scene_label\ndog/a.wav,rain\n", "filename,scene_label,comment\ndog/a.wav,rain,x\n",
     "label;path\nrain;C:\\sounds\\a.wav\n"],
)  # fmt: skip
def test_a_table_of_recordings_with_other_columns_is_not_passed_over(tmp_path, table):
    write_files(tmp_path, "dog/a.wav", "rain/b.wav")
    (tmp_path / "labels.csv").write_text(table)
    with refused(path=tmp_path / "labels.csv"):
        read_dataset(tmp_path)


def test_tables_that_name_no_files_stand_beside_classes(tmp_path):
    write_files(tmp_path, "dog/a.wav", "rain/b.wav")
    (tmp_path / "notes.csv").write_text("who,when\nme,today\n")
    assert read_dataset(tmp_path).scene_labels == ("dog", "rain")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_table_in_another_encoding_is_not_passed_over_for_folders(tmp_path, encoding):
    write_files(tmp_path, "audio/a.wav")
    table = "filename\tscene_label\naudio/a.wav\tcaf\xe9\n"
    (tmp_path / "table.tsv").write_bytes(table.encode(encoding))
    with refused(path="table.tsv"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("name", ["dog ", os.fsdecode(b"dog\xff")])
def test_a_class_that_no_table_can_name_is_refused(tmp_path, name):
    write_files(tmp_path, f"{name}/a.wav", "rain/b.wav")
    with refused(path=tmp_path):
        read_dataset(tmp_path)
