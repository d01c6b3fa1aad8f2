"""Functions of a user's own file: trained with, copied, scored by the copy, and never mistaken."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
from refusals import refused

from asc_jax.augment import make_augment
from asc_jax.config.load import load_config
from asc_jax.data.clips import read_dataset
from asc_jax.runs import identity, own_functions
from asc_jax.runs.folder import read_config
from asc_jax.runs.inputs import read_pool
from asc_jax.runs.metrics_log import read_metrics, untimed
from asc_jax.runtime import functions
from asc_jax.runtime.errors import Stopped
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train import setup
from asc_jax.train.loop import train

PARTS = """
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import layers


class Net(nn.Module):
    n_classes: int
    width: int = 8

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.LayerNorm()(nn.Dense(self.width)(x))
        x = layers.Counted()(x, train)
        x = nn.Dropout(0.1, deterministic=not train)(x)
        x = x + nn.BatchNorm(use_running_average=not train, scale_init=nn.initializers.zeros)(x)
        return nn.Dense(self.n_classes)(x.mean(1))


def banded(waveform, group):
    frames = waveform[: len(waveform) // group["hop"] * group["hop"]].reshape(-1, group["hop"])
    spectrum = jnp.abs(jnp.fft.rfft(frames))[:, 1:]
    return jnp.log(spectrum.reshape(len(frames), group["bands"], -1).mean(-1) + 1e-6)


def focal(logits, targets):
    p = jax.nn.softmax(logits)
    return -(targets * (1 - p) ** 2 * jnp.log(p + 1e-7)).sum(-1)


def tilt(key, features, target, partner, partner_target, *, db):
    slope = jnp.linspace(-db, db, features.shape[1]) * jax.random.uniform(key, ())
    return features + slope + 0.1 * partner, 0.9 * target + 0.1 * partner_target


def lion(learning_rate, group):
    return optax.lion(learning_rate, weight_decay=group["weight_decay"])


def decay(step, n_steps):
    return 1 - step / n_steps
"""
LAYERS = '''
import flax.linen as nn
import jax.numpy as jnp


class Counted(nn.Module):
    """Has a collection that flax does not know."""

    @nn.compact
    def __call__(self, x, train):
        mean = self.variable("means", "mean", jnp.zeros, x.shape[-1:])
        if train:
            mean.value = 0.9 * mean.value + 0.1 * x.mean((0, 1))
        return x - mean.value
'''
CONFIG = """
import ml_collections
from configs import demo


def get_config():
    config = demo.get_config()
    config.model = ml_collections.ConfigDict({"name": "parts.py:Net", "width": 8})
    config.frontend = ml_collections.ConfigDict(
        {"name": "parts.py:banded", "sr": 16_000, "hop": 512, "bands": 8}
    )
    config.augment = ml_collections.ConfigDict({"name": "parts.py:tilt", "db": 0.1})
    config.train.loss = "parts.py:focal"
    config.optimizer.name = "parts.py:lion"
    config.optimizer.schedule = "parts.py:decay"
    config.optimizer.warmup = 0.2
    config.optimizer.lr = 1e-3
    config.data.clip_seconds, config.data.n_frames = 1.0, 24
    config.folds.n_folds, config.folds.test_fold = 2, 0
    config.train.batch_size, config.train.epochs = 8, 2
    config.train.selection, config.folds.inner_fraction = "inner", 0.5
    return config
"""


@pytest.fixture
def new_process(monkeypatch):
    """A function: what follows imports files as another process would."""
    return lambda: monkeypatch.setattr(functions, "_IMPORTED", {})


@pytest.fixture
def files(tmp_path) -> pathlib.Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in (("parts", PARTS), ("layers", LAYERS), ("config", CONFIG)):
        (folder / f"{name}.py").write_text(text)
    return folder


def read(files, scenes, **changed):
    fields = {"data.root": scenes, **changed}
    words = [f"--config.{field}={value}" for field, value in fields.items()]
    return load_config(files / "config.py", words)


def logits(workdir) -> np.ndarray:
    with np.load(workdir / "logits.npz") as saved:
        return saved["out_of_fold/logits"]


def test_a_run_is_scored_by_its_copies_when_the_originals_have_changed_or_gone(
    files, scenes, tmp_path, stop_at_step, new_process, monkeypatch, capsys
):
    config, run, other = read(files, scenes), tmp_path / "run", tmp_path / "other"
    train(config, run)
    stop_at_step(4)
    with pytest.raises(Stopped):
        train(config, other)
    train(config, other)
    logs = [untimed(read_metrics(folder / "metrics.jsonl")) for folder in (run, other)]
    assert logs[0] == logs[1]

    evaluate(run)
    before = logits(run)
    layers = files / "layers.py"
    layers.write_text(LAYERS.replace("0.9", "0.8"))
    with refused(path=layers):  # this process has imported the one before
        train(config, run)
    new_process()
    with refused(path=run, field="frontend.name") as caught:
        train(config, run)
    assert "0.8" in str(caught.value)
    train(config, run, other_functions=True)  # of which no step follows
    assert (run / "functions/1/layers.py").read_text() == LAYERS
    shutil.rmtree(files)
    (run / "logits.npz").unlink()
    new_process()
    capsys.readouterr()
    evaluate(run)
    assert "functions/1/parts.py" in capsys.readouterr().err
    np.testing.assert_array_equal(logits(run), before)

    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(run, elsewhere)
    (elsewhere / "functions" / "1" / "parts.py").write_text(PARTS + "# of somebody else\n")
    new_process()
    with refused(path=elsewhere / "functions"):
        evaluate(elsewhere)
    own_functions.trust(elsewhere)
    new_process()
    monkeypatch.setattr(own_functions, "_TRUSTED", set())  # the cache remembers
    evaluate(elsewhere)
    np.testing.assert_array_equal(logits(elsewhere), before)
    assert identity._of_run(elsewhere) != identity._of_run(run)  # though nothing else differs


def test_features_follow_the_function_and_not_its_name(files, scenes, new_process):
    config, dataset = read(files, scenes), read_dataset(scenes)
    features = lambda: read_pool(config, dataset, dataset.scene_labels)[0].scale.copy()
    first = features()
    (files / "parts.py").write_text(PARTS.replace("jnp.log(spectrum", "-jnp.sqrt(spectrum"))
    new_process()
    assert np.all(features() != first)
    (files / "parts.py").write_text(PARTS)
    new_process()
    np.testing.assert_array_equal(features(), first)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("frontend.name", "def f(waveform, group):\n    return waveform\n"),
        ("frontend.name", "def f(waveform, group):\n    return waveform.reshape(7, -1)\n"),
        ("model.name", "def f(n_classes, width):\n    return None\n"),
        (
            "model.name",
            "import flax.linen as nn\ndef f(n_classes, width):\n    return nn.Dense(3)\n",
        ),
        ("augment.name", "def f(key, x, t, *, db):\n    return x[:3], t\n"),
        ("train.loss", "def f(logits, targets):\n    return logits\n"),
        ("train.loss", "def f(logits, targets):\n    return logits + targets[:, :3]\n"),
        ("optimizer.name", "def f(learning_rate, group):\n    return None\n"),
        ("optimizer.schedule", "def f(step):\n    return 1.0\n"),
        # What is not finite; of the loss its gradient.
        (
            "frontend.name",
            "def f(waveform, _):\n    return (waveform - 9).reshape(50, -1)**0.5",
        ),
        ("augment.name", "def f(key, x, t, *, db):\n    return x / 0, t"),
        ("train.loss", "def f(logits, targets):\n    return (0 * logits.sum(-1)) ** 0.5\n"),
        ("optimizer.schedule", "def f(step, n_steps):\n    return 1.0 / (step - 50)"),
    ],
)
def test_a_function_of_another_kind_is_refused_before_any_data_is_decoded(
    files, scenes, tmp_path, monkeypatch, field, text
):
    monkeypatch.setattr("asc_jax.train.setup.decode", None)
    (files / "wrong.py").write_text(text)
    config = read(files, scenes, **{field: "wrong.py:f"})
    with refused(field=field) as caught:
        train(config, tmp_path / "run")
    assert re.search(r"wrong.py:[1-3]$", caught.value.path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("signature", "first"),
    [
        ("self, x", ""),
        ("self, x, train", "x = nn.Dropout(0.5, deterministic=False)(x)"),
        ("self, x, train", "x = nn.BatchNorm(use_running_average=False)(x)"),
        ("self, x, train", "self.variable('notes', 'name', lambda: 'a text')"),
        ("self, x, train", "x = (x - 1e3) ** 0.5"),
    ],
)
def test_a_network_that_cannot_be_trained_here_is_refused_with_what_to_do(
    files, scenes, tmp_path, monkeypatch, signature, first
):
    monkeypatch.setattr("asc_jax.train.setup.decode", None)
    lines = [
        "import flax.linen as nn", "class Net(nn.Module):", "    n_classes: int", "    width: int",
        "    @nn.compact", f"    def __call__({signature}):", f"        {first}",
        "        return nn.Dense(self.n_classes)(x.mean(1))",
    ]  # fmt: skip
    (files / "wrong.py").write_text("\n".join(lines))
    with refused(field="model.name") as caught:
        train(read(files, scenes, **{"model.name": "wrong.py:Net"}), tmp_path / "run")
    assert re.search(r"wrong.py:[2-8]$", caught.value.path) and caught.value.hint


def test_a_file_that_is_edited_while_data_are_decoded_trains_nothing(
    files, scenes, tmp_path, monkeypatch
):
    decode = setup.decode

    def slowly(*arguments):
        clips = decode(*arguments)
        (files / "parts.py").write_text(PARTS.replace("db, db", "db, 2 * db"))
        return clips

    monkeypatch.setattr(setup, "decode", slowly)
    with refused(path=files / "parts.py"):
        train(read(files, scenes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("reference", ["evil.py:f", "functions/1/../../evil.py:f", "{}/evil.py:f"])
def test_a_run_from_elsewhere_names_nothing_but_its_copies(tmp_path, reference):
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')\n")
    config = load_config("configs/demo.py").to_dict() | {"format": 2}
    config["train"] |= {"loss": reference.format(tmp_path)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    own_functions.trust(tmp_path)
    with refused(field="train.loss"):
        read_config(tmp_path)


def test_partners_are_asked_for_by_name(tmp_path):
    (tmp_path / "a.py").write_text(
        "def f(key, x, t, gain=1.0, keep=1.0):\n    return x * gain, t\n"
    )
    group = {"name": f"{tmp_path}/a.py:f", "gain": 2.0}
    ones = np.ones((3, 2))
    np.testing.assert_array_equal(make_augment(group)(None, ones, 1, 5 * ones, 5)[0], 2 * ones)
