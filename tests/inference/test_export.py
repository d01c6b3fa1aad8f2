"""A run as one file: the same answers as the run's, and files that are not whole."""

import contextlib
import dataclasses
import hashlib
import json
import re
import subprocess
import sys
import zipfile

import jax
import ml_collections
import numpy as np
import pytest
import safetensors.numpy
from checkout import ROOT
from extras import need
from refusals import refused

import asc_jax
from asc_jax import cli
from asc_jax.data.audio import write_wav
from asc_jax.inference import export
from asc_jax.models import resnet
from asc_jax.runtime.errors import InputError

pytestmark = pytest.mark.usefixtures("process_as_it_was")


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model.stablehlo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_start_jax", lambda: None)
        assert cli.main(["export", str(run), str(path)]) == 0
    return path


def waveforms(model, n: int = 3) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((n, model.n_samples))
    return (0.1 * noise).astype(np.float32)


def test_stablehlo_answers_as_the_run(run, model, exported):
    file = asc_jax.load(exported)
    assert (file.labels, file.sr, file.n_samples) == (model.labels, model.sr, model.n_samples)
    given = waveforms(model)
    np.testing.assert_allclose(file.apply(given), model.apply(given), atol=1e-5)
    said, expected = (one(given.ravel(), model.sr) for one in (file, model))
    np.testing.assert_allclose(said.probabilities, expected.probabilities, atol=1e-5)
    with refused(field="window"):
        file(given.ravel(), model.sr, window=0.5)
    report = json.loads((run / "report.json").read_text())
    (scored,) = file.card["scores"].values()
    assert scored["class_wise_accuracy"] == report["lists"][0]["systems"][0]["class_wise_accuracy"]
    assert set(file.program.platforms) == {"cpu", "cuda", "tpu"}
    assert "about" not in file.card and model.card == {}


def test_a_file_that_is_not_whole_is_one_line(exported, tmp_path):
    content = exported.read_bytes()
    with zipfile.ZipFile(exported) as file:
        card, program = json.loads(file.read("card.json")), file.read("program")
    damaged = {
        "cut": content[: len(content) // 2],
        "none": b"",
        "other": b"no zip",
        "altered": content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
    }
    for name, bad in damaged.items():
        (tmp_path / f"{name}.stablehlo").write_bytes(bad)
    made = {"later": (card | {"format": 99}, program), "no card": ([], program),
            "fields": ({"format": 1}, program), "junk": (card, b"junk")}  # fmt: skip
    # Such as somebody makes who knows the form.
    other = hashlib.sha256(program[:-9]).hexdigest()
    forged = {"labels": card["labels"][1:], "n_samples": 3, "sampling_rate": 0, "sha256": other}
    made |= {f"other {name}": (card | {name: value}, program) for name, value in forged.items()}
    made["line"] = (card | {"labels": ["a\nb", *card["labels"][1:]]}, program)
    made["other program"] = (card | {"sha256": other}, program[:-9])
    for name, (its_card, its_program) in made.items():
        with zipfile.ZipFile(tmp_path / f"{name}.stablehlo", "w") as file:
            file.writestr("card.json", json.dumps(its_card))
            file.writestr("program", its_program)
    made["compressed"] = card, program
    with zipfile.ZipFile(tmp_path / "compressed.stablehlo", "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("card.json", json.dumps(card))
        file.writestr("program", program)
    for name in (*damaged, *made):
        path = tmp_path / f"{name}.stablehlo"
        with refused(path=path):
            asc_jax.load(path)


def test_what_cannot_be_written_is_one_line(run, tmp_path, capsys):
    for name in ("model.pb", "model", "nowhere/deep/model.stablehlo"):
        (tmp_path / "nowhere").write_text("") if "nowhere" in name else None
        assert cli.main(["export", str(run), str(tmp_path / name)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert not (tmp_path / name).exists()


def test_safetensors_are_the_run(run, model, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    assert cli.main(["export", str(run), str(path)]) == 0
    again = asc_jax.load(path)
    given = waveforms(model)
    expected = np.asarray(model.apply(given))
    np.testing.assert_array_equal(again.apply(given), expected)
    assert (again.folds, again.rule) == (model.folds, model.rule)
    assert str(run.parent) not in path.read_text(errors="replace")
    content = path.read_bytes()
    damaged = {"cut": content[: len(content) // 2], "altered": content[:-9] + b"\1" + content[-8:],
               "config": content.replace(b'width\\": 2', b'width\\": 3'), "none": b"",
               "labels": content.replace(b"airport", b"airp0rt")}  # fmt: skip
    for name, bad in damaged.items():
        assert bad != content
        (tmp_path / f"{name}.safetensors").write_bytes(bad)
        with refused(path=tmp_path / f"{name}.safetensors"):
            asc_jax.load(tmp_path / f"{name}.safetensors")
    # Such as somebody makes who knows the form.
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    made_by = json.loads(metadata["made_by"])
    for name in made_by:
        about = metadata | {"made_by": json.dumps(made_by | {name: None})}
        del about["digest"]
        forged = about | {"digest": export.digest_of(arrays, about)}
        safetensors.numpy.save_file(arrays, tmp_path / "forged.safetensors", forged)
        with contextlib.suppress(InputError):
            asc_jax.load(tmp_path / "forged.safetensors")
    # Another function in the place of the one that made it: it says so, and does as it is told.
    monkeypatch.setattr(resnet.ResNet, "pool", lambda self, x: x.max((1, 2)))
    with refused(path=path):
        asc_jax.load(path)
    other = asc_jax.load(path, other_functions=True).apply(given)
    assert np.abs(other - expected).max() > 1e-3


def test_parameters_in_half_are_half_the_bytes_and_nearly_the_run(run, model, tmp_path):
    whole, half = tmp_path / "w.safetensors", tmp_path / "h.safetensors"
    assert cli.main(["export", str(run), str(whole)]) == 0
    assert cli.main(["export", str(run), str(half), "--half"]) == 0
    n_params = sum(leaf.size for leaf in jax.tree.leaves(model.state.params))
    saved = whole.stat().st_size - half.stat().st_size
    assert abs(saved - 2 * n_params) < 100 + 0.02 * saved  # names of types, digits of offsets
    given = waveforms(model)
    difference = np.abs(asc_jax.load(half).apply(given) - model.apply(given))
    assert 0 < difference.max() < 2e-3  # a part in 2048 of each parameter
    with refused(path="m.stablehlo"):
        export.export(model, tmp_path / "m.stablehlo", {}, half=True)
    large = jax.tree.map(lambda leaf: leaf.at[0].set(1e5), model.state.params)
    with refused():
        state = model.state.replace(params=large)
        export.export(dataclasses.replace(model, state=state), half, {}, half=True)


def test_no_file_that_safetensors_name_is_run(model, tmp_path, monkeypatch):
    path, ran = tmp_path / "model.safetensors", tmp_path / "ran"
    export.export(model, path, export.describe(model, None))
    (tmp_path / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    config = json.loads(metadata["config"])
    config["model"]["name"] = "own.py:Network"
    about = {"card": metadata["card"], "config": json.dumps(config), "made_by": "{}"}
    digest = export.digest_of(arrays, about)
    safetensors.numpy.save_file(arrays, path, about | {"digest": digest})
    monkeypatch.chdir(tmp_path)
    with refused(path=path):
        asc_jax.load(path)
    assert not ran.exists()


def test_weights_without_the_users_function_are_not_written(model, tmp_path):
    config = ml_collections.ConfigDict(model.config)
    config.train.loss = "functions/1/own.py:loss"
    own = dataclasses.replace(model, config=config)
    with refused(field="train.loss"):
        export.export(own, tmp_path / "model.safetensors", export.describe(own, None))
    assert not list(tmp_path.iterdir())


def test_onnx_answers_as_the_run_without_jax(run, model, tmp_path):
    need("jax2onnx", "onnxruntime", extra="onnx")
    path = tmp_path / "model.onnx"
    assert cli.main(["export", str(run), str(path)]) == 0
    given = waveforms(model, 1)
    code = re.search(
        r"```python\n(# predict_onnx.py.*?)```", (ROOT / "docs/models.md").read_text(), re.S
    )
    script = tmp_path / "predict_onnx.py"
    script.write_text(code[1] + "assert 'jax' not in sys.modules\nnp.save('mean.npy', mean)\n")
    write_wav(tmp_path / "a.wav", given[0], model.sr)
    command = [sys.executable, script, path, tmp_path / "a.wav"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    expected = model.predict(tmp_path / "a.wav")
    np.testing.assert_allclose(np.load(tmp_path / "mean.npy"), expected.mean, atol=1e-5)
    assert said.splitlines()[0].startswith(expected.label)
    file = asc_jax.load(path)
    assert (file.labels, file.sr, file.n_samples) == (model.labels, model.sr, model.n_samples)
    again = file.predict(tmp_path / "a.wav")
    np.testing.assert_allclose(again.probabilities, expected.probabilities, atol=1e-5)
    content = path.read_bytes()
    middle = len(content) // 2
    for bad in (content[:middle], content[:middle] + b"?" + content[middle + 1 :], b"", b"\0" * 99):
        path.write_bytes(bad)
        with refused(path=path):
            asc_jax.load(path)
