"""A reproduction after a failure, with other data, or short of clips; commands are stand-ins."""

import json
import pathlib
import shlex
import shutil
import sys

import pytest

from asc_jax import cli
from asc_jax.config.load import to_json
from asc_jax.data.procedural import write_synthetic_dataset
from asc_jax.experiments import jobs
from asc_jax.experiments.reproduce import plan, reproduce
from asc_jax.runtime.errors import InputError, RunsFailed

ROWS = ["baseline", "resnet50", "resnet152", "se_resnet152", "se_resnet152_mel80"]
GANS = [f"gan/fold{fold}" for fold in (1, 2, 3, 4)]
AUGMENTED = "se_resnet152_aug"
PAGE = ("report", "comparison.html")

# Keeps a list of its calls, and does to a folder what the commands would do, as far as
# `behaviour.json` lets it: "COMMAND FOLDER" -> its exit status, negative for a signal.
STAND_IN = """
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
command, *words = sys.argv[1:]
flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
folder = pathlib.Path(flags.get("workdir", flags.get("out")))
name = str(folder.relative_to(here / "all"))
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([command, name, sys.argv[1:]]) + "\\n")
status = json.loads((here / "behaviour.json").read_text()).get(f"{command} {name}", 0)
folder.parent.mkdir(parents=True, exist_ok=True)
if command == "report" and not status:
    folder.touch()
if command in ("train", "gan"):
    folder.mkdir(exist_ok=True)
    (folder / "flags.json").write_text(json.dumps(flags))
if command == "evaluate" and not status:
    (folder / "report.html").unlink(missing_ok=True)
    roots = [key for key in json.loads((folder / "flags.json").read_text()) if "board_root" in key]
    unlabelled = [{"name": "leaderboard", "files": []} for _ in roots]
    report = {"training": {"epochs": 1000}, "lists": [], "unlabelled": unlabelled}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "report.html").touch()
if command == "synthesize":
    fold = int(name[-1])
    (folder / "corpora.json").write_text(json.dumps([{"fold": fold, "scene_labels": ["bus"]}]))
    pathlib.Path(flags["out"]).mkdir(exist_ok=True)
    (pathlib.Path(flags["out"]) / "config.json").touch()
    with (pathlib.Path(flags["out"]) / "manifest.jsonl").open("a") as manifest:
        line = json.dumps({"path": "a.wav", "fold": fold, "scene_label": "bus"}) + "\\n"
        manifest.write(line * (100 if status else 432))
if status:
    print(f"{folder}: something is wrong")
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


@pytest.fixture(scope="module")
def development(tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("sets") / "development"
    return write_synthetic_dataset(
        root, locations_per_scene=6, clips_per_location=1, clip_seconds=0.2
    )


def stand_in(folder: pathlib.Path) -> tuple[str, ...]:
    """What takes the place of the commands, for a reproduction in `folder/all`."""
    (folder / "program.py").write_text(STAND_IN)
    (folder / "behaviour.json").write_text("{}")
    return (sys.executable, "-SE", str(folder / "program.py"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, development) -> pathlib.Path:
    """A reproduction that is done; beside it what was called, in `calls`."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "PROGRAM", stand_in(folder))
        reproduce(folder / "all", str(development), "full")
    return folder / "all"


@pytest.fixture
def call(tmp_path, monkeypatch, development):
    """Carries out a reproduction with stand-ins: (what they do) -> (command, folder) of each."""
    calls = tmp_path / "calls"
    monkeypatch.setattr(jobs, "PROGRAM", stand_in(tmp_path))

    def carry_out(behaviour=None, *, data=development, error=None, overrides=()):
        (tmp_path / "behaviour.json").write_text(json.dumps(behaviour or {}))
        calls.write_text("")
        arguments = (tmp_path / "all", str(data), "full")
        if error:
            with pytest.raises(error) as raised:
                reproduce(*arguments, overrides=overrides)
            carry_out.said = str(raised.value)
            assert "\n" not in carry_out.said
        else:
            reproduce(*arguments, overrides=overrides)
        carry_out.words = [json.loads(line)[2] for line in calls.read_text().splitlines()]
        return [tuple(json.loads(line)[:2]) for line in calls.read_text().splitlines()]

    return carry_out


def row(name: str) -> list[tuple[str, str]]:
    return [("train", name), ("evaluate", name)]


def gan(name: str) -> list[tuple[str, str]]:
    return [("gan", name), ("synthesize", name)]


def begin_augmented(workdir: pathlib.Path, development: pathlib.Path) -> None:
    """From here on the last row has been trained on the clips."""
    (stage,) = (one for one in plan(workdir, str(development), "full") if one.name == AUGMENTED)
    (workdir / AUGMENTED / "config.json").write_text(to_json(stage.config))


def test_all_is_done_once_and_the_rows_are_compared_at_the_end(call, tmp_path, finished):
    rows = [step for name in ROWS for step in row(name)]
    gans = [step for name in GANS for step in gan(name)]
    calls = [json.loads(line)[:2] for line in (finished.parent / "calls").read_text().splitlines()]
    assert list(map(tuple, calls)) == [*rows, *gans, *row(AUGMENTED), PAGE]
    assert (finished / "report.html").exists()
    shutil.copytree(finished, tmp_path / "all")
    assert call() == []


@pytest.mark.parametrize("failing", ["train", "evaluate"])
def test_gans_wait_for_the_classifier_that_is_to_screen_their_clips(call, failing, capsys):
    calls = call({f"{failing} se_resnet152": -9}, error=RunsFailed)
    folders = [folder for _, folder in calls]
    assert "se_resnet152_mel80" in folders  # needs nothing
    assert not {*GANS, AUGMENTED, "comparison.html"} & set(folders)
    assert call.said == (
        f"se_resnet152 failed, {', '.join([*GANS, AUGMENTED])} not tried for want of them; the "
        "same command tries again"
    )
    assert "[6/10] gan/fold1: not tried: needs se_resnet152" in capsys.readouterr().err
    gans = [step for name in GANS for step in gan(name)]
    assert call() == [*row("se_resnet152"), *gans, *row(AUGMENTED), PAGE]


def test_a_row_waits_for_all_clips_that_it_is_to_train_on(call):
    calls = call({"synthesize gan/fold2": 1}, error=RunsFailed)
    assert calls[-4:] == [*gan("gan/fold3"), *gan("gan/fold4")]
    assert call.said.startswith("gan/fold2 failed, se_resnet152_aug not tried")
    assert call() == [*gan("gan/fold2"), *row(AUGMENTED), PAGE]


def test_a_comparison_that_failed_is_made_again_and_an_old_one_does_not_stay(
    call, tmp_path, finished
):
    workdir = shutil.copytree(finished, tmp_path / "all")
    (workdir / "comparison.html").unlink()
    assert call({"report comparison.html": 1}, error=RunsFailed) == [PAGE]
    assert call.said == "comparison failed; the same command tries again"
    assert call() == [PAGE]
    (workdir / "resnet50" / "report.html").unlink()
    calls = call({"evaluate resnet50": 1}, error=RunsFailed)
    assert calls == row("resnet50") and not (workdir / "comparison.html").exists()
    assert "comparison.html" not in (workdir / "report.html").read_text()
    assert call() == [*row("resnet50"), PAGE]


@pytest.mark.usefixtures("call", "process_as_it_was")
def test_a_failure_is_status_1(tmp_path, finished, development, capsys):
    shutil.copytree(finished, tmp_path / "all")
    (tmp_path / "all" / "resnet50" / "report.html").unlink()
    (tmp_path / "behaviour.json").write_text('{"train resnet50": 1}')
    words = [f"--workdir={tmp_path / 'all'}", f"--data={development}"]
    assert cli.main(["reproduce", *words]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "resnet50 failed; the same command tries again"


def test_data_may_move(call, tmp_path, development, finished):
    workdir = shutil.copytree(finished, tmp_path / "all")
    (workdir / "resnet50" / "report.html").unlink()
    moved = shutil.copytree(development, tmp_path / "moved" / "development")
    assert call(data=moved) == [*row("resnet50"), PAGE]


def test_other_data_is_refused(call, tmp_path, development, finished):
    shutil.copytree(finished, tmp_path / "all")
    fewer = shutil.copytree(development, tmp_path / "fewer")
    gone = (fewer / "meta.csv").read_text().splitlines()[-1].split("\t")[0]
    for table in (fewer / "meta.csv", *(fewer / "evaluation_setup").iterdir()):
        lines = table.read_text().splitlines(keepends=True)
        table.write_text("".join(line for line in lines if gone not in line))
    before = (tmp_path / "all" / "reproduce.json").read_text()
    assert '"resnet50: ensemble.rule"' in before  # nor may it be scored in another way
    assert call(data=fewer, error=InputError) == []
    assert "belongs to another reproduction (data='60 clips, " in call.said
    assert "'59 clips, " in call.said
    assert (tmp_path / "all" / "reproduce.json").read_text() == before
    with pytest.raises(InputError, match="belongs to another reproduction"):
        reproduce(tmp_path / "all", "", "smoke")


def test_a_set_that_comes_later_gets_its_submissions(call, tmp_path, development, finished):
    shutil.copytree(finished, tmp_path / "all")
    data = shutil.copytree(development, tmp_path / "sets" / "development")
    assert call(data=data) == []
    (data.parent / "leaderboard").mkdir()
    rows = [step for name in [*ROWS, AUGMENTED] for step in row(name)]
    assert call(data=data) == [*rows, PAGE]
    assert call(data=data) == []
    (data.parent / "leaderboard").rmdir()
    assert call(data=data) == []  # what is there stays


def test_too_few_clips_are_no_dead_end(call):
    calls = call({"synthesize gan/fold2": 2}, error=InputError)
    assert calls[-1] == ("synthesize", "gan/fold2") and "something is wrong" in call.said
    calls = call(overrides=["--config.synthesis.most_tries=500"])
    assert calls == [*(step for name in GANS[1:] for step in gan(name)), *row(AUGMENTED), PAGE]
    assert "--config.synthesis.most_tries=500" in call.words[0]


def test_the_number_of_tries_keeps_no_command_out(call, tmp_path, development):
    """It changes no clip, and a row that has trained on them."""
    more = ["--config.synthesis.most_tries=500"]
    call({f"train {AUGMENTED}": 1}, error=RunsFailed, overrides=more)
    begin_augmented(tmp_path / "all", development)
    assert call() == [*row(AUGMENTED), PAGE]
    assert call(overrides=more) == []


CONFIDENCE = "--config.synthesis.rules=('confidence',)"
FEWER = "--config.synthesis.n_clips=40"


@pytest.mark.parametrize("changed", [CONFIDENCE, FEWER])
def test_clips_stay_what_the_record_says_of_them(call, tmp_path, development, changed):
    """Also where all folds have theirs, so that no command would find it out."""
    call({f"train {AUGMENTED}": 1}, error=RunsFailed)
    record = (tmp_path / "all" / "reproduce.json").read_text()
    assert call(overrides=[changed], error=InputError) == []
    assert "belongs to another reproduction (gan/fold1: synthesis." in call.said
    there = call.said.partition("now); ")[2]
    as_it_was = {
        CONFIDENCE: """add '--config.synthesis.rules=('"'"'argmax'"'"',)' to the command""",
        FEWER: "add --config.synthesis.n_clips=432 to the command",
    }[changed]
    assert (
        there
        == f"{as_it_was}; or delete {tmp_path / 'all' / 'synthetic'} to have all clips made anew"
    )
    begin_augmented(tmp_path / "all", development)
    assert call(overrides=[changed], error=InputError) == []
    assert call.said.endswith(as_it_was)
    assert (tmp_path / "all" / "reproduce.json").read_text() == record
    words = shlex.split(as_it_was)[1:2]
    assert call(overrides=words) == [*row(AUGMENTED), PAGE]


def test_without_clips_they_may_be_screened_in_another_way(call, tmp_path):
    call({"gan gan/fold1": 1}, error=RunsFailed)
    shutil.rmtree(tmp_path / "all" / "synthetic")  # of the folds that did not fail
    gans = [step for name in GANS for step in gan(name)]
    assert call(overrides=[CONFIDENCE]) == [*gans, *row(AUGMENTED), PAGE]
    record = json.loads((tmp_path / "all" / "reproduce.json").read_text())
    assert record["gan/fold4: synthesis.rules"] == ["confidence"]


def test_other_fields_are_not_for_a_call_to_set(call, tmp_path):
    assert call(overrides=["--config.train.epochs=1"], error=InputError) == []
    assert call.said.startswith("--config.train.epochs: reproduce takes --config.synthesis.FIELD")
    assert not (tmp_path / "all").exists()
