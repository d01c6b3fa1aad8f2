"""Table 4 as stages: what is carried out, in which order, when it is done, and the table."""

import html
import json
import pathlib
import re
import shlex
import types
from urllib.parse import unquote

import pytest
from checkout import ROOT
from refusals import refused

from asc_jax.cli import data_synth
from asc_jax.config.load import check_gan_config, flatten, load_config, override, to_json
from asc_jax.data.procedural import write_synthetic_dataset
from asc_jax.experiments.reproduce import is_done, plan, reproduce
from asc_jax.flags import build_parser
from asc_jax.report.comparison.page import title as comparison_title
from asc_jax.report.table4 import (
    render_markdown,
    render_page,
    render_terminal,
    write_table,
)
from asc_jax.runs import table4

DOCS = (ROOT / "docs" / "reproduction.md").read_text()
BUDGETS = ("smoke", "short", "full")


def stages(workdir, budget="smoke", data="") -> dict:
    return {stage.name: stage for stage in plan(workdir, data, budget)}


@pytest.fixture(scope="module")
def configs() -> dict:
    """Of the stages of the smallest reproduction."""
    return {name: stage.config for name, stage in stages(pathlib.Path("all")).items()}


def a_report(value=0.5, epochs=1000, unlabelled=()) -> str:
    """What `report.json` must hold for a row of the table."""
    score = {"value": value, "low": value - 0.1, "high": value + 0.1}
    one = {
        "name": "test",
        "title": "Test",
        "n_clips": 30,
        "n_locations": 10,
        "per_fold": [],
        "systems": [{"name": "mean of logits", "class_wise_accuracy": score}],
    }
    lists = [one | {"name": "out_of_fold", "title": "Out-of-fold"}, one]
    return json.dumps(
        {"training": {"epochs": epochs}, "lists": lists, "unlabelled": list(unlabelled)}
    )


def test_the_printed_commands_write_the_same_data(tmp_path, monkeypatch, capsys):
    written = []
    write = lambda root, **arguments: written.append((root, arguments))
    reproduce(tmp_path / "all", dry_run=True)
    line = capsys.readouterr().out.splitlines()[0]
    monkeypatch.setattr("asc_jax.data.procedural.write_synthetic_dataset", write)
    monkeypatch.setattr("asc_jax.experiments.reproduce.write_synthetic_dataset", write)
    monkeypatch.setattr("asc_jax.experiments.reproduce._carry_out", lambda *_: {})
    data_synth(build_parser().parse_args(shlex.split(line)[1:]))
    reproduce(tmp_path / "all")
    (root, printed), (same, done) = written
    assert root == same and printed == {"seed": 0} | done


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_commands_are_those_that_the_parser_knows(budget, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    reproduce(tmp_path / "all", "" if budget == "smoke" else str(tmp_path), budget, dry_run=True)
    commands = [
        shlex.split(command)[1:]
        for line in capsys.readouterr().out.splitlines()
        for command in line.split(" && ")
    ]
    names = [words[0] for words in commands]
    gans = 1 if budget == "smoke" else 4
    rows = ["train", "evaluate"]
    data = ["data"] if budget == "smoke" else []
    assert names == data + rows * 5 + ["gan", "synthesize"] * gans + rows + ["report"]
    for words in commands:
        args, overrides = build_parser().parse_known_args(words)
        if words[0] in ("train", "gan"):
            check = {"check": check_gan_config} if words[0] == "gan" else {}
            load_config(args.config, overrides, **check)
        else:
            assert not overrides
    assert not (tmp_path / "all").exists()


def test_the_smallest_rows_differ_in_what_the_rows_differ_in(tmp_path):
    full, smoke = stages(tmp_path, "full", "ROOT"), stages(tmp_path)
    of = lambda rows, name: flatten(rows[name].config)
    for first, second in (
        ("resnet50", "resnet152"),
        ("resnet152", "se_resnet152"),
        ("se_resnet152", "se_resnet152_mel80"),
        ("se_resnet152", "se_resnet152_aug"),
    ):
        different = [
            {f for f in of(rows, first) if of(rows, first)[f] != of(rows, second)[f]} - {"title"}
            for rows in (full, smoke)
        ]
        assert different[0] == different[1]
    bands = [smoke[name].config.frontend.n_mels for name in ("se_resnet152", "se_resnet152_mel80")]
    assert bands[1] == 2 * bands[0]
    assert sum(smoke["resnet50"].config.model.stage_sizes) < sum(
        smoke["resnet152"].config.model.stage_sizes
    )


def test_the_configs_of_a_full_run_are_the_files(tmp_path):
    for name, stage in stages(tmp_path, "full", "ROOT").items():
        if not stage.of_gan:
            ours = load_config(str(ROOT / "configs" / f"{name}.py"))
            changed = {f for f, v in flatten(stage.config).items() if flatten(ours)[f] != v}
            assert changed <= {"data.root", "synthetic.root"}


def test_no_page_of_the_smallest_runs_passes_for_a_row(configs, tmp_path):
    titles = {name: config.title for name, config in configs.items()}
    full = {stage.config.title for stage in stages(tmp_path, "full", "ROOT").values()}
    assert full.isdisjoint(titles.values())
    space = types.SimpleNamespace
    runs = {row.config: space(report={"title": titles[row.config]}) for row in table4.ROWS[1:]}
    rows = [space(name=name, row=space(runs=[run])) for name, run in runs.items()]
    shared = comparison_title(space(rows=rows))
    assert all(title.startswith(f"{shared}, ") for title in titles.values())


def test_gans_learn_beside_the_classifier_whose_folds_the_last_row_trains_on(tmp_path):
    found = stages(tmp_path, "full", "ROOT")
    gans = [stage for stage in found.values() if stage.of_gan]
    assert [stage.config.gan.fold for stage in gans] == [1, 2, 3, 4]
    assert {s.config.gan.classifier for s in gans} == {str(tmp_path / "se_resnet152")}
    assert found["se_resnet152_aug"].config.synthetic.root == str(tmp_path / "synthetic")
    names = list(found)
    assert names.index("se_resnet152") < names.index("gan/fold1")
    assert names.index("gan/fold4") < names.index("se_resnet152_aug")


def test_sets_beside_the_development_set_get_submissions(tmp_path):
    for name in ("development", "leaderboard"):
        (tmp_path / f"TUT-{name}").mkdir()
    data = str(tmp_path / "TUT-development")
    config = stages(tmp_path, "full", data)["resnet50"].config
    assert config.data.leaderboard_root == str(tmp_path / "TUT-leaderboard")
    assert config.data.evaluation_root == ""


def test_a_row_is_done_when_all_its_epochs_are_scored(tmp_path):
    stage = stages(tmp_path)["resnet50"]
    epochs, folder = stage.config.train.epochs, tmp_path / "resnet50"
    folder.mkdir()
    (folder / "report.html").touch()
    assert not is_done(stage, tmp_path)
    for report in (a_report(epochs=epochs - 1), a_report(epochs=epochs)[:-1]):
        (folder / "report.json").write_text(report)
        assert not is_done(stage, tmp_path)
    (folder / "report.json").write_text(a_report(epochs=epochs))
    assert is_done(stage, tmp_path)
    (folder / "report.html").unlink()
    assert not is_done(stage, tmp_path)


def test_gans_are_done_when_each_of_their_folds_has_its_clips(tmp_path):
    found = stages(tmp_path, "full", "ROOT")
    first, second = found["gan/fold1"], found["gan/fold2"]
    for fold in (1, 2):
        (tmp_path / f"gan/fold{fold}").mkdir(parents=True)
        (tmp_path / f"gan/fold{fold}/corpora.json").write_text(
            json.dumps([{"fold": fold, "scene_labels": [scene]} for scene in ("bus", "tram")])
        )
    clips = tmp_path / "synthetic"
    clips.mkdir()
    n_clips = first.config.synthesis.n_clips
    line = '{"path": "a.wav", "fold": %d, "scene_label": "SCENE"}\n'
    bus, tram = (line.replace("SCENE", scene) for scene in ("bus", "tram"))
    lines = (bus % 1 + tram % 1 + bus % 2) * (n_clips // 2) + tram % 2 * (n_clips // 2 - 1)
    (clips / "manifest.jsonl").write_text(lines + (tram % 2)[:-1])  # torn
    assert is_done(first, tmp_path) and not is_done(second, tmp_path)
    (clips / "manifest.jsonl").write_text(lines + bus % 2)  # too many of one scene
    assert not is_done(second, tmp_path)
    (clips / "manifest.jsonl").write_text(lines + tram % 2)
    assert is_done(second, tmp_path)


def test_the_published_scores_are_those_of_the_documentation():
    listed = re.findall(r"^\| ([^|]+) \| (\d\d\.\d\d) \| `configs/(\w+)\.py`", DOCS, re.MULTILINE)
    assert [(row.title, f"{row.published:.2f}", row.config) for row in table4.ROWS] == listed


def test_the_published_scores_are_the_reports():
    found = sorted((ROOT.parent / "shared").glob("000_*.txt"))
    if not found:
        # The paper is its authors' and stays out of the project.
        pytest.skip("the paper is not beside the checkout (looked in ../shared)")
    text = found[0].read_text()
    for row in table4.ROWS:
        assert f"\n{row.title}\t{row.published:.2f}\n" in text


def test_the_documentation_lists_what_the_report_leaves_open():
    for one in table4.questions():
        assert f"| {one.point} | {one.report} | {one.default} | {one.instead} |" in DOCS


def test_the_table_has_each_row_with_its_choices(configs, tmp_path):
    scores = {"baseline": 0.25, "se_resnet152_aug": 0.75, "se_resnet152_mel80": 1.0}  # the longest
    for name, value in scores.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(a_report(value))
    table = write_table(tmp_path, "short", configs)
    rows = {row["config"]: row for row in table["rows"]}
    assert list(rows) == [row.config for row in table4.ROWS]
    assert rows["baseline"]["score"]["value"] == 0.25 and rows["resnet50"]["score"] is None
    here = {one["point"]: one["here"] for one in rows["se_resnet152_aug"]["open"]}
    assert here["GANs"]["gan.loss"] == "lsgan" and here["squeeze ratio"] == {"model.se_ratio": 4}
    assert here["nothing above 8 kHz in a generated clip"]["synthetic.mask_above"] == 0
    assert json.loads((tmp_path / "table.json").read_text()) == json.loads(json.dumps(table))
    lines = (tmp_path / "table.md").read_text().splitlines()
    scores = {line.split(" | ")[0]: line for line in lines if "/report.html)" in line}
    assert list(scores) == [f"| {row.title}" for row in table4.ROWS]
    assert "69.83" in scores["| ResNet(50)-rev"]
    baseline = scores["| Baseline"]
    assert all(number in baseline for number in ("62.50", "25.0", "15.0", "35.0"))
    page, text = render_page(table, comparison=False), render_terminal(table)
    assert all(row.title in page and row.config in page for row in table4.ROWS)
    lines = text.splitlines()
    for row, line in zip(table4.ROWS, lines[1:], strict=False):
        assert [row.title, row.config, f"{row.published:.2f}"] == line.split()[:3]
    assert max(map(len, lines)) <= 80


def test_no_published_score_stands_beside_those_of_the_smallest_networks(configs, tmp_path):
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "report.json").write_text(a_report(0.25))
    table = write_table(tmp_path, "smoke", configs)
    files = [(tmp_path / name).read_text() for name in ("table.json", "table.md")]
    for text in (*files, render_terminal(table), render_page(table, comparison=False)):
        assert "0.25" in text or "25.0" in text
        assert not any(f"{row.published:.2f}" in text for row in table4.ROWS)


def test_what_a_row_says_of_itself_is_what_its_run_was_made_with(configs, tmp_path):
    """Not what a config that was edited since then would do."""
    for name, field, value in (
        ("se_resnet152_aug", "ensemble.rule", "mean_probabilities"),
        ("gan/all", "synthesis.n_clips", 7),
    ):
        check = {"check": check_gan_config} if name == "gan/all" else {}
        config = override(configs[name], [f"--config.{field}={value}"], name, **check)
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(to_json(config))
    table = write_table(tmp_path, "smoke", configs)
    here = {row["config"]: {o["point"]: o["here"] for o in row["open"]} for row in table["rows"]}
    assert here["se_resnet152_aug"]["ensemble"] == {"ensemble.rule": "mean_probabilities"}
    assert here["se_resnet152_aug"]["1,728 waves"] == {"synthesis.n_clips": 7}
    assert here["resnet50"]["ensemble"] == {"ensemble.rule": "mean_logits"}


def test_a_score_says_what_answered_and_how_far_it_is_what_was_published(configs, tmp_path):
    said, noted = set(), set()
    (tmp_path / "resnet50").mkdir()
    for name, system, n_folds in (
        ("out_of_fold", "one model per fold", 4),
        ("out_of_fold", "one model per fold", 1),
        ("test", "fold 1", 0),
        ("test", "mean of logits", 0),
        ("leaderboard", "mean of logits", 0),
    ):
        report = json.loads(a_report())
        (one,) = report["lists"][1:]
        one |= {"name": name, "title": name, "per_fold": [{}] * n_folds}
        one["systems"][0]["name"] = system
        (tmp_path / "resnet50" / "report.json").write_text(json.dumps(report | {"lists": [one]}))
        table = write_table(tmp_path, "full", configs)
        (scored,) = (row["scored_on"] for row in table["rows"] if row["score"])
        assert all(part in scored for part in (name, "30 clips", "10 locations"))
        assert (system in scored) == (system == "mean of logits")  # models have no such name
        said.add(scored)
        noted.add(table["notes"][-1])
    assert len(said) == 5 and len(noted) == 3


def test_the_page_links_what_is_there_and_asks_nothing_of_a_network(configs, tmp_path):
    names = ["leader_board_leaderboard.csv", "50 % & more'_dcase.txt"]
    folder = tmp_path / "baseline" / "submission"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    files = {"name": "leaderboard", "files": [f"submission/{name}" for name in names]}
    for name in ("report.html", "report.json"):
        (tmp_path / "baseline" / name).write_text(a_report(0.25, unlabelled=[files]))
    (tmp_path / "gan" / "all").mkdir(parents=True)
    table = write_table(tmp_path, "smoke", configs)
    assert "listen.html" not in render_page(table, comparison=False)
    (tmp_path / "gan" / "all" / "listen.html").touch()
    table = write_table(tmp_path, "smoke", configs)
    page = render_page(table, comparison=False)
    links = [unquote(html.unescape(link)) for link in re.findall(r'href="([^"#]*)"', page)]
    submissions = [f"./baseline/submission/{name}" for name in names]
    found = ["baseline/report.html", "gan/all/listen.html", *submissions]
    assert links == ["data:,", *found]
    assert all((tmp_path / link).exists() for link in found)
    assert 'href="comparison.html"' in render_page(table, comparison=True)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page) and "<script" not in page
    for row in table["rows"]:
        for one in row["open"]:
            assert html.escape(one["point"]) in page
    in_text = re.findall(r"\]\((.*submission.*)\)", (tmp_path / "table.md").read_text())
    assert [f"./{unquote(link)}" for link in in_text] == submissions


def test_what_cannot_be_reproduced_is_one_line_and_no_folder(scenes, tmp_path):
    workdir = tmp_path / "new"
    for budget in ("shrt", "short"):  # unknown; without data
        with refused(field="--budget"):
            reproduce(workdir, budget=budget)
    with refused(field="--data") as caught:
        reproduce(workdir, str(tmp_path / "nowhere"))
    assert "nowhere" in str(caught.value)
    with refused(field="--data") as caught:  # too few locations
        reproduce(workdir, str(scenes))
    assert "folds.inner_fraction=0.3" in str(caught.value)
    assert not workdir.exists()


def test_anothers_folder_is_refused(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").touch()
    with refused(path=foreign):
        reproduce(foreign)
    workdir = tmp_path / "all"
    workdir.mkdir()
    for record, path in (('{"budget": "short"}', workdir), ("{", workdir / "reproduce.json")):
        (workdir / "reproduce.json").write_text(record)
        with refused(path=path):
            reproduce(workdir)
        assert (workdir / "reproduce.json").read_text() == record


def test_a_broken_clip_ends_it_with_the_commands_own_line(tmp_path):
    """The one test with real commands: the first stage finds what no table says."""
    data = write_synthetic_dataset(
        tmp_path / "data", locations_per_scene=8, clips_per_location=1, clip_seconds=0.1
    )
    clip = next((data / "audio").iterdir())
    clip.write_bytes(clip.read_bytes()[:1000])
    with refused() as caught:
        reproduce(tmp_path / "all", str(data), "smoke")
    assert clip.name in str(caught.value)
    assert not (tmp_path / "all" / "resnet50.log").exists()


def test_a_path_with_a_bar_stays_in_its_cell():
    row = {"row": "A", "published": 1.0, "score": None, "scored_on": None, "config": "a"}
    here = {"synthesis.classifier": "/runs/x|y"}
    row |= {"submissions": [], "open": [{"point": "screening", "report": "", "here": here}]}
    text = render_markdown({"notes": [], "rows": [row]})
    (line,) = [line for line in text.splitlines() if "screening" in line]
    assert len(re.findall(r"(?<!\\)\|", line)) == 4
