"""What is refused, whatever the words."""

import contextlib

import pytest

from asc_jax.runtime.errors import InputError


@contextlib.contextmanager
def refused(*, path="", field=""):
    """The block raises an `InputError` of one line, of a path with this end, of this field."""
    with pytest.raises(InputError) as caught:
        yield caught
    error = caught.value
    assert error.path.endswith(str(path)), error
    assert error.field == (field or error.field), error
    assert "\n" not in str(error)
