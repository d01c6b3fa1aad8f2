"""The report page: whole, self-contained, safe against what its input says."""

import copy
import json
import re
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from refusals import refused

from asc_jax.report.curves import fold_lines, loss_top, mean_line
from asc_jax.report.drawing import ticks
from asc_jax.report.formatting import DASH, duration, percent, quantity
from asc_jax.report.page import read_report, write_page

LABELS = ["airport", "street_pedestrian", "tram"]


def score(value):
    return {"value": value, "low": value - 0.041, "high": value + 0.032}


def system(name, value):
    per_class = [{"scene_label": s, "n_clips": 10, **score(value)} for s in LABELS]
    scores = {"accuracy": score(value), "class_wise_accuracy": score(value + 0.01)}
    confusion = [[7, 2, 1], [0, 10, 0], [3, 3, 4]]
    return {"name": name, **scores, "per_class": per_class, "confusion": confusion}


def scored_list(name, *systems):
    title, size = name.replace("_", "-").capitalize(), {"n_clips": 2518, "n_locations": 83}
    scored = {"name": name, "title": title, "description": f"what {name} is", **size}
    class_wise = {"value": 0.5, "low": 0.4, "high": 0.6}
    folds = [
        {
            "fold": f,
            "n_clips": 10,
            "accuracy": score(0.6 + 0.1 * f),
            "class_wise_accuracy": class_wise,
        }
        for f in (1, 2)
    ]
    return scored | {"systems": list(systems), "per_fold": folds}


def split(fold):
    clips = {"train_clips": 320, "inner_clips": 0, "held_out_clips": 80}
    return {"fold": fold, **clips, "train_locations": 240, "held_out_locations": 60}


NETWORK = {"parameters": 14590000, "macs": 1370000000, "convolutions": 101}
NETWORK |= {"receptive_field": 2945, "input": [40, 500]}
TRAINING = {"n_folds": 2, "epochs": 3, "steps": 60, "batch_size": 32, "seconds": 812.5}
TRAINING |= {"clips_per_second": 55.2, "selection": "last", "selected_epochs": [3, 3]}
TRAINING |= {"note": "Scores come from the last epoch; no clip that is scored chose a checkpoint."}
DATA = {"root": "esc10", "n_clips": 400, "n_locations": 300, "sr": 44100, "clip_seconds": 5.0}
FILES = ["submission/leaderboard_kaggle.csv"]
REPORT = {
    "format": 1,
    "title": "SE-ResNet(152)-rev",
    "config": "se_resnet152",
    "created": "2026-11-22T16:30:00Z",
    "versions": {"asc_jax": "0.1.0", "jax": "0.10.2"},
    "device": "cpu x 1",
    "network": NETWORK,
    "training": TRAINING,
    "data": DATA | {"splits": [split(1), split(2)]},
    "scene_labels": LABELS,
    "lists": [
        scored_list("out_of_fold", system("held-out fold", 0.812)),
        scored_list("test", system("mean of logits", 0.743), system("mean of softmax", 0.7)),
    ],
    "unlabelled": [{"name": "leaderboard", "n_clips": 1200, "files": FILES}],
}
TIMES = {"seconds": 2.5, "clips_per_second": 50.0}
METRICS = [
    {
        "epoch": epoch,
        **TIMES,
        "loss": [2.0 / epoch, 2.2 / epoch],
        "validation_loss": [2.1 / epoch, 2.4 / epoch],
        "validation_accuracy": [0.2 * epoch, 0.21 * epoch],
        "validation_list": "held_out",
    }
    for epoch in (1, 2, 3)
]


@pytest.fixture
def run(tmp_path):
    """Write a run folder and its page; gives the folder and the page's HTML."""

    def write(report=REPORT, metrics=METRICS, name="run"):
        workdir = tmp_path / name
        workdir.mkdir()
        (workdir / "report.json").write_text(json.dumps(report))
        if metrics is not None:
            lines = "".join(json.dumps(record) + "\n" for record in metrics)
            (workdir / "metrics.jsonl").write_text(lines)
        assert write_page(workdir) == workdir / "report.html"
        return workdir, (workdir / "report.html").read_text(encoding="utf-8")

    return write


def test_the_page_is_self_contained(run, parse):
    workdir, html = run()
    page = parse(html)
    assert not page.all("img")
    files = [link for link in page.links if link.startswith("./")]
    figures = {link[2:] for link in files if link.startswith("./figures/")}
    assert figures == {f"figures/{path.name}" for path in (workdir / "figures").iterdir()}
    assert "./submission/leaderboard_kaggle.csv" in files
    assert {link[1:] for link in page.links if link[0] == "#"} == set(page.values("id"))


def test_scores_stand_with_their_intervals_and_the_test_list_first(run, parse):
    page = parse(run()[1])
    headline = page.words.index("75.3 %")
    assert headline < page.words.index(f"71.2{DASH}78.5") < page.words.index("82.2 %")
    values = [f"74.3 70.2{DASH}77.5", f"82.2 78.1{DASH}85.4", "75.0 ± 7.1", "14.59 M"]
    for value in (*values, "13 min 32 s", TRAINING["note"]):
        assert value in page.words
    cells = [own for own in page.all("td") if "title" in own]
    assert len(cells) == 2 * len(LABELS) ** 2
    assert sum("hit" in own.get("class", "") for own in cells) == 2 * len(LABELS)
    assert ("tram → airport: 3 of 10", "--s:0.300") in [(c["title"], c["style"]) for c in cells]


def test_hostile_input_stays_text(run, parse):
    hostile = "<script>alert(1)</script>\"'&$x_{$"
    report = copy.deepcopy(REPORT)
    report |= {"title": hostile, "config": hostile, "scene_labels": [hostile, "a", "b"]}
    for scored in report["lists"]:
        scored["title"] = scored["description"] = hostile
        for part in scored["systems"]:
            part["name"] = part["per_class"][0]["scene_label"] = hostile
    report["lists"][0]["name"] = "../../" + hostile
    report["versions"] = {hostile: hostile}
    report["unlabelled"] = [
        {"name": hostile, "n_clips": 1, "files": ["javascript:alert(1)", "//host/x", hostile]}
    ]
    workdir, html = run(report)
    page = parse(html)
    assert hostile in page.words
    assert {"./javascript%3Aalert%281%29", ".///host/x"} <= set(page.links)
    written = {path.relative_to(workdir).parts[0] for path in workdir.rglob("*")}
    assert written == {"report.json", "metrics.jsonl", "report.html", "figures"}


def test_same_input_gives_the_same_bytes(run):
    def content(workdir):
        files = (path for path in workdir.rglob("*") if path.is_file())
        return {path.relative_to(workdir): path.read_bytes() for path in files}

    first, _ = run(name="first")
    second, _ = run(name="second")
    assert content(first) == content(second)
    write_page(first)
    assert content(first) == content(second)


def test_figures_are_svg(run):
    workdir, _ = run()
    paths = sorted((workdir / "figures").iterdir())
    of_lists = [
        f"{k}_{name}" for k in ("confusion", "per_class") for name in ("out_of_fold", "test")
    ]
    assert [path.stem for path in paths] == sorted([*of_lists, "learning_curves"])
    for path in paths:
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1.0, None])
def test_one_class_one_clip_and_no_loss_are_drawn_without_a_warning(run, parse, value):
    one = {"value": value, "low": value and 0.2, "high": value}
    per_class = [{"scene_label": "tram", "n_clips": 1, **one}]
    scores = {"accuracy": one, "class_wise_accuracy": one}
    system = {"name": "fold 1", **scores, "per_class": per_class, "confusion": [[1]]}
    scored = {"name": "out_of_fold", "n_clips": 1, "n_locations": 1, "systems": [system]}
    folds = [{"fold": fold, "n_clips": 1, **scores} for fold in (1, 2)]
    report = {"scene_labels": ["tram"], "lists": [scored | {"per_fold": folds}]}
    metrics = [{"epoch": 1, **TIMES, "loss": [0.0], "validation_accuracy": [value]}]
    workdir, html = run(report=report, metrics=metrics)
    assert ("100.0" in parse(html).words) == (value == 1)
    assert len(list((workdir / "figures").iterdir())) == 3


def test_two_lists_have_two_figures_and_an_earlier_one_has_none(run):
    lists = [REPORT["lists"][0] | {"name": name} for name in ("a b", "a_b", "../x")]
    workdir, html = run(report=REPORT | {"lists": lists})
    figures = {path.name for path in (workdir / "figures").iterdir()}
    assert len([name for name in figures if name.startswith("confusion")]) == 3
    assert all(f'"./figures/{quote(name)}"' in html for name in figures)
    report = REPORT | {"lists": lists[:1]}
    (workdir / "report.json").write_text(json.dumps(report))
    write_page(workdir)
    left = {path.name for path in (workdir / "figures").iterdir()}
    assert left < figures and len([name for name in left if "confusion" in name]) == 1


def test_charts_in_the_page_are_valid_xml(run):
    _, html = run()
    charts = re.findall(r"<figure.*?</figure>", html, re.DOTALL)
    assert len(charts) == 2
    for chart in charts:
        ElementTree.fromstring(chart)
    assert charts[1].count("<circle") == 2


@pytest.mark.parametrize(
    "report",
    [
        {"format": 1},
        REPORT | {"lists": []},
        REPORT | {"lists": [scored_list("test")], "unlabelled": []},
        {key: REPORT[key] for key in ("format", "title", "lists")},
    ],
    ids=["bare", "unlabelled only", "no systems", "scores only"],
)
def test_missing_sections_are_harmless(run, parse, report):
    workdir, html = run(report, metrics=None)
    assert not parse(html).all("figure")
    assert not (workdir / "figures/learning_curves.svg").exists()


def test_scores_without_interval_or_value_are_shown_as_such(run, parse):
    report = copy.deepcopy(REPORT)
    part = report["lists"][0]["systems"][0]
    part["class_wise_accuracy"] = {"value": 0.5}
    part["per_class"][0] |= {"value": None, "low": None, "high": None, "n_clips": 0}
    part["confusion"][0] = [0, 0, 0]
    assert f"airport 0 {DASH}" in parse(run(report)[1]).words


def test_epochs_without_validation_and_a_torn_line(run, parse):
    metrics = copy.deepcopy(METRICS)
    metrics[1] |= {"validation_loss": None, "validation_accuracy": None}
    metrics[2]["loss"] = [None, 1.0]
    workdir, html = run(metrics=metrics)
    assert "nan" not in "".join(parse(html).values("d"))
    with (workdir / "metrics.jsonl").open("a") as log:
        log.write('{"epoch": 4, "lo')
    write_page(workdir)
    assert (workdir / "report.html").read_text(encoding="utf-8") == html


def test_a_missing_report_is_named(tmp_path):
    with refused(path=tmp_path / "report.json") as caught:
        write_page(tmp_path)
    assert f"asc-jax evaluate --workdir={tmp_path}" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", "{"),
        ("report.json", "[]"),
        ("report.json", '{"format": 2}'),
        ("report.json", '{"format": 1, "training": {"seconds": NaN}}'),
        ("metrics.jsonl:1", '{"epoch": 1, "seconds": 1, "clips_per_second": 1, "loss": [NaN]}\n'),
        ("metrics.jsonl:2", json.dumps(METRICS[0]) + "\nno\n"),
        ("metrics.jsonl:1", '{"step": 1}\n'),
    ],
)
def test_broken_input_is_named(tmp_path, name, content):
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    (tmp_path / name.partition(":")[0]).write_text(content)
    with refused(path=name):
        write_page(tmp_path)


def test_numbers_read_well():
    assert [percent(x) for x in (0.8125, 1.0, None, float("nan"))] == ["81.2", "100.0", DASH, DASH]
    shown = ["2,945", "14.59 M", "1.37 G", "0"]
    assert [quantity(x) for x in (2945, 14590000, 1370000000, 0)] == shown
    assert [duration(x) for x in (3.14, 812.5, 18432)] == ["3.1 s", "13 min 32 s", "5 h 07 min"]


def test_lines_of_the_curves():
    lines = fold_lines([{"epoch": 1, "loss": [1, 3]}, {"epoch": 2, "loss": [2, None]}], "loss")
    assert lines == [[(1, 1), (2, 2)], [(1, 3)]]
    assert mean_line(lines) == [(1, 2)]
    assert loss_top([[(e, 1.0) for e in range(99)] + [(99, 1e6)]]) == pytest.approx(1.05)
    assert ticks(1.0, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(60, 6) == pytest.approx([0, 10, 20, 30, 40, 50, 60])


@pytest.mark.parametrize(
    "changed",
    [
        {"lists": {"test": 1}},
        {"lists": [{"name": 3}]},
        {"lists": [scored_list("test") | {"systems": ["a"]}]},
        {"unlabelled": [{"name": "test"}]},
        {"training": {"epochs": "4"}},
        {"training": {"epochs": None}},
        {"versions": "1.0"},
        {"network": {"macs": ""}},
        {"title": 5},
    ],
)
def test_a_report_whose_parts_are_of_another_kind_is_refused(tmp_path, changed):
    (tmp_path / "report.json").write_text(json.dumps(REPORT | changed))
    with refused(path="report.json"):
        read_report(tmp_path / "report.json")
