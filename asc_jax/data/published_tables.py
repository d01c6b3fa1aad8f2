"""Tables of data sets that have a form of their own, as their archives unpack them."""

import csv
import dataclasses
import pathlib

from asc_jax.data.table import Row
from asc_jax.runtime.errors import InputError


@dataclasses.dataclass(frozen=True)
class _Form:
    """Where a set has its table, and what its columns are to us.

    Attributes:
      table: the file, below the set's folder.
      audio: where a file lies, made of a row's cells by their columns' names.
      scene_label, identifier: columns. Files of one identifier are of one recording.
    """

    table: str
    audio: str
    scene_label: str
    identifier: str


# K. J. Piczak, 2015 (github.com/karolpiczak/ESC-50); J. Salamon and others, 2014
# (urbansounddataset.weebly.com): their READMEs say what the columns are.
_FORMS = (
    _Form("meta/esc50.csv", "audio/{filename}", "category", "src_file"),
    _Form("metadata/UrbanSound8K.csv", "audio/fold{fold}/{slice_file_name}", "class", "fsID"),
)


def find_published_table(root: pathlib.Path) -> tuple[pathlib.Path, list[Row]] | None:
    """Finds the table of ESC-50 or UrbanSound8K in the set's folder, and reads it.

    Returns:
      The file and its rows; None if there is none.

    Raises:
      InputError: it cannot be read, or lacks a column.
    """
    for form in _FORMS:
        path = root / form.table
        if path.is_file():
            return path, _read(path, form)
    return None


def _read(path: pathlib.Path, form: _Form) -> list[Row]:
    rows = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for cells in csv.DictReader(file, strict=True):
                columns = form.scene_label, form.identifier, "fold"
                label, identifier, fold = (cells[column] for column in columns)
                row = Row(len(rows) + 2, form.audio.format(**cells), label, identifier, fold=fold)
                if not (label and identifier and fold):
                    raise ValueError(f"line {row.line} has empty cells")
                rows.append(row)
    except KeyError as error:
        raise InputError(
            f"has no column {error.args[0]}; restore it as it was published", path=path
        ) from None
    except (OSError, ValueError, TypeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read ({reason}); restore it", path=path) from None
    return rows
