"""Sweeps: what they run, in which order, and what becomes of it. The runs are stand-ins."""

import dataclasses
import json
import shlex
import shutil
import subprocess
import sys

import pytest
from checkout import ROOT
from refusals import refused

from asc_jax import cli
from asc_jax.config.ablation import load_ablation
from asc_jax.config.load import load_config, to_json
from asc_jax.experiments import jobs, sweep, together
from asc_jax.experiments.together import load_runs
from asc_jax.flags import build_parser
from asc_jax.runs.identity import identify
from asc_jax.runs.sweep_record import read_record
from asc_jax.runtime import functions
from asc_jax.runtime.errors import RunsFailed, Stopped

SE = str(ROOT / "configs" / "ablations" / "se.py")
RECIPE = str(ROOT / "configs" / "ablations" / "recipe.py")
SCREENING = str(ROOT / "configs" / "ablations" / "screening.py")
DEMO = str(ROOT / "configs" / "demo.py")
SMALL = ("--config.folds.n_folds=2", "--config.train.batch_size=8")  # for the test's data set

# Keeps a list of its calls, and does to a run folder what train and evaluate would do.
STAND_IN = """
import json, pathlib, sys
command, *words = sys.argv[1:]
with open({calls!r}, "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
flags = dict(word[2:].split("=", 1) for word in words if word[:2] == "--" and "=" in word)
folder = pathlib.Path(flags["workdir"])
folder.mkdir(parents=True, exist_ok=True)
ratio = flags.get("config.model.se_ratio")
names = [after for word, after in zip(words, words[1:]) if word == "--run"]
lost = [name for name in names if name.split("/")[0] == {failing!r}]
for name in names:
    if name in lost:
        print(f"{{name}}: it is lost", file=sys.stderr)
        continue
    (folder / name).mkdir(parents=True, exist_ok=True)
    line = {{"epoch": 1, "seconds": 1, "clips_per_second": 1}}
    (folder / name / "metrics.jsonl").write_text((json.dumps(line) + "\\n") * {epochs})
if lost:
    print("the others are done", file=sys.stderr)
    sys.exit(1)
if command == "train" and ratio == {failing!r}:
    print("loading ...\\rsomething is wrong with it", file=sys.stderr)
    sys.exit(3)
if command == "evaluate":
    one = {{"title": "Out-of-fold", "systems": [{{"class_wise_accuracy": {{"value": 0.625}}}}]}}
    one["name"] = "out_of_fold"
    report = {{"training": {{"epochs": {epochs}}}, "lists": [one], "unlabelled": []}}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "report.html").touch()
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Puts a small program in the place of the commands; gives a function that lists its calls."""
    calls = tmp_path / "calls"

    def put(*, failing="", epochs=30):
        body = STAND_IN.format(calls=str(calls), failing=failing, epochs=epochs)
        (tmp_path / "program.py").write_text(body)
        monkeypatch.setattr(jobs, "PROGRAM", (sys.executable, "-SE", str(tmp_path / "program.py")))
        calls.write_text("")
        return lambda: [json.loads(line) for line in calls.read_text().splitlines()]

    return put


def ablation_of_demo(path, scenes, *more, names=("model.se_ratio=0", "model.se_ratio=4")):
    """Some settings of an ablation, of the demo's network."""
    overrides = [f"--config.data.root={scenes}", *SMALL, *more]
    every = load_ablation(path, base=DEMO, overrides=overrides)
    settings = tuple(setting for setting in every.settings if setting.name in names)
    return dataclasses.replace(every, settings=settings)


def se_of_demo(scenes, *more):
    return ablation_of_demo(SE, scenes, *more)


def places(calls) -> list[tuple[str, str]]:
    """Command and run folder of each call."""
    flags = lambda call: dict(w[2:].split("=", 1) for w in call[1:] if w.startswith("--w"))
    return [(call[0], "/".join(flags(call)["workdir"].split("/")[-2:])) for call in calls]


def test_every_run_is_trained_and_then_evaluated(scenes, tmp_path, stand_in, capsys):
    calls, workdir = stand_in(), tmp_path / "sweep"
    sweep.sweep(se_of_demo(scenes), workdir, (0, 3))
    names = [f"model.se_ratio={ratio}/seed{seed}" for ratio in (0, 4) for seed in (0, 3)]
    assert places(calls()) == [(step, name) for name in names for step in ("train", "evaluate")]
    train = calls()[2]
    assert train[1] == f"--config={DEMO}"
    assert f"--config.data.root={scenes}" in train and "--config.model.se_ratio=0" in train
    assert train[-1] == "--config.seed=3"
    assert any(word.startswith("--config.title=") and word.endswith("se_ratio=0") for word in train)
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == names and all("62.5" in line for line in lines.values())
    record = read_record(workdir)
    assert record["config"] == DEMO and record["base"]["train.epochs"] == 30
    assert record["question"] == "Squeeze-and-excitation: none, or by which ratio?"
    assert record["settings"]["model.se_ratio=4"] == {
        "fields": {"model.se_ratio": 4},
        "runs": {"0": "model.se_ratio=4/seed0", "3": "model.se_ratio=4/seed3"},
    }


def test_a_failed_run_is_named_and_tried_again_while_finished_ones_are_not(
    scenes, tmp_path, stand_in, capsys
):
    calls, workdir = stand_in(failing="0"), tmp_path / "sweep"
    with pytest.raises(RunsFailed, match=r"\b1 of 2\b"):
        sweep.sweep(se_of_demo(scenes), workdir)
    assert ("evaluate", "model.se_ratio=0/seed0") not in places(calls())
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    failure = lines["model.se_ratio=0/seed0"]
    assert "3" in failure and failure.endswith(": something is wrong with it")
    assert "62.5" in lines["model.se_ratio=4/seed0"]
    calls = stand_in()
    sweep.sweep(se_of_demo(scenes), workdir)
    assert places(calls()) == [
        ("train", "model.se_ratio=0/seed0"),
        ("evaluate", "model.se_ratio=0/seed0"),
    ]
    calls = stand_in()
    sweep.sweep(se_of_demo(scenes), workdir, (0, 1))  # more seeds join the old ones
    assert {place for _, place in places(calls())} == {
        f"model.se_ratio={ratio}/seed1" for ratio in (0, 4)
    }
    runs = read_record(workdir)["settings"]["model.se_ratio=4"]["runs"]
    assert runs == {"0": "model.se_ratio=4/seed0", "1": "model.se_ratio=4/seed1"}


def test_a_run_that_a_program_has_lost_has_failed_and_the_others_are_scored(
    scenes, tmp_path, stand_in, capsys
):
    lost = "optimizer.lr=0.003"
    calls, workdir = stand_in(failing=lost), tmp_path / "sweep"
    ablation = ablation_of_demo(RECIPE, scenes, names=("base", lost))
    with pytest.raises(RunsFailed, match=r"\b2 of 4\b"):
        sweep.sweep(ablation, workdir, (0, 1), together=True)
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    for seed in (0, 1):
        assert lines[f"{lost}/seed{seed}"].endswith(": it is lost")
        assert "62.5" in lines[f"base/seed{seed}"]
    assert ("evaluate", f"{lost}/seed0") not in places(calls())


def test_a_run_that_was_evaluated_before_its_last_epoch_goes_on(scenes, tmp_path, stand_in):
    calls, workdir = stand_in(epochs=29), tmp_path / "sweep"
    sweep.sweep(se_of_demo(scenes), workdir)
    assert len(calls()) == 4
    sweep.sweep(se_of_demo(scenes), workdir)
    assert len(calls()) == 8


def test_a_run_that_was_stopped_from_elsewhere_stops_the_sweep(scenes, tmp_path, stand_in):
    stand_in()
    (tmp_path / "program.py").write_text("import sys; sys.exit(75)")
    with pytest.raises(Stopped):
        sweep.sweep(se_of_demo(scenes), tmp_path / "sweep")


def test_a_dry_run_prints_lines_for_a_shell_and_touches_nothing(scenes, tmp_path, stand_in, capsys):
    calls, workdir = stand_in(), tmp_path / "it's a folder"
    depth = load_ablation(
        str(ROOT / "configs" / "ablations" / "depth.py"),
        overrides=["--config.data.root=a folder; rm -rf x"],
    )
    sweep.sweep(depth, workdir, (0, 1), dry_run=True)
    assert not workdir.exists() and not calls()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    train, evaluate = lines[1].split(" && ")
    words = shlex.split(train)
    assert words[:2] == ["asc-jax", "train"]
    assert "--config.data.root=a folder; rm -rf x" in words
    assert "--config.model.stage_sizes=(1, 1, 1, 1)" in words
    folder = workdir / "model.stage_sizes=1-1-1-1" / "seed1"
    assert f"--workdir={folder}" in words
    assert shlex.split(evaluate) == ["asc-jax", "evaluate", f"--workdir={folder}"]
    read = subprocess.run(
        ["bash", "-c", f"asc-jax() {{ printf '%s\\n' \"$@\"; }}; {lines[1]}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert read.stdout.splitlines() == words[1:] + shlex.split(evaluate)[1:]


def test_together_is_a_job_for_what_is_left_of_a_program(scenes, tmp_path):
    ablation = se_of_demo(scenes)
    first, second, *_ = ablation.settings
    runs = [sweep.Run(first, 1), sweep.Run(first, 2), sweep.Run(second, 2)]
    jobs = sweep.plan(ablation, runs, tmp_path, together=True)
    assert [job.runs for job in jobs] == [tuple(runs[:2]), (runs[0],), (runs[1],), (runs[2],)]
    (train,) = jobs[0].commands
    title = f"title={ablation.base.title}, model.se_ratio=0"
    assert train[-8:] == (
        "--run", "model.se_ratio=0/seed1", title, "seed=1",
        "--run", "model.se_ratio=0/seed2", title, "seed=2",
    )  # fmt: skip
    assert {f"--workdir={tmp_path}", "--config.model.se_ratio=0"} < set(train)
    assert [job.commands for job in jobs[1:3]] == [
        (("evaluate", f"--workdir={tmp_path / run.name}"),) for run in runs[:2]
    ]
    assert jobs[3].commands[0][-1] == "--config.seed=2"


def test_programs_find_their_runs_in_the_record(scenes, tmp_path):
    fields = [f"--config.data.root={scenes}", "--config.data.fit_length=True", *SMALL]
    ablation = load_ablation(RECIPE, base=DEMO, overrides=[*fields, "--config.title=Ours"])
    runs = [sweep.Run(setting, seed) for setting in ablation.settings for seed in (0, 1)]
    record = json.dumps(sweep._record(ablation, runs, identify(ablation.base)))
    (tmp_path / "sweep.json").write_text(record)
    for job in sweep.plan(ablation, runs, tmp_path, together=True):
        args, overrides = build_parser().parse_known_args(job.commands[0])
        if args.command == "train":
            config = load_config(args.config, overrides)
            configs = load_runs(config, args.config, args.run)
            with together._claim(together._Program(config, args.config, configs, args.workdir)):
                pass
    assert (tmp_path / "sweep.json").read_text() == record


def test_settings_that_differ_in_numbers_of_the_recipe_are_one_program(scenes, tmp_path):
    fields = [f"--config.data.root={scenes}", "--config.data.fit_length=True"]
    ablation = load_ablation(RECIPE, base=DEMO, overrides=fields)
    runs = [sweep.Run(setting, seed) for setting in ablation.settings for seed in (0, 1)]
    jobs = sweep.plan(ablation, runs, tmp_path, together=True)
    assert jobs[0].name == "together/base"
    assert {run.setting.name for run in jobs[0].runs} == {
        "base", "optimizer.lr=0.0003", "optimizer.lr=0.003", "optimizer.weight_decay=0.05",
        "train.label_smoothing=0.1",
    }  # fmt: skip
    programs = [job for job in jobs if len(job.commands[0]) > 2]  # not those that score
    assert len(programs[0].runs) == 10 and all(len(job.runs) == 2 for job in programs[1:])
    assert sum(len(job.runs) for job in programs) == len(runs)
    words = jobs[0].commands[0]
    start = words.index("optimizer.lr=0.003/seed1")
    assert words[start + 1] == "optimizer.lr=0.003" and words[start + 3] == "seed=1"


def test_gans_that_differ_in_synthesis_alone_train_once(tmp_path):
    ablation = load_ablation(SCREENING)
    runs = [sweep.Run(setting, 0) for setting in ablation.settings]
    jobs = sweep.plan(ablation, runs, tmp_path, together=False)
    assert len({job.commands[0] for job in jobs}) == 1
    clips = [word for job in jobs for word in job.commands[1] if word.startswith("--out=")]
    assert len(set(clips)) == len(jobs)
    assert "--config.synthesis.merge=crossfade" in jobs[4].commands[1]
    with refused(field="--together"):
        sweep.sweep(ablation, tmp_path, together=True)


def test_anothers_folder_is_refused(scenes, tmp_path, stand_in):
    calls, workdir = stand_in(), tmp_path / "sweep"
    sweep.sweep(se_of_demo(scenes), workdir)
    n_calls, before = len(calls()), (workdir / "sweep.json").read_text()
    for field, value in (("train.epochs", 7), ("ensemble.decision", "threshold")):
        with refused(path=workdir) as caught:
            sweep.sweep(se_of_demo(scenes, f"--config.{field}={value}"), workdir)
        assert field in str(caught.value)
    assert (workdir / "sweep.json").read_text() == before and len(calls()) == n_calls
    run = workdir / "model.se_ratio=0" / "seed0"
    with refused(path=run):
        sweep.sweep(se_of_demo(scenes), run)
    (workdir / "sweep.json").write_text("{")
    with refused(path=workdir / "sweep.json"):
        sweep.sweep(se_of_demo(scenes), workdir)


def test_data_may_move_but_not_change(scenes, tmp_path, stand_in, take_away_a_clip):
    calls, workdir = stand_in(), tmp_path / "sweep"
    sweep.sweep(se_of_demo(scenes), workdir)
    stand_in()
    moved = shutil.copytree(scenes, tmp_path / "moved")
    sweep.sweep(se_of_demo(moved), workdir)
    assert not calls()
    take_away_a_clip(moved)
    with refused(path=workdir) as caught:
        sweep.sweep(se_of_demo(moved), workdir)
    assert all(part in str(caught.value) for part in ("data.root='80 ", "'79 "))
    assert not calls()


def test_synthetic_clips_may_move_but_not_change(scenes, tmp_path, stand_in):
    stand_in()
    clips = tmp_path / "clips"
    clips.mkdir()
    line = '{"path": "%s.wav", "fold": 1, "scene_label": "bus"}\n'
    (clips / "manifest.jsonl").write_text(line % "a")
    root = lambda place: f"--config.synthetic.root={place}"
    sweep.sweep(se_of_demo(scenes, root(clips)), tmp_path / "sweep")
    moved = clips.rename(tmp_path / "moved")
    sweep.sweep(se_of_demo(scenes, root(moved)), tmp_path / "sweep")
    (moved / "manifest.jsonl").write_text(line % "b")
    for more in ([root(moved)], []):
        with refused(path=tmp_path / "sweep") as caught:
            sweep.sweep(se_of_demo(scenes, *more), tmp_path / "sweep")
        assert "synthetic.root=" in str(caught.value)


def test_gans_go_on_with_the_classifier_that_they_began_with(tmp_path, stand_in):
    """It is known by its config, which has the seed, and by its splits."""
    stand_in()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        config = load_config(DEMO, [f"--config.seed={seed}", f"--config.data.root=at/{name}"])
        (tmp_path / name / "config.json").write_text(to_json(config))

    def of(classifier):
        ablation = load_ablation(SCREENING, overrides=[f"--config.gan.classifier={classifier}"])
        return dataclasses.replace(ablation, settings=ablation.settings[:2])

    workdir = tmp_path / "sweep"
    sweep.sweep(of(tmp_path / "a"), workdir)
    sweep.sweep(of(tmp_path / "b"), workdir)  # the same run at another place
    (tmp_path / "b" / "splits.json").write_text('{"clips": {}}')
    for name in "cb":
        with refused(path=workdir) as caught:
            sweep.sweep(of(tmp_path / name), workdir)
        assert "gan.classifier=" in str(caught.value)


def test_a_data_set_that_is_not_there_is_one_line_and_no_folder(tmp_path, stand_in):
    calls, workdir = stand_in(), tmp_path / "sweep"
    with refused(path="nowhere"):
        sweep.sweep(se_of_demo(tmp_path / "nowhere"), workdir)
    assert not workdir.exists() and not calls()


@pytest.mark.parametrize("flags", [[], ["--dry_run"]])
@pytest.mark.parametrize(
    "seeds", ["1,1", "1,01", "a", "-1", "1,", "0.5", "", "4294967296", "9" * 5000, "\u0663", "1²"]
)
def test_seeds_that_are_none(seeds, flags, scenes, tmp_path, capsys, process_as_it_was):
    words = [f"--config={SE}", f"--base={DEMO}", f"--workdir={tmp_path / 'sweep'}"]
    assert cli.main(["sweep", *words, f"--seeds={seeds}", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--seeds: ")


def test_seeds_are_given_once(scenes, tmp_path, capsys, process_as_it_was):
    words = [f"--config={SE}", f"--base={DEMO}", f"--workdir={tmp_path / 'sweep'}"]
    assert cli.main(["sweep", *words, "--seeds=1,2", "--config.seed=5"]) == 2
    assert capsys.readouterr().err.startswith("--seeds, --config.seed: ")


@pytest.fixture
def own(tmp_path):
    """An ablation of two losses of a file, whose base lies beside another file of that name."""
    loss = "def f(logits, targets):\n    return {} * (logits * targets).sum(-1)\n"
    for name, factor in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "parts.py").write_text(loss.format(factor))
    base = "from configs.demo import get_config\n"
    (tmp_path / "b" / "base.py").write_text(base)
    settings = "[{'train.loss': 'parts.py:f'}, {'train.loss': 'cross_entropy'}]"
    text = f"{base}\n\ndef get_settings():\n    return {settings}\n"
    (tmp_path / "a" / "ablation.py").write_text(text)
    path, base = (str(tmp_path / name) for name in ("a/ablation.py", "b/base.py"))
    return load_ablation(path, base=base)


def test_the_jobs_of_a_sweep_train_the_function_that_it_has_checked(own, tmp_path):
    assert own.settings[0].name == "train.loss=parts.py_f"
    todo = [sweep.Run(setting, 0) for setting in own.settings]
    first, _ = sweep.plan(own, todo, tmp_path / "runs", together=False)
    assert f"--config.train.loss={tmp_path / 'a' / 'parts.py'}:f" in first.commands[0]


def test_a_function_that_changes_during_a_sweep_ends_it(own, tmp_path, monkeypatch):
    todo = [sweep.Run(setting, 0) for setting in own.settings]
    jobs_left = sweep.plan(own, todo, tmp_path / "runs", together=False)
    kept = sweep._record(own, todo, {})["settings"]["train.loss=parts.py_f"]["fields"]
    parts = tmp_path / "a" / "parts.py"
    parts.write_text(parts.read_text().replace("1 *", "3 *"))
    with refused(path=parts):
        sweep._lacks(jobs_left[0], tmp_path / "runs")
    monkeypatch.setattr(functions, "_IMPORTED", {})  # the same command again
    now = sweep._record(own, todo, {})["settings"]["train.loss=parts.py_f"]["fields"]
    assert now != kept and kept["train.loss"].startswith("parts.py:f (")
