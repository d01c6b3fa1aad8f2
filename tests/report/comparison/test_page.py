"""`asc-jax report`: the table in every form, the page, and what is refused."""

import csv
import json
import pathlib
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from asc_jax.cli import main
from asc_jax.data.clips import Clip
from asc_jax.flags import build_parser
from asc_jax.report.comparison.ensembles import KINDS
from asc_jax.report.comparison.page import write_comparison
from asc_jax.report.comparison.results import compare_runs
from asc_jax.report.formatting import MINUS, p_value, points
from asc_jax.report.page import write_page

pytestmark = pytest.mark.usefixtures("process_as_it_was")
SCENES = ("park", "street_pedestrian", "tram")
HOSTILE = "<script>alert(1)</script>\"'&|"


@pytest.fixture
def runs(tmp_path, write_run, monkeypatch):
    for name, skill, seed in (("a", 1.0, 1), ("b", 2.5, 2)):
        fields = {"model.se_ratio": 4, "data.workers": 7} if name == "b" else {}
        write_run(tmp_path / name, skill, seed, fields=fields)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_holds_the_table_and_links_the_runs(runs, capsys, parse):
    (runs / "a/report.html").write_text("a's own page")
    assert main(["report", "a", "b"]) == 0
    said = capsys.readouterr()
    assert said.err == "report.html\n"
    page = parse(runs / "report.html")
    assert not page.all("img")
    files = {link for link in page.links if link[0] not in "#d"}
    assert files == {"./a/report.html"}  # b has no page
    words = page.words
    for line in said.out.splitlines()[2:4]:
        score = line.split("|")[2].split()[0]
        assert score in words
    assert [own.get("class") for own in page.all("li")].count("better") == 1
    assert "model.se_ratio 16 → 4" in words
    assert "seed 1 → 2" in words
    assert "workers" not in words


def test_drawings_and_matrices_are_valid_xml(runs):
    write_comparison(compare_runs([pathlib.Path("a"), pathlib.Path("b")]))
    figures = re.findall(r"<figure.*?</figure>", (runs / "report.html").read_text(), re.DOTALL)
    assert len(figures) == 2 + 1 + 2 + 3  # confusions, a difference, reliability, curves
    for figure in figures:
        ElementTree.fromstring(figure.replace("<wbr>", ""))
    # The difference: a confusion that has become rarer is better, as a right answer more is.
    (matrix,) = (ElementTree.fromstring(f) for f in figures if 'up"' in f and "<table" in f)
    cells = [cell for cell in matrix.iter("td") if cell.get("title")]
    for cell in cells:
        change, _, points_of_it = cell.get("title").partition(": ")
        right = len(set(change.split(" → "))) == 1
        assert ("up" in cell.get("class")) == ((points_of_it[0] == "+") == right)
        assert ("hit" in cell.get("class")) == right
        assert set(cell.get("class").split()) <= {"hit", "up", "down"}
    assert len(cells) > 2


def test_a_sweeps_page_is_in_its_folder_and_the_same_again(tmp_path, write_sweep, capsys, parse):
    settings = {"base": ({}, 1.0), "model.se_ratio=4": ({"model.se_ratio": 4}, 1.1)}
    sweep = write_sweep(tmp_path / "sweep", settings, seeds=(0, 1))
    own = write_page(sweep / "base/seed1")
    assert "./../../report.html" not in parse(own).links  # there is none yet
    command = ["report", str(sweep), "--ensemble=greedy", "--list=out_of_fold"]
    assert main(command) == 0
    first = (sweep / "report.html").read_bytes()
    assert main(command) == 0
    assert (sweep / "report.html").read_bytes() == first
    words = parse(first.decode()).words
    built = KINDS["greedy"][0]
    assert all(part in words for part in ("A network", built, "base, seed 1"))
    assert [link for link in parse(first.decode()).links if link[0] == "."] == [
        "./base/seed1/report.html"
    ]
    assert "./../../report.html" in parse(own).links
    linked = own.read_bytes()
    assert write_page(own.parent).read_bytes() == linked
    assert built in capsys.readouterr().out


def test_a_sweeps_page_is_called_what_its_ablation_asks(tmp_path, write_sweep, write_run, parse):
    sweep = write_sweep(tmp_path / "sweep", {"base": ({}, 1.0), "b": ({"model.b": 4}, 1.1)}, (0,))
    titles = []
    for question in (None, f"Does {HOSTILE} help?"):
        record = json.loads((sweep / "sweep.json").read_text()) | {"question": question}
        (sweep / "sweep.json").write_text(json.dumps(record))
        words = parse(write_comparison(compare_runs([sweep]))).words
        titles.append(words)
        assert "A network" in words
    assert titles[1].startswith(f"Does {HOSTILE} help? ") and titles[1].count(HOSTILE) == 2
    assert titles[0].startswith("A network ")
    run = write_run(tmp_path / "run")
    page = parse(write_comparison(compare_runs([sweep, run]), tmp_path / "page.html"))
    assert HOSTILE not in page.words  # it was not asked of that run


def test_the_page_of_one_run_is_its_own(runs, capsys):
    assert main(["report", "a"]) == 0
    assert capsys.readouterr().err == "a/report.html\n"
    assert "<h1>A network</h1>" in (runs / "a/report.html").read_text()
    assert not (runs / "report.html").exists()


def test_the_page_of_a_reproduction_is_its_own(runs, capsys):
    (runs / "reproduce.json").write_text("{}")
    (runs / "report.html").write_text("Table 4")
    for out in ([], ["--out=report.html"], [f"--out={runs / 'report.html'}"]):
        assert main(["report", "a", "b", *out]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "report.html: " in line and "--out" in line
    assert (runs / "report.html").read_text() == "Table 4"
    assert main(["report", "a", "b", "--out=comparison.html"]) == 0


@pytest.mark.parametrize(("words", "named"), [("a", "a/figures"), ("a b", "report.html")])
def test_a_page_that_cannot_be_written_costs_no_table(runs, capsys, words, named):
    (runs / "a" / "figures").write_text("a file, in place of a folder")
    (runs / "report.html").mkdir()
    (runs / "report.html" / "x").touch()
    assert main(["report", *words.split()]) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert named in line
    assert printed.out.startswith("| ") and "36 clips" in printed.out


def test_tables_for_programs(runs, capsys):
    def printed(*flags):
        assert main(["report", "a", "b", *flags]) == 0
        return capsys.readouterr().out

    text = printed("--json")
    content = json.loads(text)
    assert (content["reference"], content["list"], content["n_clips"]) == ("a", "test", 36)
    b = content["rows"][1]
    assert b["differences"]["class_wise_accuracy"]["verdict"] == 1
    assert b["seeds"] == [2]
    assert sum(map(sum, b["confusion"])) == 36
    rows = list(csv.DictReader(printed("--csv").splitlines()))
    assert [row["name"] for row in rows] == ["a", "b"]
    assert float(rows[1]["accuracy"]) == b["accuracy"]["value"]
    difference = b["differences"]["class_wise_accuracy"]
    assert float(rows[1]["p_corrected"]) == difference["p_corrected"]
    assert rows[0]["difference"] == ""
    lines = printed("--markdown").splitlines()[:4]
    assert len({len(line) for line in lines}) == 1
    assert points(difference["difference"]) in lines[3]
    assert not (runs / "report.html").exists()
    printed("--csv", "--out=page.html")
    assert (runs / "page.html").exists()


def test_only_what_differs_is_said_of_settings(tmp_path, write_sweep, write_run, parse):
    settings = {"base": ({}, 1.0), "model.se_ratio=4": ({"model.se_ratio": 4}, 1.1)}
    sweep = write_sweep(tmp_path / "sweep", settings, seeds=(0, 1))
    run = write_run(tmp_path / "run", seed=1, fields={"train.epochs": 1, "data.cache_dir": "x"})
    report = json.loads((run / "report.json").read_text())
    report["lists"][1]["description"] = "Scored by one."
    (run / "report.json").write_text(json.dumps(report))
    words = parse(write_comparison(compare_runs([sweep, run]), tmp_path / "page.html")).words
    settings = words[words.rindex("Settings Differs from") : words.rindex("Cost Parameters")]
    told = ["base the reference", "model.se_ratio=4 model.se_ratio 16 → 4", "run seed 0, 1 → 1"]
    places = [settings.index(part) for part in told]
    assert places == sorted(places)
    assert "train.epochs 2 → 1" in settings
    assert settings.count("→") == 3
    assert "Of base, model.se_ratio=4: Scored by all." in words
    assert "Of run: Scored by one." in words


def test_runs_of_other_functions_are_told_apart(tmp_path, write_run, parse):
    """Their configs are the same: the source that trained them is not."""
    source = {"train/losses.py": "a" * 16, "models/resnet.py": "b" * 16}
    runs = [write_run(tmp_path / name, seed=0) for name in ("first", "same", "other")]
    for run, losses in zip(runs, ("a", "a", "c"), strict=True):
        start = {"step": 0, "platform": "cpu", "device": "cpu", "n_devices": 1, "versions": {}}
        start |= {"programs": {}, "answers": {}}
        start["source"] = source | {"train/losses.py": losses * 16}
        (run / "starts.jsonl").write_text(json.dumps(start) + "\n")
    words = parse(write_comparison(compare_runs(runs), tmp_path / "page.html")).words
    settings = words[words.rindex("Settings Differs from") : words.rindex("Cost Parameters")]
    assert "same the same" in settings and "functions: train/losses.py" in settings
    assert settings.count("functions:") == 1 and "models/resnet.py" not in settings


def test_hostile_names_stay_text(tmp_path, write_run, parse):
    scenes = (HOSTILE, "park")
    clips = tuple(Clip(f"audio/{i}.wav", scenes[i % 2], f"l{i % 6}") for i in range(12))
    paths = [
        write_run(
            tmp_path / "<b>&amp;,x.y" / f"javascript:{n}",
            n,
            n,
            lists={"out_of_fold": clips},
            scenes=scenes,
            title=HOSTILE,
            fields={"model.name": f"{HOSTILE}{n}"},
        )
        for n in (1, 2)
    ]
    page = parse(write_comparison(compare_runs(paths), tmp_path / "page.html"))
    assert HOSTILE in page.words


def test_nothing_of_it_loads_jax(runs):
    code = (
        "import sys; from asc_jax.cli import main; "
        "assert main(['report', 'a', 'b', '--ensemble=weighted', '--out=x.html']) == 0; "
        "print([name for name in ('jax', 'flax', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


GAN_SWEEP = {"config": "x.py", "base": {"gan.loss": "wgan_gp"}, "settings": {}}
# What c is made of, by its folder, `write_run` and `make_clips`; what the line begins with, and
# what else it names.
REFUSED = {
    "unfinished": (
        lambda c, run, clips: (run(c, epochs=1) / "report.json").unlink(),
        "c: ", "asc-jax train",
    ),
    "scored too early": (lambda c, run, clips: run(c, epochs=1), "c: ", "asc-jax train"),
    "not scored": (
        lambda c, run, clips: (run(c) / "logits.npz").unlink(),
        "c: ", "asc-jax evaluate --workdir=c",
    ),
    "other clips": (
        lambda c, run, clips: run(c, lists={"out_of_fold": clips(0), "test": clips(51)}),
        "audio/park-paris-50-0-a.wav: ", "of c",
    ),
    "other labels": (lambda c, run, clips: run(c, scenes=(*SCENES, "zoo")), "c: ", "'zoo'"),
    "other lists": (
        lambda c, run, clips: run(c, lists={"out_of_fold": clips(0)}),
        "c: ", "'test'",
    ),
    "GANs": (lambda c, run, clips: run(c, fields={"gan.loss": "wgan_gp"}), "c: ", "GAN"),
    "sweep of GANs": (
        lambda c, *_: (c.mkdir(), (c / "sweep.json").write_text(json.dumps(GAN_SWEEP))),
        "c: ", "GAN",
    ),
    "no run": (lambda c, *_: c.mkdir(), "c: ", ""),
    "torn config": (
        lambda c, run, clips: (run(c) / "config.json").write_text("["),
        "c/config.json: ", "",
    ),
    "nothing": (lambda *_: None, "c: ", ""),
}  # fmt: skip


@pytest.mark.parametrize(("make", "start", "named"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_refused_in_a_line(
    runs, write_run, make_clips, capsys, make, start, named
):
    make(runs / "c", write_run, make_clips)
    assert main(["report", "a", "b", "c", "--list=test"]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith(start) and named in line and not said.out
    assert not (runs / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["a", "b", "--reference=c"], "--reference='c': "),
        (["a", "b", "./a"], "a: "),
        (["a", "b", "--out=a/report.html"], "a/report.html: "),
        (["a", "b", "--out="], "--out: "),
        (["a", "b", "--out=a/logits.npz"], "--out: "),
        (["a", "b", "--out=a/config.html"], "a/config.html: "),
        (["a", "--ensemble=greedy"], "--ensemble: "),
    ],
)
def test_wrong_commands_are_refused_in_a_line(runs, capsys, words, start):
    (runs / "a" / "config.html").write_text("<!doctype html>my own")
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    assert main(["report", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(start)
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


def test_flags_are_what_there_is():
    parser = build_parser()
    for kind in KINDS:
        assert parser.parse_args(["report", "x", f"--ensemble={kind}"]).ensemble == [kind]


def test_numbers_of_differences():
    shown = ["+3.1", f"{MINUS}3.1", "0.0", "0.0"]
    assert [points(x) for x in (0.0312, -0.0312, 0.0004, -0.0004)] == shown
    shown = ["< 0.001", "0.001", "0.050", "1.000"]
    assert [p_value(p) for p in (0.00099, 0.001, 0.05, 1.0)] == shown


def test_what_became_of_steps_that_are_not_finite_comes_from_the_log(tmp_path, write_run):
    """The config of a run says what its last start was told."""
    for name in ("a", "b"):
        write_run(tmp_path / name, fields={"train.non_finite": "stop"})
    log = tmp_path / "b" / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    policies = [{"non_finite": policy} for policy in ("skip", "stop")]
    new = [json.dumps(line | own) for line, own in zip(lines, policies, strict=True)]
    log.write_text("\n".join(new) + "\n")
    page = write_comparison(compare_runs([tmp_path / "a", tmp_path / "b"]), tmp_path / "r.html")
    assert "skip and stop" in page.read_text()
