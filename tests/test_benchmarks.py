"""The benchmarks: their command, what they measure with and what they write; no speeds."""

import json
import subprocess
import sys

import numpy as np
import pytest

from asc_jax.ops import conv
from asc_jax.parallel import mapping
from asc_jax.parallel.mesh import make_mesh
from asc_jax.runtime import backend
from benchmarks import folds, gpu, measure, record, training
from benchmarks.__main__ import BENCHMARKS


def test_the_command_lists_every_benchmark():
    listing = subprocess.run(
        [sys.executable, "-m", "benchmarks"], capture_output=True, text=True, check=True
    ).stdout
    for name in BENCHMARKS:
        assert any(line.startswith(f"{name}: ") for line in listing.splitlines()), name


@pytest.mark.parametrize(
    ("how", "order", "n_times"),
    [({"rounds": 3}, "ab" * 4, 3), ({"rounds": 2, "in_a_row": 3}, "ab" + "aaabbb" * 2, 4)],
)
def test_ways_are_timed_in_alternation_but_for_the_first_of_each(how, order, n_times):
    calls = []
    times = measure.alternate(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, **how
    )
    assert "".join(calls) == order
    assert [len(seconds) for seconds in times.values()] == [n_times] * 2


def test_a_table_has_a_column_for_every_field():
    rows = [{"way": "ours", "ms": 1234.5}, {"way": "theirs", "ms": "not installed", "ratio": 2.0}]
    header, first, second = record.table(rows).splitlines()
    assert header.split() == ["way", "ms", "ratio"]
    assert first.split()[0] == "ours"
    assert "not installed" in second


def test_results_name_the_device_and_the_versions(tmp_path):
    place = record.write("step", {"rows": [{"way": "ours"}]}, tmp_path / "step.json")
    result = json.loads(place.read_text())
    assert result["rows"] == [{"way": "ours"}]
    assert result["device"]
    assert "jax" in result["versions"]


def test_a_step_is_prepared_and_taken():
    prepared = training.prepare(training.TINY, training.QUICK, mesh_shape=(1, 1))
    training.stepper(prepared)()
    assert prepared.seconds.keys() == {"initial state", "names", "program"}


def test_what_an_accelerator_would_run_comes_to_the_cpus_losses(monkeypatch):
    """Its program, compiled for this CPU: by `python -m benchmarks gpu`'s own comparison."""
    monkeypatch.setattr(gpu, "CHECKED", training.TINY)
    mesh = make_mesh(training.QUICK.folds, training.QUICK.batch)
    found = lambda: gpu.losses_and_logits(training.QUICK, "float32", mesh)
    there = found()
    assert np.ptp(there["losses"]) > 0.05  # it learns
    for platform in ("gpu", "tpu"):
        monkeypatch.setattr(backend, "platform", lambda platform=platform: platform)
        here = found()
        for name in there:
            row = gpu.compared(name, here[name], there[name], 1e-3)
            assert row["is right"] == "yes", (platform, row)
        assert any((here[name] != there[name]).any() for name in there)  # by another way


@pytest.mark.parametrize("off", [0.002, np.nan])
def test_a_device_that_computes_something_else_is_found(off):
    values = np.linspace(-1, 2, 20)
    assert gpu.compared("losses", values, values, 2e-4)["is right"] == "yes"
    wrong = np.where(values > 1, values + off, values)
    assert gpu.compared("losses", wrong, values, 2e-4)["is right"] == "no"


def test_a_way_to_map_folds_is_put_in_place_and_undone():
    before = mapping.IN_TURN, conv.SEPARATE, conv.MOST_POINTS, conv.FEWEST_CHANNELS
    for tables in folds.WAYS.values():
        with folds.replaced(tables):
            now = {"IN_TURN": mapping.IN_TURN} | {name: getattr(conv, name, None) for name in tables
                                                  if name != "IN_TURN"}  # fmt: skip
            assert tables == {name: now[name] for name in tables}
        assert before == (mapping.IN_TURN, conv.SEPARATE, conv.MOST_POINTS, conv.FEWEST_CHANNELS)
