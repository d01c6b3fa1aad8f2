"""What tests of several runs share."""

import pathlib

import pytest


@pytest.fixture(scope="session")
def take_away_a_clip():
    """Takes the last clip of a data set out of all its tables: (the set's folder)."""

    def take_away(root: pathlib.Path) -> None:
        gone = (root / "meta.csv").read_text().splitlines()[-1].split("\t")[0]
        for table in (root / "meta.csv", *(root / "evaluation_setup").iterdir()):
            lines = table.read_text().splitlines(keepends=True)
            table.write_text("".join(line for line in lines if gone not in line))

    return take_away
