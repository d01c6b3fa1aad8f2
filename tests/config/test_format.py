"""A run folder of an earlier version is evaluated, reported and gone on with."""

import json
import pathlib
import shutil

import pytest
from checkout import KEPT
from refusals import refused

from asc_jax import cli
from asc_jax.config import format as config_format
from asc_jax.config.load import check_gan_config, flatten, from_json, to_json
from asc_jax.config.rules import AUGMENT_RULES, FRONTEND_RULES, GAN_RULES, MODEL_RULES, RULES, Rule
from asc_jax.data.procedural import write_synthetic_dataset
from asc_jax.report.comparison.folders import read_run
from asc_jax.runs import identity
from asc_jax.runs.folder import read_config
from asc_jax.runs.sweep_record import joined_record, read_record, refuse_other_runs

# The fields of format 1 that no config in `KEPT` has: of the other network.
OF_BASELINE = {"model.name", "model.dropout_rate"}


@pytest.fixture
def kept(tmp_path, monkeypatch) -> pathlib.Path:
    """A copy of a run of format 1, beside the data that it was trained on."""
    monkeypatch.chdir(tmp_path)
    size = {"locations_per_scene": 3, "clips_per_location": 1, "clip_seconds": 0.5}
    write_synthetic_dataset("scenes", **size)
    shutil.copytree(KEPT / "format1", "run")
    return pathlib.Path("run")


def test_a_run_folder_of_format_1_is_evaluated_and_reported(kept, process_as_it_was, capsys):
    before = json.loads((kept / "report.json").read_text())
    assert cli.main(["evaluate", "--workdir=run"]) == 0
    after = json.loads((kept / "report.json").read_text())
    for old, new in zip(before["lists"], after["lists"], strict=True):
        assert new["n_clips"] == old["n_clips"] == 30
        for measure in ("accuracy", "class_wise_accuracy"):
            values = [one["systems"][0][measure]["value"] for one in (old, new)]
            assert values[0] == pytest.approx(values[1])
    assert cli.main(["report", "run", "--csv"]) == 0
    assert "run,0," in capsys.readouterr().out


@pytest.fixture
def later(monkeypatch):
    """A version in which two more formats have come, and a field with each."""
    now = config_format.FORMAT
    fields = {
        "gan": {"train.gain": (now + 2, 0.5)},
        "classifier": {"train.gain": (now + 1, 0.0), "augment.gain": (now + 2, (1, 2))},
        "baseline": {"model.gain": (now + 1, 1)},
    }
    known = config_format.LATER_FIELDS
    fields = {kind: known.get(kind, {}) | more for kind, more in fields.items()}
    monkeypatch.setattr(config_format, "FORMAT", now + 2)
    monkeypatch.setattr(config_format, "LATER_FIELDS", known | fields)
    takes = Rule("anything", lambda value: True)
    for rules in (RULES, GAN_RULES):
        monkeypatch.setitem(rules, "train.gain", takes)
    monkeypatch.setitem(RULES, "augment.gain", takes)
    monkeypatch.setitem(MODEL_RULES["baseline"], "model.gain", takes)
    return known


def test_a_field_that_came_later_means_as_before(later):
    text = (KEPT / "format1" / "config.json").read_text().replace("scenes", "/scenes")
    config = from_json(text, "config.json")
    assert (config.train.gain, config.augment.gain) == (0.0, (1, 2))
    assert flatten(config).items() >= flatten(json.loads(text)).items()
    assert "model.gain" not in flatten(config)
    written = json.loads(to_json(config))
    assert written["format"] == config_format.FORMAT
    assert from_json(json.dumps(written), "config.json") == config
    del written["train"]["gain"]
    with refused(field="train.gain"):  # this format has it
        from_json(json.dumps(written), "config.json")
    second = written | {
        "format": config_format.FORMAT - 1,
        "train": written["train"] | {"gain": 0.7},
    }
    del second["augment"]["gain"]
    of_second = from_json(json.dumps(second), "config.json")
    assert (of_second.train.gain, of_second.augment.gain) == (0.7, (1, 2))


def test_each_kind_of_config_has_its_own_later_fields(later):
    text = (KEPT / "gan1.json").read_text()
    gan = flatten(from_json(text, "config.json", check=check_gan_config))
    assert gan["train.gain"] == 0.5 and "augment.gain" not in gan
    values = json.loads((KEPT / "format1" / "config.json").read_text())
    values["model"] = {"name": "baseline", "dropout_rate": 0.0}
    assert flatten(from_json(json.dumps(values), "config.json"))["model.gain"] == 1


def test_a_report_knows_the_field_as_well(later, kept):
    assert read_run(kept).config["train.gain"] == 0.0


def test_what_a_run_is_stays_what_it_was(kept, later, monkeypatch):
    """A sweep of GANs tells their classifier by a digest of its fields."""
    now = identity._of_run("run")
    monkeypatch.setattr(config_format, "LATER_FIELDS", later)
    for name in ("train.gain", "augment.gain"):
        monkeypatch.delitem(RULES, name)
    assert identity._of_run("run") == now
    (kept / "config.json").write_text((kept / "config.json").read_text().replace("0.002", "0.003"))
    assert identity._of_run("run") != now


def test_a_sweep_of_an_earlier_format_goes_on(later, tmp_path):
    base = {"model.name": "resnet", "train.epochs": 3, "train.gain": 0.0, "augment.gain": (1, 2)}
    setting = {"base": {"fields": {}, "runs": {"0": "base/seed0"}}}
    ours = {"command": "sweep", "config": "x.py", "base": base, "data": {}, "settings": setting}
    theirs = ours | {"base": {"model.name": "resnet", "train.epochs": 3}}
    (tmp_path / "sweep.json").write_text(json.dumps(theirs))
    refuse_other_runs(tmp_path, {"base/seed0": base | {"seed": 0}})
    joined = joined_record(ours, tmp_path)
    (tmp_path / "sweep.json").write_text(joined)
    assert read_record(tmp_path)["base"]["train.gain"] == 0.0
    assert read_record(tmp_path)["format"] == config_format.FORMAT
    other = ours | {"base": base | {"train.gain": 0.1}}
    with refused(path=tmp_path) as caught:
        joined_record(other, tmp_path)
    assert "train.gain" in str(caught.value)


@pytest.mark.parametrize("number", [config_format.FORMAT + 1, 0, "1", None, 1.5])
def test_a_format_that_is_not_known_is_refused(number, kept):
    config = json.loads((kept / "config.json").read_text())
    (kept / "config.json").write_text(json.dumps(config | {"format": number}))
    for read in (read_config, read_run):
        with refused(path="config.json"):
            read(kept)


def test_every_field_is_of_format_1_or_came_later():
    """Who adds a field says what it means that older runs lack it."""
    first = {
        "classifier": flatten(json.loads((KEPT / "format1" / "config.json").read_text())),
        "gan": flatten(json.loads((KEPT / "gan1.json").read_text())),
    }
    later = config_format.LATER_FIELDS
    resnet, baseline = MODEL_RULES["resnet"], MODEL_RULES["baseline"]
    ours = {*RULES, *AUGMENT_RULES["standard"], *FRONTEND_RULES["log_mel"], *resnet}
    kinds = ("classifier", "resnet", "standard")
    assert ours == {*first["classifier"], *(field for kind in kinds for field in later[kind])}
    assert {*baseline, "model.name"} == {*OF_BASELINE, *later["baseline"]}
    assert set(GAN_RULES) == {*first["gan"], *later["gan"]}
    came = [came for fields in later.values() for came, _ in fields.values()]
    assert max(came, default=1) == config_format.FORMAT
    assert min(came, default=2) > 1
