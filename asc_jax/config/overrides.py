"""Overrides of a config's fields, as words of a command line: "--config.FIELD=VALUE". No JAX."""

from collections.abc import Mapping


def as_overrides(fields: Mapping[str, object]) -> list[str]:
    """Writes fields as a command line sets them, "--config.FIELD=VALUE" each."""
    return [f"--config.{field}={value}" for field, value in fields.items()]


def field_of(override: str) -> str:
    """Returns the field that an override sets: "train.epochs" of "--config.train.epochs=3"."""
    return override.partition("=")[0].partition("config.")[2]
