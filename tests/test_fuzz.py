"""A small slice of the fuzz run, always the same; `python -m benchmarks fuzz` is all of it."""

import hypothesis
import pytest

from benchmarks import fuzz


@pytest.mark.parametrize("name", fuzz.SUBJECTS)
def test_random_input_is_read_as_it_was_meant_or_refused(name):
    one = fuzz.subject(name)
    settings = hypothesis.settings(
        max_examples=2 * fuzz.SUBJECTS[name][-1],
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    settings(hypothesis.given(one.inputs)(lambda given: one.check(given) and None))()


def test_a_fault_is_found_made_small_and_shown(monkeypatch):
    def check(given: int) -> str:
        assert given < 1000, "too large"
        return "read"

    integers = hypothesis.strategies.integers(0, 10**6)
    monkeypatch.setattr(fuzz, "SUBJECTS", {"numbers": ("", "", "", 1)})
    monkeypatch.setattr(fuzz, "subject", lambda name: fuzz.Subject(integers, check))
    row = fuzz.examine("numbers", 100, 0)
    assert row["faults"] == 1 and "given=1000" in row["shown"][0], row
