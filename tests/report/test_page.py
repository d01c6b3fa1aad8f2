"""The report page: whole, self-contained, safe against what its input says."""

import copy
import json
import re
import shutil
from statistics import fmean, stdev
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from checkout import KEPT
from refusals import refused

from asc_jax.report.curves import fold_lines, loss_top, mean_line
from asc_jax.report.drawing import ticks
from asc_jax.report.formatting import DASH, duration, interval, percent, quantity
from asc_jax.report.page import read_report, write_page
from asc_jax.runs.metrics_log import read_metrics

SPLIT = {"train_clips": 320, "inner_clips": 0, "held_out_clips": 80, "train_locations": 240}
MORE = {
    "created": "2026-11-22T16:30:00Z",
    "data": {"root": "esc10", "n_clips": 400, "sr": 44100, "splits": [SPLIT | {"fold": 1}]},
    "unlabelled": [{"name": "leaderboard", "n_clips": 1200, "files": ["submission/a_dcase.txt"]}],
}
TRAINING = {"n_folds": 2, "seconds": 812.5, "selected_epochs": [2, 2], "note": "What was chosen."}


@pytest.fixture(scope="module")
def written(tmp_path_factory, write_run):
    """A run's report, with all that an evaluation says of it, and its log."""
    folder = write_run(tmp_path_factory.mktemp("written") / "run")
    report = json.loads((folder / "report.json").read_text()) | MORE
    report["training"] |= TRAINING
    return report, read_metrics(folder / "metrics.jsonl")


@pytest.fixture
def report(written):
    return copy.deepcopy(written[0])


@pytest.fixture
def metrics(written):
    return copy.deepcopy(written[1])


@pytest.fixture
def run(tmp_path, report, metrics):
    """Writes a run folder and its page; gives the folder and the page's HTML."""

    def write(report=report, metrics=metrics, name="run"):
        workdir = tmp_path / name
        workdir.mkdir(parents=True)
        (workdir / "report.json").write_text(json.dumps(report))
        lines = "".join(json.dumps(record) + "\n" for record in metrics)
        (workdir / "metrics.jsonl").write_text(lines)
        assert write_page(workdir) == workdir / "report.html"
        return workdir, (workdir / "report.html").read_text(encoding="utf-8")

    return write


def test_the_page_is_self_contained(run, parse):
    workdir, html = run()
    page = parse(html)
    assert not page.all("img")
    figures = {workdir / link for link in page.links if link.startswith("./figures/")}
    names = {
        f"{kind}_{of}" for kind in ("confusion", "per_class") for of in ("out_of_fold", "test")
    }
    assert {path.stem for path in figures} == names | {"learning_curves"}
    assert figures == set((workdir / "figures").iterdir())
    for path in figures:
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert "./submission/a_dcase.txt" in page.links
    assert {link[1:] for link in page.links if link[0] == "#"} == set(page.values("id"))


def test_scores_stand_with_their_intervals_and_the_test_list_first(run, report, parse):
    page = parse(run()[1])
    scores = {one["name"]: one["systems"][0] for one in report["lists"]}
    class_wise = [scores[name]["class_wise_accuracy"] for name in ("test", "out_of_fold")]
    first, second = (page.words.index(interval(one)) for one in class_wise)
    assert page.words.index(f"{percent(class_wise[0]['value'])} %") < first < second
    for one in scores.values():
        assert f"{percent(one['accuracy']['value'])} {interval(one['accuracy'])}" in page.words
    of_folds = [fold["accuracy"]["value"] for fold in report["lists"][0]["per_fold"]]
    spread = f"{percent(fmean(of_folds))} ± {percent(stdev(of_folds))}"
    assert all(words in page.words for words in (spread, "13 min 32 s", TRAINING["note"]))
    cells = [own for own in page.all("td") if "title" in own]
    assert len(cells) == 2 * 3**2
    assert sum("hit" in own.get("class", "") for own in cells) == 2 * 3
    counts = scores["test"]["confusion"][2]
    share = f"--s:{counts[0] / sum(counts):.3f}"
    found = [(cell["title"], cell["style"]) for cell in cells]
    assert (f"tram → park: {counts[0]} of {sum(counts)}", share) in found


def test_hostile_input_stays_text(run, report, parse):
    hostile = "<script>alert(1)</script>\"'&$x_{$"
    config = {"model.name": hostile, f"model.{hostile}": [hostile], "augment.name": hostile}
    report |= {"title": hostile, "config": config, "scene_labels": [hostile, "a", "b"]}
    for scored in report["lists"]:
        scored["title"] = scored["description"] = scored["per_city"][0]["city"] = hostile
        clip = {"path": f"{hostile}.wav", "scene_label": hostile, "answer": hostile}
        clip |= {"scene_probability": 0.1, "answer_probability": 0.9}
        scored["wrong"] = {"n_clips": 1, "most_certain": [clip]}
        scored["audio_root"] = "javascript:alert(1)"
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
    assert f"./javascript%3Aalert%281%29/{quote(hostile)}.wav" in page.values("src")
    written = {path.relative_to(workdir).parts[0] for path in workdir.rglob("*")}
    assert written == {"report.json", "metrics.jsonl", "report.html", "figures"}


def test_wrong_answers_stand_with_their_recordings(run, report, parse):
    out_of_fold, test = report["lists"]
    for one, name in ((out_of_fold, "long"), (test, "short")):
        clips = [
            {
                "path": f"audio/{name}{i}.{'aiff' if i == 2 else 'WAV'}",
                "scene_label": "park",
                "scene_probability": 0.25,
                "answer": "tram",
                "answer_probability": 0.75 - i / 1000,
            }
            for i in range(50 if name == "long" else 3)
        ]
        one["wrong"] = {"n_clips": 1312 if name == "long" else 3, "most_certain": clips}
    out_of_fold["audio_root"], test["audio_root"] = "../../set", ""
    html = run()[1]
    page = parse(html)
    assert all(p["preload"] == "none" and "controls" in p for p in page.all("audio"))
    playable = [f"audio/long{i}.WAV" for i in range(50) if i != 2]
    assert [player["aria-label"] for player in page.all("audio")] == playable
    assert page.all("audio")[0]["src"] == "./../../set/audio/long0.WAV"
    assert "./../../set/audio/long2.aiff" in page.values("href")
    assert "The 50 most certain of 1,312" in page.words and "media-src 'self'" in html
    assert page.words.index("audio/short0.WAV") < page.words.index("audio/short1.WAV")
    assert "audio/short1.WAV park 25.0 % tram 74.9 %" in page.words
    sections = dict(re.findall(r"<h2>(.*?)</h2>(.*?)</section>", html, re.DOTALL))
    folded = {name: "audio" in "".join(re.findall("<details>.*?</details>", body, re.DOTALL))
              for name, body in sections.items()}  # fmt: skip
    assert folded["Out_<wbr>Of_<wbr>Fold"] and not folded["Test"]


def test_scores_stand_by_device_and_city(run, report, parse):
    page = parse(run()[1])
    for one in report["lists"]:
        for field, names in (("device", ["a", "b"]), ("city", ["paris", "vienna"])):
            assert [part[field] for part in one[f"per_{field}"]] == names
            for part in one[f"per_{field}"]:
                scores = [part[name] for name in ("accuracy", "class_wise_accuracy")]
                said = " ".join(f"{percent(s['value'])} {interval(s)}" for s in scores)
                assert f"{part[field]} {part['n_clips']} {said}" in page.words


def test_the_report_of_an_earlier_version_has_a_page(tmp_path, parse):
    for name in ("report.json", "metrics.jsonl"):
        shutil.copy(KEPT / "format1" / name, tmp_path)
    page = parse(write_page(tmp_path))
    assert "held-out fold" in page.words and not page.all("audio")
    later = ("Wrong answers", "By device", "By city", "Optimizer", "Seed")
    assert not any(words in page.words for words in later)


def test_same_input_gives_the_same_bytes(run):
    def content(workdir):
        files = (path for path in workdir.rglob("*") if path.is_file())
        return {path.relative_to(workdir): path.read_bytes() for path in files}

    first, _ = run(name="a/same")
    second, _ = run(name="b/same")
    assert content(first) == content(second)
    write_page(first)
    assert content(first) == content(second)


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
    epoch = {"epoch": 1, "seconds": 2.5, "clips_per_second": 50.0}
    metrics = [epoch | {"loss": [0.0], "validation_accuracy": [value]}]
    workdir, html = run(report=report, metrics=metrics)
    assert ("100.0" in parse(html).words) == (value == 1)
    assert len(list((workdir / "figures").iterdir())) == 3


def test_two_lists_have_two_figures_and_an_earlier_one_has_none(run, report):
    lists = [report["lists"][0] | {"name": name} for name in ("a b", "a_b", "../x")]
    workdir, html = run(report=report | {"lists": lists})
    figures = {path.name for path in (workdir / "figures").iterdir()}
    assert len([name for name in figures if name.startswith("confusion")]) == 3
    assert all(f'"./figures/{quote(name)}"' in html for name in figures)
    (workdir / "report.json").write_text(json.dumps(report | {"lists": lists[:1]}))
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
    "reduce",
    [
        lambda report: {"format": 1},
        lambda report: report | {"lists": []},
        lambda report: report | {"lists": [report["lists"][1] | {"systems": []}], "unlabelled": []},
        lambda report: {key: report[key] for key in ("format", "title", "lists")},
    ],
    ids=["bare", "unlabelled only", "no systems", "scores only"],
)
def test_missing_sections_are_harmless(run, report, parse, reduce):
    workdir, html = run(reduce(report), metrics=[])
    assert not parse(html).all("figure")
    assert not (workdir / "figures/learning_curves.svg").exists()


def test_scores_without_interval_or_value_are_shown_as_such(run, report, parse):
    part = report["lists"][0]["systems"][0]
    part["class_wise_accuracy"] = {"value": 0.5}
    part["per_class"][0] |= {"value": None, "low": None, "high": None, "n_clips": 0}
    part["confusion"][0] = [0, 0, 0]
    assert f"park 0 {DASH}" in parse(run()[1]).words


def test_epochs_without_validation_and_a_torn_line(run, metrics, parse):
    metrics[1] |= {"validation_loss": None, "validation_accuracy": None, "loss": [None, 1.0]}
    workdir, html = run()
    assert "nan" not in "".join(parse(html).values("d"))
    with (workdir / "metrics.jsonl").open("a") as log:
        log.write('{"epoch": 4, "lo')
    write_page(workdir)
    assert (workdir / "report.html").read_text(encoding="utf-8") == html


@pytest.mark.parametrize(
    "epochs, best, last",
    [
        ([[0.5, 0.9], [0.8, 0.7], [0.6, 0.6]], "85.0", "60.0"),  # folds have their own best epochs
        ([[0.5, 0.9]], None, None),  # nothing to choose from
    ],
)
def test_the_optimistic_score_stands_beside_the_last_one(run, metrics, parse, epochs, best, last):
    """By how much a score flatters whose epochs were chosen on the scored clips."""
    log = [
        metrics[0] | {"epoch": i, "validation_list": "held_out", "validation_accuracy": scores}
        for i, scores in enumerate(epochs, start=1)
    ]
    words = parse(run(metrics=log)[1]).words
    assert ("Optimistic score" in words) == (best is not None)
    if best:
        said = words.partition("Optimistic score")[2]
        assert re.findall(r"[\d.]+(?= %)", said)[:2] == [best, last]
    inner = [line | {"validation_list": "inner"} for line in log]
    assert "Optimistic score" not in parse(run(metrics=inner, name="inner")[1]).words


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
    ],
)
def test_broken_input_is_named(tmp_path, report, name, content):
    (tmp_path / "report.json").write_text(json.dumps(report))
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
        {"lists": [{"name": "test", "systems": ["a"]}]},
        {"unlabelled": [{"name": "test"}]},
        {"training": {"epochs": None}},
        {"versions": "1.0"},
        {"network": {"macs": ""}},
        {"config": "optimizer.lr"},
        {"lists": [{"name": "test", "audio_root": 3}]},
        {"lists": [{"name": "test", "wrong": {"n_clips": None, "most_certain": []}}]},
        {"lists": [{"name": "test", "wrong": {"n_clips": 1, "most_certain": [{"path": "a"}]}}]},
        {"title": 5},
    ],
)
def test_a_report_whose_parts_are_of_another_kind_is_refused(tmp_path, report, changed):
    (tmp_path / "report.json").write_text(json.dumps(report | changed))
    with refused(path="report.json"):
        read_report(tmp_path / "report.json")
