"""Configs: all of them build, none changes another, and a wrong field is one line."""

import dataclasses
import importlib
import json
import sys
import tracemalloc

import ml_collections
import numpy as np
import pytest
from checkout import CONFIGS
from refusals import refused

from asc_jax import cli, models
from asc_jax.augment import Augmentation
from asc_jax.config.load import (
    check_config,
    check_gan_config,
    flatten,
    from_json,
    frontend_config,
    load_config,
    override,
    to_json,
)
from asc_jax.config.overrides import field_of
from asc_jax.config.rules import AUGMENT_RULES, FRONTEND_RULES, MODEL_RULES, RULES
from asc_jax.frontend import FrontendConfig, mel_filterbank, n_empty_bands

# `default` has every field but a network's; it is there to be built upon. `budgets` changes others.
NO_CONFIGS = ("__init__", "budgets", "default")
GANS = sorted(CONFIGS.glob("wavegan*.py"))
PATHS = sorted(p for p in CONFIGS.glob("*.py") if p.stem not in NO_CONFIGS and p not in GANS)
NAMES = [path.stem for path in PATHS]
RESNET, BASELINE = str(CONFIGS / "resnet50.py"), str(CONFIGS / "baseline.py")


def load(path=RESNET, **overrides):
    return load_config(path, [f"--config.{field}={text}" for field, text in overrides.items()])


def refuse(field: str, *overrides: str, path=RESNET) -> str:
    """The line in which the override of a field, or the field of a file, is refused."""
    with refused(field=field) as caught:
        load_config(path, [f"--config.{override}" for override in overrides])
    return str(caught.value)


def flag_of(override: str) -> str:
    return f"--config.{override.partition('=')[0]}"


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_every_config_builds_and_comes_back_from_json(path):
    config = load_config(path, ["--config.synthetic.root=/generated"])  # json has whole paths
    assert isinstance(frontend_config(config), FrontendConfig)
    assert models.build(config.model, n_classes=10).n_classes == 10
    assert config.title
    with pytest.raises(AttributeError):
        config.seed = 1
    text = to_json(config)
    again = from_json(text, "config.json")
    assert again == config and to_json(again) == text


def test_the_reports_rows_are_what_it_prints():
    assert {"baseline", "se_resnet152", "demo", "esc10"} <= set(NAMES)
    rows = [name for name in NAMES if "resnet" in name and not name.endswith("_best")]
    sizes = {name: load(str(CONFIGS / f"{name}.py")) for name in rows}
    assert sizes["resnet50"].model.stage_sizes == (3, 4, 6, 3)
    assert sizes["se_resnet152_mel80"].model.stage_sizes == (3, 8, 36, 3)
    assert sizes["se_resnet152_mel80"].frontend.n_mels == 80
    assert [name for name, config in sizes.items() if config.synthetic.root] == ["se_resnet152_aug"]
    for config in sizes.values():
        assert config.folds.n_folds == 4
        nothing = dataclasses.asdict(Augmentation())
        assert dict(config.augment) == {"name": "standard"} | nothing
        assert not (config.optimizer.weight_decay or config.optimizer.clip_norm)
        assert not config.train.label_smoothing


@pytest.mark.parametrize("name", NAMES)
def test_get_config_twice_gives_two_configs(name):
    load_config(str(CONFIGS / f"{name}.py"))  # makes `configs` importable
    module = importlib.import_module(f"configs.{name}")
    first, second = module.get_config(), module.get_config()
    assert flatten(first) == flatten(second)
    for group in first.values():
        if isinstance(group, ml_collections.ConfigDict):
            group.update({field: value for field, value in group.items() if field != "name"})
    first.optimizer.lr, first.data.root = 9.0, "elsewhere"
    assert second.optimizer.lr != 9.0
    assert second.data.root == ""
    assert module.get_config().data.root == ""


def test_every_rule_is_of_a_field_and_every_field_has_a_rule():
    for name, of_network in MODEL_RULES.items():
        attributes = {f"model.{field.name}" for field in dataclasses.fields(models.NETWORKS[name])}
        assert set(of_network) <= attributes
    assert set(MODEL_RULES) == set(models.NETWORKS)
    default = flatten(load()).keys()
    ours = {*RULES, *AUGMENT_RULES["standard"], *FRONTEND_RULES["log_mel"]} - {"model.name"}
    assert {field for field in default if not field.startswith("model.")} == ours


VALUES = {
    "--config.model.stage_sizes=(1, 2, 3, 4)": (1, 2, 3, 4),
    "--config.model.stage_sizes=1,2,3,4": (1, 2, 3, 4),
    "--config.train.mesh=()": (),
    "--config.optimizer.lr=1": 1.0,
    "--config.seed=7": 7,
    "--config.data.fit_length=true": True,
    "--config.data.fit_length": True,
    "--noconfig.frontend.center": False,
    "--config.data.root=/a folder/of=mine, (2018)": "/a folder/of=mine, (2018)",
    "--config.data.root=": "",
    "--config.title=None": "None",
}


@pytest.mark.parametrize(("override", "value"), VALUES.items())
def test_an_override_takes_the_fields_type(override, value):
    taken = flatten(load_config(RESNET, [override]))[field_of(override)]
    assert taken == value
    assert type(taken) is type(value)


def test_the_last_override_of_a_field_holds():
    config = load_config(RESNET, ["--config.seed=1", "--config.seed=2"])
    assert config.seed == 2
    words = [f"--config.model.stage_sizes={sizes}" for sizes in ("(1, 2)", "(2, 2, 2, 2)")]
    assert load_config(RESNET, words).model.stage_sizes == (2, 2, 2, 2)


def test_overrides_of_one_config_do_not_meet():
    base = load()
    assert override(base, ["--config.model.width=8"], "it").model.width == 8
    assert override(base, ["--config.model.se_ratio=4"], "it").model.width == base.model.width == 32


def test_overrides_do_not_come_from_the_process(monkeypatch):
    """`load_config` is told them; a notebook's or a test runner's arguments are not its own."""
    monkeypatch.setattr(sys, "argv", ["pytest", "--config.seed=5", "--config.train.epochs=3"])
    assert (load().seed, load(seed=6).seed, load().train.epochs) == (0, 6, 60)


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("train.epoch=1", "train.epochs"),
        ("optimiser.lr=1", "optimizer.lr"),
        ("lr=1", "optimizer.lr"),
        ("sede=1", "seed"),
        ("model.stage_sizes[0]=1", "model.stage_sizes"),
        ("optimizer.learning_rate=1", "optimizer.schedule"),  # all of the group
        ("zzz.zzz=1", "augment"),  # all groups
        ("model={'name': 'baseline'}", "augment"),
        ("train.epochs.more=1", "train.epochs"),
    ],
)
def test_a_wrong_field(override, meant):
    line = refuse(flag_of(override), override)
    assert meant in line.removeprefix(flag_of(override))


def test_a_field_of_another_network():
    refuse("--config.model.width", "model.width=8", path=BASELINE)
    refuse("model.block", "model.name=baseline")


OF_OTHER_TYPES = {
    "a number": ["optimizer.lr=fast", "optimizer.lr=1e-3,1e-4", "optimizer.lr=True"],
    "a whole number": [
        f"train.epochs{text}" for text in ("", "=1.5", "=None", "=1e3", f"={'9' * 5000}")
    ],
    "true or false": ["data.fit_length=maybe"],
    "str": ["data.root"],
    "tuple": ["train.mesh={[]:1}", "train.mesh=1, x y"],
}


@pytest.mark.parametrize(
    ("override", "kind"), [(one, kind) for kind, some in OF_OTHER_TYPES.items() for one in some]
)
def test_a_value_of_another_type(override, kind):
    line = refuse(flag_of(override), override)
    assert line.endswith(kind) and len(line) < 600


@pytest.mark.parametrize(
    "override",
    [
        *(f"optimizer.lr={text}" for text in ("nan", "inf", "-0.1", "0", "1e300", "1e-300")),
        *("optimizer.clip_norm=nan", "optimizer.schedule=step", "optimizer.name=adagrad"),
        *(f"train.{text}" for text in ("epochs=0", "batch_size=-32", "selection=best")),
        *(f"train.mesh={text}" for text in ("2x4", "8", "(0, 4)", "[{}, 1]", "(" * 60_000)),
        *(f"model.stage_sizes={text}" for text in ("(1,2,0)", "(1,4.0)", "()", "many", (1,) * 9)),
        *("model.name=vgg", "model.width=-1", "model.block=wide", "train.label_smoothing=1"),
        *("data.clip_seconds=0", "data.channels=-1", "data.pool=disk", "synthetic.share=-0.1"),
        *("folds.kind=grouped", "folds.inner_fraction=0.9", "folds.seed=4294967296"),
        *("augment.time_roll=2", "augment.mixup_alpha=inf", "ensemble.rule=vote", "seed=-1"),
        *(f"optimizer.drops={text}" for text in ("(0.75, 0.5)", "(0.5, 0.5)", "(2.0,)")),
        *("frontend.n_mels=-40", "frontend.log_floor=1e-300", "frontend.power=1000"),
    ],
)
def test_an_impossible_value(override):
    assert len(refuse(flag_of(override), override)) < 600


@pytest.mark.parametrize("field", ["augment.mixup_alpha", "augment.freq_mixstyle_p"])
def test_a_batch_of_one_example_has_no_other_to_mix_with(field):
    refuse(f"--config.{field}", "train.batch_size=1", f"{field}=0.5")
    load_config(RESNET, ["--config.train.batch_size=2", f"--config.{field}=0.5"])


@pytest.mark.parametrize("path", [RESNET, str(CONFIGS / "wavegan.py")])
def test_no_number_is_without_an_end(path):
    """Where it is used it would overflow, or take all memory; asking takes none."""
    check = check_gan_config if "wavegan" in path else check_config
    tracemalloc.start()
    config = load_config(path, check=check)
    for field, value in flatten(config).items():
        many = {int: [10**30, 2**40], float: [1e300], tuple: [(10**30, 10**30)]}
        for one in many.get(type(value), ()):
            with refused(field=f"--config.{field}"):
                override(config, [f"--config.{field}={one}"], path, check=check, typed=True)
    assert tracemalloc.get_traced_memory()[1] < 2**24  # bytes
    tracemalloc.stop()


def test_steps_are_counted_in_32_bits():
    words = ["--config.train.epochs=1000000", "--config.train.steps_per_epoch=1000000"]
    with refused(field="--config.train.steps_per_epoch") as caught:
        load_config(str(CONFIGS / "wavegan.py"), words, check=check_gan_config)
    assert "train.epochs" in str(caught.value)


def test_bands_without_a_bin_are_counted_as_the_filters_have_them():
    rng = np.random.default_rng(0)
    counts = set()
    for _ in range(100):
        frontend = FrontendConfig(
            sr=int(rng.choice([8000, 22_050, 48_000])),
            n_fft=int(rng.integers(64, 3000)),
            win_length=64,
            n_mels=int(rng.integers(1, 400)),
            fmin=float(rng.choice([0, 300.5, 1000])),
            fmax=float(rng.choice([0, 3999])),
            htk=bool(rng.integers(2)),
        )
        empty = n_empty_bands(frontend)
        assert empty == (mel_filterbank(frontend).max(axis=0) == 0).sum(), frontend
        counts.add(empty > 0)
    assert counts == {False, True}


@pytest.mark.parametrize(
    "override",
    [
        *("frontend.sr=0", "frontend.n_mels=0", "frontend.n_mels=500", "frontend.win_length=4096"),
        *("frontend.fmax=30000", "frontend.fmax=1", "frontend.window=blackman"),
        *("frontend.norm=None", f"frontend.window={'(' * 3000}", "data.clip_seconds=1e-6"),
        *("model.stage_sizes=(1,2)", "train.selection=inner", "train.select_after=60"),
        *("synthetic.share=0.2", "synthetic.per_class=5"),
        *("optimizer.schedule=steps", "optimizer.drops=(0.5,)"),
    ],
)
def test_values_that_do_not_go_together(override):
    line = refuse("", override)
    assert override.partition("=")[0].partition(".")[2] in line
    assert len(line) < 600


def test_the_default_alone_has_no_network():
    refuse("model.name", path=str(CONFIGS / "default.py"))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"config"', "\0", "[" * 100_000])
def test_a_config_json_that_is_none(text):
    with refused(path="run/config.json"):
        from_json(text, "run/config.json")


@pytest.mark.parametrize(
    "change",
    [
        *({"model": None}, {"model": {"name": ["resnet"]}}, {"frontend": [1]}, {"data": {}}),
        *({"seed": None}, {"seed": True}, {"extra": 1}, {"a.b": 1}, {"items": 1}),
    ],
)
def test_a_config_json_that_was_edited(change):
    text = json.dumps({**json.loads(to_json(load())), **change})
    with refused(path="config.json") as caught:
        from_json(text, "config.json")
    assert next(iter(change)) in str(caught.value)


def test_flatten_makes_lists_tuples():
    assert flatten({"a": {"b": {"c": [1, 2]}}, "d": 3}) == {"a.b.c": (1, 2), "d": 3}


def test_a_group_of_the_authors_own_is_free(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from configs import demo\nimport ml_collections\n\ndef get_config():\n"
        "    config = demo.get_config()\n"
        "    config.user = ml_collections.ConfigDict({'note': 'a', 'more': {'depth': 1}})\n"
        "    return config\n"
    )
    config = load_config(tmp_path / "mine.py", ["--config.user.more.depth=3"])
    assert (config.user.note, config.user.more.depth) == ("a", 3)
    assert from_json(to_json(config), "config.json") == config


PARTS = """
import flax.linen as nn

class Cnn(nn.Module):
    n_classes: int
    width: int
    depth: int = 1

    @nn.compact
    def __call__(self, x, *, train):
        return nn.Dense(self.n_classes)(nn.Dense(self.width)(x).mean(axis=1))

def rolled(key, features, target, *, time_roll):
    return features, target

def free(key, features, target, **fields):
    return features, target
"""


def test_a_function_that_an_override_names_gets_the_fields_that_it_takes(
    tmp_path, monkeypatch, capsys, process_as_it_was
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts.py").write_text(PARTS)
    words = ["--config.model.name=parts.py:Cnn", "--config.augment.name=parts.py:rolled"]
    config = load_config("demo", words)
    assert {*config.model} == {"name", "width"} and config.model.width == 16
    assert {*config.augment} == {"name", "time_roll"} and config.augment.time_roll == 1.0
    assert from_json(to_json(config), str(tmp_path / "config.json")) == config
    assert load_config("demo", ["--config.model.width=4", *words]).model.width == 4
    assert "mixup_alpha" in load_config("demo", ["--config.augment.name=parts.py:free"]).augment
    assert cli.main(["summary", "--config=demo", words[0]]) == 0
    assert cli.main(["config", "demo", words[0]]) == 0
    assert "model.width" in (said := capsys.readouterr().out) and "model.block" not in said
    # What the user sets is not dropped but refused.
    network = load_config("demo", [*words, "--config.model.block=basic"]).model
    with refused(field="model.block"):
        models.build(network, 10)
    with refused(field="--config.model.depth"):
        load_config("demo", [*words, "--config.model.depth=3"])


def test_a_mistake_in_a_function_that_an_override_names(tmp_path):
    (tmp_path / "parts.py").write_text("import flax.linen as nn\n1 / 0\n")
    with refused(path="parts.py:2", field="model.name"):
        load_config("demo", [f"--config.model.name={tmp_path / 'parts.py'}:Cnn"])
    with refused(field="--config.model.name"):
        load_config("demo", [f"--config.model.name={tmp_path / 'none.py'}:Cnn"])
