"""Overrides in a command line: words that belong together, and words that belong to none."""

import pytest
from refusals import refused

from asc_jax.flags import parse

TRAIN = ("train", "--config=demo.py", "--workdir=run")


@pytest.mark.parametrize(
    ("words", "overrides"),
    [
        (("--config.seed", "3"), ["--config.seed=3"]),
        (("--config.optimizer.lr", "-1e-3"), ["--config.optimizer.lr=-1e-3"]),
        (("--config.title", "a = b"), ["--config.title=a = b"]),
        (("--config.data.root", ""), ["--config.data.root="]),
        (("-config.seed=3", "--profile"), ["-config.seed=3"]),
        (("--config.data.fit_length", "--config.seed=3"), None),
        (("--noconfig.data.fit_length", "--run", "a", "seed=1"), ["--noconfig.data.fit_length"]),
    ],
)
def test_an_override_is_one_word(words, overrides):
    assert parse([*TRAIN, *words]).overrides == (overrides or list(words))


@pytest.mark.parametrize(
    "words",
    [
        (*TRAIN, "stray"),
        (*TRAIN, "--config.seed=3", "stray"),
        (*TRAIN, "--confg.seed=3"),
        (*TRAIN, "--flagfile=stray"),
        ("report", "run", "--config.seed=3"),
    ],
)
def test_a_word_that_is_no_override_is_named(words):
    with refused() as caught:
        parse(words)
    assert words[-1] in str(caught.value)
