"""The part of an exported file's card that people write: what to know before one trusts it."""

import pathlib
import tomllib
from collections.abc import Mapping

from asc_jax.runtime.errors import InputError

# In the order in which they are shown.
FIELDS = {
    "data": "the data that it was trained on",
    "licence": "the licence and the owner of these data",
    "accuracy": "the accuracy with its interval, or that it is not yet measured",
    "measured": "how the accuracy was measured",
    "date": "the date of the training",
    "command": "the commands that made it",
}
_LONGEST = 2000  # characters of a field


def read_card(path: pathlib.Path) -> dict[str, str]:
    """Reads a card from a TOML file that has each of `FIELDS` as a text.

    Raises:
      InputError: the file cannot be read, or a field is missing, unknown or no such text.
    """
    try:
        about = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not TOML in UTF-8 ({error})", path=path) from None
    refuse_odd(about, path)
    return about


def refuse_odd(about: object, path: pathlib.Path) -> None:
    """Refuses what is no card: what has other fields than `FIELDS`, or others than texts.

    Args:
      about: the card.
      path: of the file that holds it.

    Raises:
      InputError: naming the field.
    """
    fields = about if isinstance(about, dict) else {}
    for field, meaning in FIELDS.items():
        if field not in fields:
            raise InputError(f"is missing; write {meaning}", path=path, field=field)
    for field, text in fields.items():
        where = {"path": path, "field": field}
        if field not in FIELDS:
            raise InputError(f"no such field; the fields are {', '.join(FIELDS)}", **where)
        if not isinstance(text, str) or not 0 < len(text.strip()) <= len(text) <= _LONGEST:
            raise InputError(f"must be text, of at most {_LONGEST} characters", **where)
        if not text.replace("\n", "").isprintable():
            raise InputError("has characters that cannot be shown; remove them", **where)


def render(about: Mapping[str, str]) -> str:
    """Writes a card for a terminal: a line for each line of each field."""
    width, lines = max(map(len, FIELDS)), []
    for field in FIELDS:
        first, *rest = about[field].strip().split("\n")
        lines += [f"  {field:{width}}  {first}", *(f"  {'':{width}}  {line}" for line in rest)]
    return "\n".join(lines)
