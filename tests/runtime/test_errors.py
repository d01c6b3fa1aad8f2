"""How an error is written."""

from asc_jax.runtime.errors import InputError


def test_an_error_is_a_line_and_no_command_for_the_terminal():
    error = InputError("holds a\tb\x1b[2J\nand more", path="a\nb\x07.wav", field="f", value="\r")
    assert str(error).splitlines() == [
        "a\\nb\\x07.wav: f='\\r': holds a\\tb\\x1b[2J", "and more",
    ]  # fmt: skip
    assert error.path == "a\nb\x07.wav"
    assert str(InputError("has \xe9 and \u4e2d")) == "has \xe9 and \u4e2d"
