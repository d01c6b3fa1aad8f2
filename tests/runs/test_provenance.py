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
from refusals import refused

from asc_jax import cli
from asc_jax.config.load import load_config
from asc_jax.data import audio, batches, decoding, normalisation
from asc_jax.frontend import FRONTENDS, log_mel
from asc_jax.models import resnet
from asc_jax.ops import batch_norm
from asc_jax.parallel.programs import name_program
from asc_jax.runs import provenance
from asc_jax.runs.inputs import read_data
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.stats import scores
from asc_jax.train import classifier, predict
from asc_jax.train.losses import LOSSES, cross_entropy
from asc_jax.train.setup import set_up
from asc_jax.train.start import describe_start

CONFIG = CONFIGS / "demo.py"
# A rate at which nothing is learnt: losses are those of the initial values.
FIELDS = ("train.epochs=1", "optimizer.lr=1e-30")


def train(scenes, workdir, *flags, config=CONFIG) -> int:
    words = small.words(scenes, *FIELDS)
    return cli.main(["train", f"--config={config}", f"--workdir={workdir}", *words, *flags])


def describe(config, runs=None) -> dict:
    """What a process that trains a config says of itself; nothing is compiled."""
    setup = set_up(config, *read_data(config), mesh_shape=config.train.mesh, runs=runs)
    return describe_start(setup, training=True)


def losses(workdir) -> np.ndarray:
    return np.array([line["loss"] for line in read_metrics(workdir / "metrics.jsonl")])


@pytest.fixture(scope="module")
def config(scenes):
    return small.config(scenes, *FIELDS)


@pytest.fixture(scope="module")
def now(config) -> dict:
    """The start of a process of today."""
    return describe(config)


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trained") / "run"
    assert train(scenes, workdir) == 0
    return workdir


@pytest.fixture
def folder(trained, tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(trained, tmp_path / "run"))


def change_start(folder, **fields) -> None:
    """Makes the record of a run say something else."""
    (start,) = provenance.read_starts(folder)
    (folder / provenance.NAME).write_text(json.dumps(start | fields) + "\n")


def other_program(start) -> dict:
    return start["programs"] | {"train": "0" * 16}


def test_a_start_says_what_trains_and_where(trained, now):
    (start,) = provenance.read_starts(trained)
    assert start["step"] == 0 and start["device"] == "cpu"
    assert start["n_devices"] == jax.device_count()
    assert {"asc_jax", "jax", "flax", "optax"} <= start["versions"].keys()
    assert start["programs"].keys() == {"train", "evaluate", "init", "log_mel"}
    assert start["answers"].keys() == {"decoding", "batches", "normalisation"}
    assert "train/losses.py" in start["source"]
    assert start["settings"]["jax_default_prng_impl"] == repr(jax.config.jax_default_prng_impl)
    assert provenance.are_same(start, now)


def test_a_config_that_replaces_the_loss_is_trained_with_it_and_goes_on_with_no_other(
    trained, scenes, tmp_path, process_as_it_was, capsys
):
    config, run = tmp_path / "own.py", tmp_path / "run"
    config.write_text(
        "from configs.demo import get_config\n"
        "from asc_jax.train import losses\n"
        "ours = losses.cross_entropy\n"
        "losses.LOSSES['cross_entropy'] = lambda *a, **k: 100 * ours(*a, **k)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LOSSES, "cross_entropy", cross_entropy)  # put back at the end
        assert train(scenes, run, config=config) == 0
    np.testing.assert_allclose(losses(run) / losses(trained), 100, rtol=1e-4)
    (own,), (plain,) = map(provenance.read_starts, (run, trained))
    assert provenance.other_functions(own, plain) == ["train"]

    before = (run / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    assert train(scenes, run) == 2  # though all its epochs are done
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{run}: ") and "--other_functions" in line
    assert train(scenes, run, "--other_functions") == 0
    assert (run / "metrics.jsonl").read_bytes() == before


def another_host(patch) -> None:
    """Other batches from the second epoch on, and another standardisation."""
    draw = batches.epoch_indices
    later = lambda *arguments, epoch, **how: draw(*arguments, epoch=epoch, **how) * (epoch == 0)
    patch.setattr(batches, "epoch_indices", later)
    patch.setattr(normalisation, "standardisation", lambda moments, train, **_: moments[0][:2])


def test_another_function_is_noticed_wherever_it_is(config, now, monkeypatch):
    """A library's, an initialiser, and what the host computes."""
    jax.clear_caches()
    monkeypatch.setattr(optax, "smooth_labels", lambda labels, alpha: labels)
    zeros = functools.partial(nn.Dense, kernel_init=nn.initializers.zeros)
    monkeypatch.setattr(resnet, "Dense", zeros)
    another_host(monkeypatch)
    changed = provenance.other_functions(now, describe(config))
    assert changed == ["batches", "init", "normalisation", "train"]


def test_another_gradient_is_another_function(config, now, monkeypatch):
    jax.clear_caches()
    monkeypatch.setattr(batch_norm, "_gradient_moments", lambda x, dy, mean: (dy, dy))
    assert provenance.other_functions(now, describe(config)) == ["train"]


def test_the_choice_of_the_epoch_is_a_function_of_the_run(scenes, monkeypatch):
    config = small.config(scenes, "train.selection=inner", "folds.inner_fraction=0.5")
    then = describe(config)
    worst = lambda confusion: 1 - scores.class_wise_accuracy(confusion)
    monkeypatch.setattr(predict, "class_wise_accuracy", worst)
    jax.clear_caches()
    monkeypatch.setattr(classifier, "keep_best", lambda best, *_: best)
    assert provenance.other_functions(then, describe(config)) == ["keep_best", "validation"]


def test_how_a_run_is_carried_out_is_no_other_function(scenes, config, now):
    """Where and how the steps run, whether some may be lost, and beside which other runs."""
    how = ("train.mesh=(1,1)", "data.placement=sharded", "train.steps_per_call=3",
           "train.non_finite=skip")  # fmt: skip
    config = small.config(scenes, *FIELDS, *how)
    theirs = describe(config, runs={"seed0": config, "seed1": config})
    assert now["programs"] == theirs["programs"] and now["answers"] == theirs["answers"]


@pytest.fixture
def refuse(now, tmp_path, capsys):
    """A function: goes on, as it is today, with a run of one start; what is then said."""

    def refuse(*, allowed=False, **then) -> str:
        (tmp_path / provenance.NAME).unlink(missing_ok=True)
        provenance.add_start(tmp_path, now | then)
        provenance.refuse_another(tmp_path, now, step=1, allowed=allowed)
        return capsys.readouterr().err

    return refuse


def test_other_functions_go_on_if_asked_to(refuse, now, tmp_path):
    assert not refuse()
    source = now["source"] | {"models/resnet.py": "0" * 16}
    then = {"programs": other_program(now), "source": source}
    with refused(path=tmp_path) as caught:
        refuse(**then)
    assert "models/resnet.py" in str(caught.value)
    assert not refuse(**then, allowed=True)
    assert not refuse(**then, step=1)  # nothing is left of it


def test_what_cannot_be_compared_is_said(refuse, now):
    """Another version or platform traces the same functions to other programs."""
    other = {"programs": other_program(now), "versions": {"jax": "0.9"}}
    assert not refuse(**other)  # the files are the same
    (line,) = refuse(source=now["source"] | {"cli.py": "0" * 16}).splitlines()
    assert "cli.py" in line
    source = now["source"] | {"models/resnet.py": "0" * 16}
    (line,) = refuse(**other, source=source).splitlines()
    assert "jax 0.9" in line and "models/resnet.py" in line


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


def test_a_run_without_a_checkpoint_begins_anew_and_has_no_scores(
    folder, scenes, process_as_it_was
):
    (start,) = provenance.read_starts(folder)
    change_start(folder, programs=other_program(start))
    shutil.rmtree(folder / "checkpoints")
    scored = [folder / name for name in ("report.json", "report.html", "logits.npz")]
    for path in scored:
        path.touch()
    assert train(scenes, folder) == 0
    assert [start["step"] for start in provenance.read_starts(folder)] == [0, 0]
    assert not any(path.exists() for path in scored)


@pytest.mark.parametrize("content", ["{", "[]\n", '{"step": 1}\n', '{"step": NaN}\n'])
def test_a_damaged_record_is_refused(tmp_path, content):
    assert provenance.read_starts(tmp_path) == []  # of an earlier version
    (tmp_path / provenance.NAME).write_text(content)
    with refused(path=provenance.NAME):
        provenance.read_starts(tmp_path)


def test_reports_speak_of_the_machine_that_trained(folder, process_as_it_was):
    """Whatever scores the run: eight chips, elsewhere, with another version of JAX."""
    change_start(folder, device="TPU v5e", n_devices=8, versions={"jax": "0.9"})
    assert cli.main(["evaluate", f"--workdir={folder}"]) == 0
    report = json.loads((folder / "report.json").read_text())
    assert report["device"] == "TPU v5e x 8" and report["versions"] == {"jax": "0.9"}
    assert report["scored"]["device"].startswith("cpu x ")
    seconds = sum(line["seconds"] for line in read_metrics(folder / "metrics.jsonl"))
    assert report["training"]["device_seconds"] == pytest.approx(8 * seconds)
    assert "TPU v5e x 8" in (folder / "report.html").read_text()


def test_another_frontend_scores_nothing_unasked(folder, monkeypatch, process_as_it_was, capsys):
    monkeypatch.setitem(FRONTENDS, "log_mel", lambda waveform, cfg: -3 * log_mel(waveform, cfg))
    words = ["evaluate", f"--workdir={folder}"]
    assert cli.main(words) == 2
    assert "log_mel" in capsys.readouterr().err and not (folder / "report.json").exists()
    assert cli.main([*words, "--other_functions"]) == 0
    report = json.loads((folder / "report.json").read_text())
    assert "log_mel" in report["training"]["scored_by_other"]


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
from configs.demo import get_config

FLOOR = {}


def gated(path, decode=audio.decode):
    samples, sr = decode(path)
    return np.where(np.abs(samples) < FLOOR * np.abs(samples).max(), 0, samples), sr


audio.decode = gated
"""


def test_decoding_is_known_by_its_files_too(scenes, tmp_path, now):
    """A fixed question is loud: a gate does not show in its answer."""
    own, found = tmp_path / "own.py", []
    for floor in (0.001, 0.2):
        own.write_text(GATE.format(floor))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(audio, "decode", audio.decode)  # put back at the end
            config = load_config(own, small.words(scenes))
            setup = set_up(config, *read_data(config))
            found.append((setup.clips.pools[0].values, describe_start(setup)))
    (first, then), (second, _) = found
    assert (first != second).any()
    assert provenance.other_functions(then, now) == []
    assert "own.py" in provenance.other_files(then, now)


def test_a_helper_of_what_decodes_is_found_wherever_it_is(monkeypatch):
    names = set(decoding.written_in())
    assert {"data/decoding.py", "data/audio.py", "data/cache.py", "data/wav.py"} <= names
    assert not names & {"frontend.py", "runs/provenance.py", "train/losses.py"}
    monkeypatch.setattr(audio, "decode", functools.partial(losses, None))
    assert set(decoding.written_in()) > names
