"""A run remembers what it was computed by, and goes on with nothing else unasked."""

import functools
import json
import pathlib
import shutil

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
import small
from checkout import CONFIGS

from asc_jax import cli
from asc_jax.data import audio, batches, pool
from asc_jax.frontend import log_mel
from asc_jax.models import resnet
from asc_jax.ops import batch_norm
from asc_jax.parallel.programs import name_program
from asc_jax.report.comparison.folders import read_run
from asc_jax.report.comparison.page import write_comparison
from asc_jax.report.comparison.results import compare_runs
from asc_jax.report.comparison.training import _costs
from asc_jax.runs import provenance
from asc_jax.stats import scores
from asc_jax.train import classifier, optimizer, setup
from asc_jax.train.losses import cross_entropy

CONFIG = CONFIGS / "demo.py"


def train(scenes, workdir, *words, config=CONFIG) -> int:
    root = f"--config.data.root={scenes}"
    words = (f"--config={config}", root, *small.WORDS, "--config.train.epochs=1", *words)
    return cli.main(["train", f"--workdir={workdir}", *words])


def losses(workdir) -> np.ndarray:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return np.array([json.loads(line)["loss"] for line in lines])


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trained") / "run"
    assert train(scenes, workdir) == 0
    return workdir


@pytest.fixture
def folder(trained, tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(trained, tmp_path / "run"))


def a_hundred_times(logits, targets, **options):
    return 100 * cross_entropy(logits, targets, **options)


def weighted(logits, targets, *, weight, **options):
    return weight * cross_entropy(logits, targets, **options)


def change_start(folder, **fields) -> None:
    """Makes the record of a run say something else."""
    (start,) = provenance.read_starts(folder)
    (folder / provenance.NAME).write_text(json.dumps(start | fields) + "\n")


def other_program(folder, name: str) -> dict:
    (start,) = provenance.read_starts(folder)
    return start["programs"] | {name: "0" * 16}


def test_a_start_says_what_trains_and_where(trained):
    (start,) = provenance.read_starts(trained)
    assert start["step"] == 0 and start["device"] == "cpu"
    assert start["n_devices"] == jax.device_count()
    assert {"asc_jax", "jax", "flax", "optax"} <= start["versions"].keys()
    assert start["programs"].keys() == {"train", "evaluate", "init", "log_mel"}
    assert start["answers"].keys() == {"decoding", "batches", "normalisation"}
    assert "train/losses.py" in start["source"] and "jax_enable_x64" in start["settings"]


def test_a_config_that_replaces_the_loss_is_trained_with_it(
    scenes, tmp_path, monkeypatch, process_as_it_was
):
    monkeypatch.setattr(classifier, "cross_entropy", cross_entropy)  # put back after the test
    config = tmp_path / "own.py"
    config.write_text(
        "from configs.demo import get_config\n"
        "from asc_jax.train import classifier, losses\n"
        "classifier.cross_entropy = lambda *a, **k: 100 * losses.cross_entropy(*a, **k)\n"
    )
    slow = "--config.optimizer.lr=1e-30"
    assert train(scenes, tmp_path / "run", slow, config=config) == 0
    assert train(scenes, tmp_path / "same", slow, config=config) == 0
    monkeypatch.undo()
    assert train(scenes, tmp_path / "plain", slow) == 0
    ratio = losses(tmp_path / "run") / losses(tmp_path / "plain")
    np.testing.assert_allclose(ratio, 100, rtol=1e-4)
    np.testing.assert_array_equal(losses(tmp_path / "run"), losses(tmp_path / "same"))
    programs = [
        provenance.read_starts(tmp_path / name)[0]["programs"] for name in ("run", "same", "plain")
    ]
    assert programs[0] == programs[1]
    assert {n for n in programs[0] if programs[0][n] != programs[2][n]} == {"train"}


@pytest.mark.parametrize(
    "replace",
    [
        lambda patch: patch.setattr(classifier, "cross_entropy", a_hundred_times),
        lambda patch: patch.setattr(
            classifier, "cross_entropy", functools.partial(weighted, weight=0.3)
        ),
        lambda patch: patch.setattr(optax, "smooth_labels", lambda labels, alpha: labels),
        lambda patch: patch.setitem(
            optimizer.OPTIMIZERS, "adam", lambda: optax.scale_by_adam(b1=0.5)
        ),
        lambda patch: patch.setattr(batch_norm, "_gradient_moments", lambda x, dy, mean: (dy, dy)),
        lambda patch: patch.setattr(
            resnet, "Dense", functools.partial(nn.Dense, kernel_init=nn.initializers.zeros)
        ),
        lambda patch: patch.setattr(
            setup.normalisation, "standardisation", lambda moments, train, **_: moments[0][:2]
        ),
    ],
    ids=["function", "partial", "library's", "table", "gradient", "initialiser", "standardisation"],
)
def test_a_run_goes_on_with_another_function_only_if_asked_to(
    trained, folder, scenes, monkeypatch, process_as_it_was, capsys, replace
):
    jax.clear_caches()
    replace(monkeypatch)
    before = (folder / "metrics.jsonl").read_bytes()
    assert train(scenes, folder) == 2  # though all its epochs are done
    said = capsys.readouterr().err
    assert f"{folder}: was made by other functions" in said and "--other_functions" in said
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_other_functions_go_on_if_asked_to(folder, scenes, process_as_it_was, capsys):
    (start,) = provenance.read_starts(folder)
    source = start["source"] | {"models/resnet.py": "0" * 16}
    change_start(folder, programs=other_program(folder, "train"), source=source)
    assert train(scenes, folder) == 2
    assert "models/resnet.py" in capsys.readouterr().err
    assert train(scenes, folder, "--other_functions") == 0


def test_what_cannot_be_compared_is_said(folder, scenes, process_as_it_was, capsys):
    """Another version or platform traces the same functions to other programs."""
    (start,) = provenance.read_starts(folder)
    change_start(folder, programs=other_program(folder, "train"), versions={"jax": "0.9"})
    assert train(scenes, folder) == 0
    assert "cannot be compared" not in capsys.readouterr().err  # the files are the same
    change_start(folder, versions=start["versions"])
    change_start(folder, programs=start["programs"], source=start["source"] | {"cli.py": "0" * 16})
    assert train(scenes, folder) == 0
    said = capsys.readouterr().err
    assert f"{folder}: was made by other files of asc_jax (cli.py); those of its func" in said
    change_start(folder, programs=other_program(folder, "train"), versions={"jax": "0.9"})
    change_start(folder, source=start["source"] | {"models/resnet.py": "0" * 16})
    assert train(scenes, folder) == 0
    said = capsys.readouterr().err
    assert "with jax 0.9, so its functions cannot be compared" in said
    assert "models/resnet.py" in said


@pytest.mark.parametrize(
    "words",
    [
        ("--config.train.mesh=(1,1)",),
        ("--config.data.placement=host",),
        ("--config.data.placement=sharded", "--config.train.steps_per_call=3"),
        ("--config.train.non_finite=skip",),
    ],
    ids=["one device", "from the host", "several steps a call", "steps may be lost"],
)
def test_how_a_run_is_carried_out_is_no_other_function(
    trained, scenes, tmp_path, words, process_as_it_was
):
    assert train(scenes, tmp_path / "run", *words) == 0
    (ours,), (theirs,) = map(provenance.read_starts, (trained, tmp_path / "run"))
    assert ours["programs"] == theirs["programs"] and ours["answers"] == theirs["answers"]


def test_a_run_of_a_joint_program_has_the_names_that_it_would_have_alone(
    trained, scenes, tmp_path, process_as_it_was
):
    assert train(scenes, tmp_path / "runs", "--seeds=0,1") == 0
    (alone,), (joint,) = map(provenance.read_starts, (trained, tmp_path / "runs" / "seed0"))
    assert alone["programs"] == joint["programs"] and alone["answers"] == joint["answers"]


def test_the_choice_of_the_epoch_is_a_function_of_the_run(
    scenes, tmp_path, monkeypatch, process_as_it_was, capsys
):
    words = ("--config.train.selection=inner", "--config.folds.inner_fraction=0.5")
    assert train(scenes, tmp_path / "run", *words) == 0
    worst = lambda confusion: 1 - scores.class_wise_accuracy(confusion)
    with monkeypatch.context() as patch:
        patch.setattr(setup, "class_wise_accuracy", worst)
        assert train(scenes, tmp_path / "run", *words) == 2
    assert "(validation is not" in capsys.readouterr().err
    jax.clear_caches()
    monkeypatch.setattr(classifier, "keep_best", lambda best, *_: best)
    assert train(scenes, tmp_path / "run", *words) == 2
    assert "(keep_best is not" in capsys.readouterr().err


def test_batches_of_later_epochs_are_told_apart(folder, scenes, monkeypatch, process_as_it_was):
    draw = batches.epoch_indices

    def one_clip_later(*arguments, epoch, **options):
        return draw(*arguments, epoch=epoch, **options) * (epoch == 0)

    monkeypatch.setattr(batches, "epoch_indices", one_clip_later)
    assert train(scenes, folder) == 2


def test_a_program_that_calls_the_host_has_no_name():
    def step(x):
        shape = jax.ShapeDtypeStruct((), "float32")
        return jax.pure_callback(lambda x: np.float32(2) * x, shape, x)

    x = jax.ShapeDtypeStruct((), "float32")
    assert name_program(jax.jit(step), x) is None
    assert name_program(jax.jit(lambda x: 2 * x), x)


def test_names_are_of_constants_and_not_of_flags_to_find_a_nan():
    weights = np.arange(100, dtype=np.float32)
    name = lambda weights: name_program(jax.jit(lambda x: x + weights), weights)
    assert name(weights) == name(weights.copy()) != name(weights + 1)
    plain = name(weights)
    with jax.debug_nans(True):
        assert name(weights) == plain


def test_a_run_without_a_checkpoint_begins_anew(folder, scenes, process_as_it_was):
    change_start(folder, programs=other_program(folder, "train"))
    shutil.rmtree(folder / "checkpoints")
    assert train(scenes, folder) == 0
    assert [start["step"] for start in provenance.read_starts(folder)] == [0, 0]


def test_a_run_of_an_earlier_version_goes_on(folder, scenes, process_as_it_was):
    (folder / provenance.NAME).unlink()
    assert train(scenes, folder) == 0


@pytest.mark.parametrize("content", ["{", "[]\n", '{"step": 1}\n', '{"step": NaN}\n'])
def test_a_damaged_record_is_one_line(folder, scenes, content, process_as_it_was, capsys):
    (folder / provenance.NAME).write_text(content)
    assert train(scenes, folder) == 2
    assert provenance.NAME in capsys.readouterr().err


def test_reports_speak_of_the_machine_that_trained(folder, process_as_it_was):
    """Whatever scores the run: eight chips, elsewhere, with another version of JAX."""
    change_start(folder, device="TPU v5e", n_devices=8, versions={"jax": "0.9"})
    assert cli.main(["evaluate", f"--workdir={folder}"]) == 0
    report = json.loads((folder / "report.json").read_text())
    assert report["device"] == "TPU v5e x 8" and report["versions"] == {"jax": "0.9"}
    assert report["scored"]["device"].startswith("cpu x ")
    seconds = sum(json.loads(line)["seconds"] for line in (folder / "metrics.jsonl").open())
    assert report["training"]["device_seconds"] == pytest.approx(8 * seconds)
    assert "TPU v5e x 8" in (folder / "report.html").read_text()
    costs = _costs([read_run(folder)])
    assert "TPU v5e x 8" in costs and f"{8 * seconds / 3600:,.2f}" in costs


def test_another_frontend_scores_nothing(folder, monkeypatch, process_as_it_was, capsys):
    monkeypatch.setattr(pool, "log_mel", lambda waveform, cfg: -3 * log_mel(waveform, cfg))
    words = ["evaluate", f"--workdir={folder}"]
    assert cli.main(words) == 2
    assert "log_mel" in capsys.readouterr().err and not (folder / "report.json").exists()
    assert cli.main([*words, "--other_functions"]) == 0
    training = json.loads((folder / "report.json").read_text())["training"]
    assert "log_mel" in training["scored_by_other"]
    assert "other functions" in training["note"] and "other functions" in _page(folder)


def _page(folder) -> str:
    """The comparison of a run with a copy of itself."""
    twin = shutil.copytree(folder, folder.with_name("twin"))
    return write_comparison(compare_runs([twin, folder]), folder / "page.html").read_text()


def test_answers_of_another_state_are_not_kept(folder, scenes, tmp_path, process_as_it_was, capsys):
    """Whatever step it is of."""
    beside = tmp_path / "beside"
    (beside / "evaluation_setup").mkdir(parents=True)
    shutil.copytree(scenes / "audio", beside / "audio")
    listed = sorted(path.name for path in (beside / "audio").iterdir())[:2]
    rows = "".join(f"audio/{name}\n" for name in listed)
    (beside / "evaluation_setup" / "test.txt").write_text(rows)
    words = ["evaluate", f"--workdir={folder}"]
    assert cli.main([*words, f"--data={beside}"]) == 0
    assert cli.main(words) == 0
    assert "beside/logits" in np.load(folder / "logits.npz")
    other = json.loads((folder / "report.json").read_text())
    other["training"]["state"] = "0" * 16
    (folder / "report.json").write_text(json.dumps(other))
    capsys.readouterr()
    assert cli.main(words) == 0
    assert "beside" in capsys.readouterr().err
    assert "beside/logits" not in np.load(folder / "logits.npz")


def test_a_run_that_begins_anew_has_no_scores(folder, scenes, process_as_it_was):
    assert cli.main(["evaluate", f"--workdir={folder}"]) == 0
    shutil.rmtree(folder / "checkpoints")
    assert train(scenes, folder) == 0
    for name in ("report.json", "report.html", "logits.npz"):
        assert not (folder / name).exists()


def test_device_time_is_of_each_start():
    starts = [{"step": 0, "n_devices": 1}, {"step": 20, "n_devices": 4}]
    epochs = [{"step": step, "seconds": 1.0} for step in (10, 20, 30)]
    assert provenance.device_seconds(starts, epochs) == 1 + 1 + 4
    assert provenance.device_seconds([], epochs) is None


def test_runs_of_other_files_are_named(trained, folder, capsys):
    provenance.say_other_files([trained])
    assert not capsys.readouterr().err
    (start,) = provenance.read_starts(folder)
    change_start(folder, source=start["source"] | {"models/resnet.py": "0" * 16})
    provenance.say_other_files([trained, folder])
    said = capsys.readouterr().err
    assert "models/resnet.py" in said and said.count(f"/{folder.name}") == 1


GATE = """
import numpy as np
from asc_jax.data import audio

FLOOR = 0.001


def gated(path, decode=audio.decode):
    samples, sr = decode(path)
    return np.where(np.abs(samples) < FLOOR * np.abs(samples).max(), 0, samples), sr
"""


def test_decoding_is_known_by_its_files_too(
    scenes, tmp_path, monkeypatch, process_as_it_was, capsys
):
    """A fixed question is loud: a gate does not show in its answer."""
    monkeypatch.setattr(audio, "decode", audio.decode)  # put back after the test
    config = tmp_path / "own.py"
    replace = f"{GATE}\nfrom configs.demo import get_config\naudio.decode = gated\n"
    config.write_text(replace)
    assert train(scenes, tmp_path / "first", config=config) == 0
    monkeypatch.undo()
    monkeypatch.setattr(cli, "_start_jax", lambda: None)
    monkeypatch.setattr(audio, "decode", audio.decode)
    config.write_text(replace.replace("FLOOR = 0.001", "FLOOR = 0.2"))
    assert train(scenes, tmp_path / "second", config=config) == 0
    assert (losses(tmp_path / "first") != losses(tmp_path / "second")).any()
    monkeypatch.undo()
    monkeypatch.setattr(cli, "_start_jax", lambda: None)
    capsys.readouterr()
    assert cli.main(["evaluate", f"--workdir={tmp_path / 'first'}"]) == 0
    said = capsys.readouterr().err
    assert "was made by other files" in said and "own.py" in said


def test_a_helper_of_what_decodes_is_found_wherever_it_is(monkeypatch):
    names = set(pool.written_in())
    assert {"data/pool.py", "data/audio.py", "data/cache.py", "data/wav.py"} <= names
    assert not names & {"frontend.py", "runs/provenance.py", "train/losses.py"}
    monkeypatch.setattr(audio, "decode", functools.partial(a_hundred_times, targets=None))
    assert set(pool.written_in()) > names
