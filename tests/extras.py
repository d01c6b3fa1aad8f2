"""Packages that the tests' own requirements leave out."""

import importlib.util

import pytest


def need(*packages: str, extra: str) -> None:
    """Skips the test where one of the packages is missing.

    They are large and for one device or one format alone, so `make test` does not install them.
    """
    for package in packages:
        if not importlib.util.find_spec(package):
            pytest.skip(f"{package} is not installed: pip install 'asc_jax[{extra}]'")
