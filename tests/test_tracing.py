"""The garbage collector is off while something is traced, and as it was after."""

import gc

import pytest

from asc_jax.tracing import uncollected


def test_the_collector_is_off_within():
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_does_not_leave_it_off():
    with pytest.raises(ValueError, match="traced"), uncollected():
        raise ValueError("traced")
    assert gc.isenabled()


def test_one_that_was_off_stays_off():
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
