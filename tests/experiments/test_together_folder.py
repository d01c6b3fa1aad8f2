"""The folder of runs in one program: what they are called, and what it may hold."""

import pytest
from checkout import CONFIGS

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
    assert capsys.readouterr().err == (
        f"{first}: a program of other runs is not finished; the command that began it goes on "
        "with it\n"
    )


def refused(base, words, workdir) -> str:
    with pytest.raises(InputError) as error:
        train_together(base, CONFIG, load_runs(base, CONFIG, words), workdir)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_wrong_input_leaves_nothing_behind(scenes, tmp_path):
    words, workdir = [["seed0", "seed=0"], ["seed1", "seed=1"]], tmp_path / "runs"
    assert "nowhere" in refused(config(scenes, f"data.root={tmp_path / 'nowhere'}"), words, workdir)
    assert not workdir.exists()
    assert "training clips" in refused(config(scenes, "train.batch_size=9999"), words, workdir)
    assert not workdir.exists()


def test_runs_of_which_nothing_comes_leave_the_record_as_it_was(scenes, tmp_path, monkeypatch):
    start([["seed0", "seed=0"]], scenes, tmp_path, monkeypatch)
    before = (tmp_path / "sweep.json").read_text()

    def train(*_, **__):
        assert (tmp_path / "sweep.json").read_text() != before
        raise InputError("a clip is damaged")

    monkeypatch.setattr(together, "train", train)
    assert refused(config(scenes), [["x", "seed=1"]], tmp_path) == "a clip is damaged"
    assert (tmp_path / "sweep.json").read_text() == before
    with hold(tmp_path / "together"):
        assert "another process trains in it" in refused(
            config(scenes), [["x", "seed=1"]], tmp_path
        )
    assert (tmp_path / "sweep.json").read_text() == before


def test_a_folder_of_something_else_is_refused(scenes, tmp_path, monkeypatch):
    words, base = [["a", "seed=0"], ["b", "seed=1"]], config(scenes)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    assert "is not empty and no sweep's folder" in refused(base, words, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
    start(words, scenes, tmp_path / "runs", monkeypatch)
    for other, others_words, expected in (
        (base, [["a", "seed=4"], ["c", "seed=5"]], "a: belongs to another run (seed=0 there, 4"),
        (base, [["a", "optimizer.lr=1"]], "belongs to another run (optimizer.lr=0.02 there, 1.0"),
        (base, [["a/c", "seed=2"]], "is the folder of the run a, or one of them lies in"),
        (base, [["c", "seed=1"]], "has the run c as b; use that name"),
        (config(scenes, "train.epochs=3"), words, "run (train.epochs=2 there, 3 now)"),
        (config(scenes, "train.epochs=3"), [["c", "seed=2"]], "sweep (train.epochs=2 there, 3"),
    ):
        assert expected in refused(other, others_words, tmp_path / "runs")


def test_a_program_of_other_values_is_another_program(scenes):
    names = {
        together._name({"a": config(scenes, field)})
        for field in ("seed=1", "seed=2", "optimizer.lr=0.5", "train.label_smoothing=0.1")
    }
    assert len(names) == 4


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
    ("words", "expected"),
    [
        ([["a", "optimizer.name=sgd"]], "optimizer.name=sgd: runs of one program can differ in"),
        ([["a", "train.epochs=3"]], "use --config.train.epochs=3 for all of them"),
        ([["a", "optimizer.lr=-1"]], "optimizer.lr=-1"),
        ([["a", "optimizer.rl=1"]], "optimizer.rl=1"),
        ([["a"], ["a", "seed=1"]], "--run a: is the folder of the run a, or one of them lies"),
        ([["a"], ["a/b", "seed=1"]], "--run a/b: is the folder of the run a, or one of them lies"),
        ([["a/b"], ["./a", "seed=1"]], "is the folder of the run a/b, or one of them lies in the"),
        ([["a"], ["b"]], "--run b: is the run a again; leave one of them out"),
        ([["together"]], "--run together: together is taken; give the run another name"),
        ([["together/a"]], "together is taken"),
        ([["profile"]], "profile is taken"),
        ([["sweep.json"]], "sweep.json is taken"),
        ([["optimizer.lr=1"]], "--run optimizer.lr=1: must begin with the name of a folder"),
        ([["/a"]], "must begin with the name of a folder below --workdir"),
        ([["../a"]], "must begin with the name of a folder below --workdir"),
    ],
)
def test_runs_that_cannot_be_one_program(words, expected):
    with pytest.raises(InputError) as error:
        load_runs(load_config(CONFIG), CONFIG, words)
    assert expected in str(error.value) and "\n" not in str(error.value)


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
    with pytest.raises(InputError, match=r"--run b: folds\.seed follows seed=6"):
        load_runs(base, str(file), [["a", "seed=0"], ["b", "seed=6"]])
