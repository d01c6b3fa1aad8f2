"""The benchmarks: their command, what they measure with and what they write; no speeds."""

import json
import subprocess
import sys

import pytest

from benchmarks import measure, record
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
