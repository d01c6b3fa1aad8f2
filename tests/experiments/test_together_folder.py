"""The folder of runs in one program: what they are called, and what it may hold."""

import json
import pathlib

import pytest
from checkout import CONFIGS
from refusals import refused

from asc_jax.config.load import PER_MODEL_FIELDS, flatten, load_config
from asc_jax.experiments import together
from asc_jax.experiments.together import load_runs, train_together
from asc_jax.flags import build_parser
from asc_jax.runs.folder import hold
from asc_jax.runtime.errors import InputError

CONFIG = str(CONFIGS / "demo.py")
SMALL = ("folds.n_folds=2", "train.batch_size=8", "train.epochs=2", "optimizer.lr=0.02")


def config(scenes, *more):
    fields = (f"data.root={scenes}", *SMALL, *more)
    return load_config(CONFIG, [f"--config.{field}" for field in fields])


def start(words, scenes, workdir, monkeypatch):
    """Begins runs and stops at the first step; returns the program's folder."""
    begun = []

    def train(config, folder, **_):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").touch()
        begun.append(folder)
        raise KeyboardInterrupt

    base = config(scenes)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(together, "train", train)
        train_together(base, CONFIG, load_runs(base, CONFIG, words), workdir)
    return begun[0]


def test_the_order_of_the_runs_does_not_matter_and_another_program_is_named(
    scenes, tmp_path, monkeypatch, capsys
):
    words = [["seed0", "seed=0"], ["seed1", "seed=1"]]
    first = start(words, scenes, tmp_path, monkeypatch)
    assert start(words[::-1], scenes, tmp_path, monkeypatch) == first
    assert not capsys.readouterr().err
    assert start([*words, ["seed2", "seed=2"]], scenes, tmp_path, monkeypatch) != first
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{first}: ")


def train_runs(base, words, workdir):
    train_together(base, CONFIG, load_runs(base, CONFIG, words), workdir)


def test_wrong_input_leaves_nothing_behind(scenes, tmp_path):
    words, workdir = [["seed0", "seed=0"], ["seed1", "seed=1"]], tmp_path / "runs"
    with refused(path="nowhere"):
        train_runs(config(scenes, f"data.root={tmp_path / 'nowhere'}"), words, workdir)
    assert not workdir.exists()
    with refused(field="train.batch_size"):
        train_runs(config(scenes, "train.batch_size=9999"), words, workdir)
    assert not workdir.exists()


def test_runs_of_which_nothing_comes_leave_the_record_as_it_was(scenes, tmp_path, monkeypatch):
    start([["seed0", "seed=0"]], scenes, tmp_path, monkeypatch)
    before = (tmp_path / "sweep.json").read_text()

    def train(*_, **__):
        assert (tmp_path / "sweep.json").read_text() != before
        raise InputError("is damaged", path="a clip")

    monkeypatch.setattr(together, "train", train)
    with refused(path="a clip"):
        train_runs(config(scenes), [["x", "seed=1"]], tmp_path)
    assert (tmp_path / "sweep.json").read_text() == before
    with hold(tmp_path / "together"), refused(path="together"):
        train_runs(config(scenes), [["x", "seed=1"]], tmp_path)
    assert (tmp_path / "sweep.json").read_text() == before


def test_a_run_may_have_the_name_of_a_setting(scenes, tmp_path, monkeypatch):
    """The setting of the base has two runs here, and another run is called base."""
    words = [["x", "seed=1"], ["y", "seed=2"], ["base", "optimizer.lr=0.5"]]
    start(words, scenes, tmp_path, monkeypatch)
    settings = json.loads((tmp_path / "sweep.json").read_text())["settings"].values()
    assert sorted(run for one in settings for run in one["runs"].values()) == ["base", "x", "y"]


def test_a_folder_of_something_else_is_refused(scenes, tmp_path, monkeypatch):
    words, base = [["a", "seed=0"], ["b", "seed=1"]], config(scenes)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    with refused(path=tmp_path / "run"):
        train_runs(base, words, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
    start(words, scenes, tmp_path / "runs", monkeypatch)
    more = config(scenes, "train.epochs=3")
    for other, others_words, path, named in (
        (base, [["a", "seed=4"], ["c", "seed=5"]], "runs/a", "seed"),
        (base, [["a", "optimizer.lr=1"]], "runs/a", "optimizer.lr"),
        (base, [["a/c", "seed=2"]], "", "run a"),
        (base, [["c", "seed=1"]], "runs", "run c as b"),
        (more, words, "runs/a", "train.epochs"),
        (more, [["c", "seed=2"]], "runs", "train.epochs"),
    ):
        with refused(path=path) as caught:
            train_runs(other, others_words, tmp_path / "runs")
        assert named in str(caught.value)


def test_a_program_of_other_values_is_another_program(scenes):
    folders = {
        together._Program(None, "", {"a": config(scenes, field)}, pathlib.Path()).folder
        for field in ("seed=1", "seed=2", "optimizer.lr=0.5", "train.label_smoothing=0.1")
    }
    assert len(folders) == 4


def test_the_help_names_the_fields(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["train", "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(PER_MODEL_FIELDS) <= set(words)


def test_runs_are_read_from_their_words(scenes):
    words = [["base/seed0", "seed=0"], ["b/seed1", "seed=1", "optimizer.lr=0.5", "title=A, b"]]
    runs = load_runs(config(scenes), CONFIG, words)
    assert list(runs) == ["base/seed0", "b/seed1"]
    first, second = (flatten(one) for one in runs.values())
    assert {field for field in first if first[field] != second[field]} == {
        "seed", "optimizer.lr", "title",
    }  # fmt: skip
    assert (runs["b/seed1"].optimizer.lr, runs["b/seed1"].title) == (0.5, "A, b")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ([["a", "optimizer.name=sgd"]], "--run a optimizer.name=sgd"),
        ([["a", "optimizer.lr=-1"]], "--run a optimizer.lr"),
        ([["a"], ["a", "seed=1"]], "--run a"),
        ([["a"], ["a/b", "seed=1"]], "--run a/b"),
        ([["a/b"], ["./a", "seed=1"]], "--run ./a"),
        ([["a"], ["b"]], "--run b"),
        ([["together"]], "--run together"),
        ([["together/a"]], "--run together/a"),
        ([["profile"]], "--run profile"),
        ([["sweep.json"]], "--run sweep.json"),
        ([["optimizer.lr=1"]], "--run optimizer.lr=1"),
        ([["/a"]], "--run /a"),
        ([["../a"]], "--run ../a"),
    ],
)
def test_runs_that_cannot_be_one_program(words, field):
    with refused(field=field):
        load_runs(load_config(CONFIG), CONFIG, words)


def test_a_field_that_follows_a_models_own_is_refused(scenes, tmp_path):
    """Its runs would have other folds than the program that trains them."""
    file = tmp_path / "follows.py"
    file.write_text(
        "from configs import demo\n\n\n"
        "def get_config():\n"
        "    config = demo.get_config()\n"
        "    config.folds.seed = config.get_ref('seed') * 1\n"
        "    return config\n"
    )
    base = load_config(file, [f"--config.data.root={scenes}"])
    with refused(field="--run b") as caught:
        load_runs(base, str(file), [["a", "seed=0"], ["b", "seed=6"]])
    assert "folds.seed" in str(caught.value)
