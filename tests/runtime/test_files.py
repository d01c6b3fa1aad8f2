"""What JSON is read, and what is not."""

import pytest

from asc_jax.runtime.files import parse_json


def test_json_is_read_as_it_is():
    text = '{"loss": [0.5, null, -1e-3], "n": 12, "label": "NaN"}'
    assert parse_json(text) == {"loss": [0.5, None, -1e-3], "n": 12, "label": "NaN"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_not_finite_are_no_json(number):
    with pytest.raises(ValueError, match=number):
        parse_json(f'{{"loss": [0.5, {number}]}}')


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_json_too_deep_to_be_read_is_none(text):
    with pytest.raises(ValueError, match="recursion"):
        parse_json(text)
