"""A reproduction after a failure, with other data, or short of clips; commands are stand-ins."""

import contextlib
import json
import pathlib
import shlex
import shutil
import sys

import pytest
from refusals import refused

from asc_jax import cli
from asc_jax.config.load import to_json
from asc_jax.data.procedural import write_synthetic_dataset
from asc_jax.experiments import jobs
from asc_jax.experiments.reproduce import plan, reproduce
from asc_jax.runtime.errors import RunsFailed

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
    """Of as many locations as four folds share out evenly at the first try."""
    root = tmp_path_factory.mktemp("sets") / "development"
    return write_synthetic_dataset(
        root, locations_per_scene=8, clips_per_location=1, clip_seconds=0.1
    )


def stand_in(folder: pathlib.Path) -> tuple[str, ...]:
    """What takes the place of the commands, for a reproduction in `folder/all`."""
    (folder / "program.py").write_text(STAND_IN)
    (folder / "behaviour.json").write_text("{}")
    return (sys.executable, "-SE", str(folder / "program.py"))


def calls_of(folder: pathlib.Path) -> list[tuple[str, str, list[str]]]:
    """(command, folder, all words) of each call of the stand-in."""
    return [tuple(json.loads(line)) for line in (folder / "calls").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, development) -> pathlib.Path:
    """A reproduction that is done; beside it what was called, in `calls`."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "PROGRAM", stand_in(folder))
        reproduce(folder / "all", str(development), "full")
    return folder / "all"


@pytest.fixture
def workdir(tmp_path, finished) -> pathlib.Path:
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "all")


@pytest.fixture
def no_clips(workdir) -> pathlib.Path:
    """As `workdir`, but the clips are not there yet, nor what is made of them."""
    for name in ("synthetic", AUGMENTED):
        shutil.rmtree(workdir / name)
    return workdir


@pytest.fixture
def call(tmp_path, monkeypatch, development):
    """Carries out a reproduction with stand-ins: (what they do) -> (command, folder) of each."""
    monkeypatch.setattr(jobs, "PROGRAM", stand_in(tmp_path))

    def carry_out(behaviour=None, *, data=development, ends=None, overrides=()):
        (tmp_path / "behaviour.json").write_text(json.dumps(behaviour or {}))
        (tmp_path / "calls").write_text("")
        with ends or contextlib.nullcontext() as caught:
            reproduce(tmp_path / "all", str(data), "full", overrides=overrides)
        carry_out.said = str(caught.value) if caught else ""
        assert "\n" not in carry_out.said
        return [called[:2] for called in calls_of(tmp_path)]

    return carry_out


def row(name: str) -> list[tuple[str, str]]:
    return [("train", name), ("evaluate", name)]


def gan(name: str) -> list[tuple[str, str]]:
    return [("gan", name), ("synthesize", name)]


def fails():
    return pytest.raises(RunsFailed)


def begin_augmented(workdir: pathlib.Path, development: pathlib.Path) -> None:
    """From here on the last row has been trained on the clips."""
    (stage,) = (one for one in plan(workdir, str(development), "full") if one.name == AUGMENTED)
    (workdir / AUGMENTED).mkdir(exist_ok=True)
    (workdir / AUGMENTED / "config.json").write_text(to_json(stage.config))


def test_all_is_done_once_and_the_rows_are_compared_at_the_end(call, finished, workdir):
    rows = [step for name in ROWS for step in row(name)]
    gans = [step for name in GANS for step in gan(name)]
    calls = [called[:2] for called in calls_of(finished.parent)]
    assert calls == [*rows, *gans, *row(AUGMENTED), PAGE]
    assert (finished / "report.html").exists()
    assert call() == []


def test_gans_wait_for_the_classifier_that_is_to_screen_their_clips(call, no_clips):
    for name in ROWS[3:]:
        (no_clips / name / "report.html").unlink()
    calls = call({"evaluate se_resnet152": -9}, ends=fails())
    assert calls == [*row("se_resnet152"), *row("se_resnet152_mel80")]  # which needs nothing
    assert call.said.startswith("se_resnet152 ")
    assert all(name in call.said for name in (*GANS, AUGMENTED))
    gans = [step for name in GANS for step in gan(name)]
    assert call() == [*row("se_resnet152"), *gans, *row(AUGMENTED), PAGE]


def test_a_row_waits_for_all_clips_that_it_is_to_train_on(call, no_clips):
    calls = call({"synthesize gan/fold2": 1}, ends=fails())
    assert calls[-4:] == [*gan("gan/fold3"), *gan("gan/fold4")]
    assert call.said.startswith("gan/fold2 ") and AUGMENTED in call.said
    assert call() == [*gan("gan/fold2"), *row(AUGMENTED), PAGE]


def test_a_comparison_that_failed_is_made_again_and_an_old_one_does_not_stay(call, workdir):
    (workdir / "comparison.html").unlink()
    assert call({"report comparison.html": 1}, ends=fails()) == [PAGE]
    assert call() == [PAGE]
    (workdir / "resnet50" / "report.html").unlink()
    calls = call({"evaluate resnet50": 1}, ends=fails())
    assert calls == row("resnet50") and not (workdir / "comparison.html").exists()
    assert "comparison.html" not in (workdir / "report.html").read_text()
    assert call() == [*row("resnet50"), PAGE]


@pytest.mark.usefixtures("call", "process_as_it_was")
def test_a_failure_is_status_1(workdir, development, capsys):
    (workdir / "resnet50" / "report.html").unlink()
    (workdir.parent / "behaviour.json").write_text('{"train resnet50": 1}')
    assert cli.main(["reproduce", f"--workdir={workdir}", f"--data={development}"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("resnet50 ")


def test_data_may_move(call, tmp_path, development, workdir):
    (workdir / "resnet50" / "report.html").unlink()
    moved = shutil.copytree(development, tmp_path / "moved" / "development")
    assert call(data=moved) == [*row("resnet50"), PAGE]


def test_other_data_is_refused(call, tmp_path, development, workdir, take_away_a_clip):
    fewer = shutil.copytree(development, tmp_path / "fewer")
    take_away_a_clip(fewer)
    before = (workdir / "reproduce.json").read_text()
    assert '"resnet50: ensemble.rule"' in before  # nor may it be scored in another way
    assert call(data=fewer, ends=refused(path=workdir)) == []
    assert "data='80 " in call.said and "'79 " in call.said
    assert (workdir / "reproduce.json").read_text() == before
    with refused(path=workdir):
        reproduce(workdir, "", "smoke")


def test_a_set_that_comes_later_gets_its_submissions(call, tmp_path, development, workdir):
    data = shutil.copytree(development, tmp_path / "sets" / "development")
    (data.parent / "leaderboard").mkdir()
    rows = [step for name in [*ROWS, AUGMENTED] for step in row(name)]
    assert call(data=data) == [*rows, PAGE]
    assert call(data=data) == []
    (data.parent / "leaderboard").rmdir()
    assert call(data=data) == []  # what is there stays


def test_too_few_clips_are_no_dead_end(call, no_clips):
    calls = call({"synthesize gan/fold2": 2}, ends=refused())
    assert calls[-1] == ("synthesize", "gan/fold2")
    assert str(no_clips / "gan/fold2") in call.said  # the command's own line
    calls = call(overrides=["--config.synthesis.most_tries=500"])
    assert calls == [*(step for name in GANS[1:] for step in gan(name)), *row(AUGMENTED), PAGE]
    _, _, words = calls_of(no_clips.parent)[0]
    assert "--config.synthesis.most_tries=500" in words


def test_the_number_of_tries_keeps_no_command_out(call, workdir, development):
    """It changes no clip, and a row that has trained on them."""
    begin_augmented(workdir, development)
    (workdir / AUGMENTED / "report.html").unlink()
    more = ["--config.synthesis.most_tries=500"]
    assert call(overrides=more) == [*row(AUGMENTED), PAGE]
    assert call() == []


CONFIDENCE = "--config.synthesis.rules=('confidence',)"


def test_clips_stay_what_the_record_says_of_them(call, workdir, development):
    """Also where all folds have theirs, so that no command would find it out."""
    shutil.rmtree(workdir / AUGMENTED)
    record = (workdir / "reproduce.json").read_text()
    for begin in (lambda: None, lambda: begin_augmented(workdir, development)):
        begin()
        assert call(overrides=[CONFIDENCE], ends=refused(path=workdir)) == []
        assert "gan/fold1: synthesis.rules" in call.said
        # Making all clips anew is a way out while no row has trained on them.
        begun = (workdir / AUGMENTED).exists()
        assert (str(workdir / "synthetic") in call.said) == (not begun)
    assert (workdir / "reproduce.json").read_text() == record
    advised = [word for word in shlex.split(call.said) if word.startswith("--config")]
    assert advised == ["--config.synthesis.rules=('argmax',)"]
    assert call(overrides=advised) == [*row(AUGMENTED), PAGE]


def test_without_clips_they_may_be_screened_in_another_way(call, no_clips):
    gans = [step for name in GANS for step in gan(name)]
    assert call(overrides=[CONFIDENCE]) == [*gans, *row(AUGMENTED), PAGE]
    record = json.loads((no_clips / "reproduce.json").read_text())
    assert record["gan/fold4: synthesis.rules"] == ["confidence"]


def test_other_fields_are_not_for_a_call_to_set(call, tmp_path):
    field = "--config.train.epochs"
    assert call(overrides=[f"{field}=1"], ends=refused(field=field)) == []
    assert not (tmp_path / "all").exists()
