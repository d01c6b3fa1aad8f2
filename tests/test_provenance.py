"""A run remembers what it was computed by, and goes on with nothing else unasked."""

import json
import pathlib
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from asc_jax import cli, provenance, run
from asc_jax.data.normalisation import standardisation
from asc_jax.report.runs.folders import read_run
from asc_jax.report.runs.training import _costs
from asc_jax.train import classifier
from asc_jax.train.losses import cross_entropy

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "demo.py"
SMALL = (
    "--config.data.clip_seconds=1.0",
    "--config.data.n_frames=50",
    "--config.frontend.n_mels=8",
    "--config.model.stage_sizes=(1,)",
    "--config.model.stage_strides=(1,)",
    "--config.model.width=2",
    "--config.folds.n_folds=2",
    "--config.folds.test_fold=0",
    "--config.train.batch_size=8",
    "--config.train.epochs=1",
)


def train(scenes, workdir, *words, config=CONFIG) -> int:
    root = f"--config.data.root={scenes}"
    return cli.main(["train", f"--config={config}", root, f"--workdir={workdir}", *SMALL, *words])


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


def change_start(folder, **fields) -> None:
    """Makes the record of a run say something else."""
    (start,) = provenance.read_starts(folder)
    (folder / provenance.NAME).write_text(json.dumps(start | fields) + "\n")


def test_a_start_says_what_trains_and_where(trained):
    (start,) = provenance.read_starts(trained)
    assert start["step"] == 0 and start["device"] == "cpu"
    assert start["n_devices"] == np.prod(start["mesh"])
    assert {"asc_jax", "jax", "flax", "optax"} <= start["versions"].keys()
    assert "train/losses.py" in start["source"] and "report/page.py" not in start["source"]
    assert provenance.differences(trained) == []


def test_a_config_that_replaces_the_loss_is_trained_with_it(
    trained, scenes, tmp_path, monkeypatch, process_as_it_was
):
    monkeypatch.setattr(classifier, "cross_entropy", cross_entropy)  # put back after the test
    config = tmp_path / "own.py"
    config.write_text(
        "from configs.demo import get_config\n"
        "from asc_jax.train import classifier, losses\n"
        "classifier.cross_entropy = lambda *a, **k: 100 * losses.cross_entropy(*a, **k)\n"
    )
    assert train(scenes, tmp_path / "run", "--config.optimizer.lr=1e-30", config=config) == 0
    assert train(scenes, tmp_path / "same", "--config.optimizer.lr=1e-30", config=config) == 0
    monkeypatch.undo()
    assert train(scenes, tmp_path / "plain", "--config.optimizer.lr=1e-30") == 0
    ratio = losses(tmp_path / "run") / losses(tmp_path / "plain")
    np.testing.assert_allclose(ratio, 100, rtol=1e-4)
    np.testing.assert_array_equal(losses(tmp_path / "run"), losses(tmp_path / "same"))
    (start,) = provenance.read_starts(tmp_path / "run")
    assert "asc_jax.train.classifier.cross_entropy" in start["source"]


def test_a_run_goes_on_with_another_function_only_if_asked_to(
    folder, scenes, monkeypatch, process_as_it_was, capsys
):
    monkeypatch.setattr(classifier, "cross_entropy", a_hundred_times)
    before = (folder / "metrics.jsonl").read_bytes()
    assert train(scenes, folder) == 2  # though all its epochs are done
    said = capsys.readouterr().err
    assert "asc_jax.train.classifier.cross_entropy" in said and "train.source=any" in said
    assert len(said.splitlines()) == 1
    assert (folder / "metrics.jsonl").read_bytes() == before
    assert train(scenes, folder, "--config.train.source=any") == 0


def test_another_file_of_the_package_or_setting_is_named(folder, scenes, process_as_it_was, capsys):
    (start,) = provenance.read_starts(folder)
    change_start(folder, source=start["source"] | {"models/resnet.py": "0" * 16})
    assert train(scenes, folder) == 2
    assert "models/resnet.py" in capsys.readouterr().err
    change_start(folder, settings=start["settings"] | {"jax_default_prng_impl": "rbg"})
    assert train(scenes, folder) == 2
    assert "jax_default_prng_impl" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_begins_anew(folder, scenes, process_as_it_was):
    change_start(folder, source={})
    shutil.rmtree(folder / "checkpoints")
    assert train(scenes, folder) == 0
    assert [start["step"] for start in provenance.read_starts(folder)] == [0, 0]


def test_a_run_of_an_earlier_version_goes_on(folder, scenes, process_as_it_was):
    (folder / provenance.NAME).unlink()
    assert train(scenes, folder) == 0 and provenance.differences(folder) == []


@pytest.mark.parametrize("content", ["{", "[]\n", '{"step": 1}\n', '{"step": NaN}\n'])
def test_a_damaged_record_is_one_line(folder, scenes, content, process_as_it_was, capsys):
    (folder / provenance.NAME).write_text(content)
    assert train(scenes, folder) == 2
    assert provenance.NAME in capsys.readouterr().err


def test_reports_speak_of_the_machine_that_trained(folder, process_as_it_was, capsys):
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


def test_a_report_says_that_other_functions_score(folder, monkeypatch, process_as_it_was, capsys):
    monkeypatch.setattr(run, "standardisation", a_hundred_times, raising=False)
    assert standardisation is not a_hundred_times
    assert cli.main(["evaluate", f"--workdir={folder}"]) == 0
    assert "asc_jax.run.standardisation" in capsys.readouterr().err
    note = json.loads((folder / "report.json").read_text())["training"]["note"]
    assert "asc_jax.run.standardisation" in note


def test_device_time_is_of_each_start():
    starts = [{"step": 0, "n_devices": 1}, {"step": 20, "n_devices": 4}]
    epochs = [
        {"step": 10, "seconds": 1.0},
        {"step": 20, "seconds": 1.0},
        {"step": 30, "seconds": 1.0},
    ]
    assert provenance.device_seconds(starts, epochs) == 1 + 1 + 4
    assert provenance.device_seconds([], epochs) is None


def test_replaced_functions_are_found_wherever_they_stand(monkeypatch):
    from asc_jax import source
    from asc_jax.models.resnet import ResNet
    from asc_jax.train import optimizer

    assert source.replaced("asc_jax") == {}
    monkeypatch.setitem(optimizer.OPTIMIZERS, "sgd", lambda: jnp.sin)
    monkeypatch.setattr(ResNet, "pool", lambda self, x: x.mean())
    assert set(source.replaced("asc_jax")) == {
        "asc_jax.train.optimizer.OPTIMIZERS.sgd",
        "asc_jax.models.resnet.ResNet.pool",
    }
