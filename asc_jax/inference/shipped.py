"""Models that come with the package, asked for by their names."""

import os
import pathlib

from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json

FOLDER = pathlib.Path(__file__).parent / "shipped"


def names() -> list[str]:
    """The names of the models."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def find(place: str | os.PathLike) -> pathlib.Path:
    """The run folder or the file that a user means.

    Args:
      place: its path; or, as text, the name of a model of the package. "./NAME" is a path.

    Raises:
      InputError: there is neither, or there are both.
    """
    if place in names():
        if os.path.lexists(place):
            raise InputError(
                "is the name of a model of this package and of a file or folder here; write "
                f"./{place} for the latter, or work in another folder for the model",
                path=place,
            )
        return FOLDER / f"{place}.safetensors"
    if not os.path.exists(place):
        raise InputError(
            "no such run folder or file, and this package has no model of that name (it has "
            f"{', '.join(names())}); correct it",
            path=place,
        )
    return pathlib.Path(place)


def read_cards() -> dict[str, dict]:
    """The card of each model, by name."""
    import safetensors

    cards = {}
    for name in names():
        with safetensors.safe_open(FOLDER / f"{name}.safetensors", "numpy") as file:
            cards[name] = parse_json(file.metadata()["card"])
    return cards
