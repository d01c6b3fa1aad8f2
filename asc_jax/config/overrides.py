"""Overrides of a config's fields, as words of a command line: "--config.FIELD=VALUE". No JAX."""

import re
from collections.abc import Iterable, Mapping

from asc_jax.runtime.errors import InputError


def as_overrides(fields: Mapping[str, object]) -> list[str]:
    """The fields as a command line sets them, "--config.FIELD=VALUE" each."""
    return [f"--config.{field}={value}" for field, value in fields.items()]


def field_of(override: str) -> str:
    """The field that an override sets: "train.epochs"."""
    return override.partition("=")[0].partition("config.")[2]


def join_overrides(words: Iterable[str]) -> list[str]:
    """Joins each override with its value, where that is the next word.

    Args:
      words: of a command line, less its flags.

    Returns:
      "--config.FIELD=VALUE" each; "--config.FIELD" or "--noconfig.FIELD" for True or False.

    Raises:
      InputError: naming the words that belong to no override.
    """
    overrides, others = [], []
    for word in words:
        if re.match(r"--?(no)?config\.", word):
            overrides.append(word)
        elif overrides and "=" not in overrides[-1] and not word.startswith("--"):
            overrides[-1] += f"={word}"
        else:
            others.append(word)
    if others:
        raise InputError(f"asc-jax: {' '.join(others)}: not understood; write --config.FIELD=VALUE")
    return overrides
