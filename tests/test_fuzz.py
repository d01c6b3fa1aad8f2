"""A small slice of the fuzz run, always the same; `python -m benchmarks fuzz` is all of it."""

import hypothesis
import pytest

from benchmarks import fuzz

# Inputs of each subject: as many as take a second or two.
INPUTS = {
    "tables": 80,
    "damaged tables": 80,
    "audio files": 40,
    "damaged audio files": 60,
    "config overrides": 60,
    "config values": 60,
    "networks of configs": 3,
    "records": 60,
    "scores": 40,
    "corrections and weights": 20,
    "resampling": 4,
    "command lines": 1,
}


@pytest.mark.parametrize("name", fuzz.SUBJECTS)
def test_random_input_is_read_as_it_was_meant_or_refused(name):
    one = fuzz.subject(name)
    settings = hypothesis.settings(
        max_examples=INPUTS[name],
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
