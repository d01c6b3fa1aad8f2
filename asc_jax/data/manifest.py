"""A folder of synthetic clips: wav files, and a line of JSON for each in `manifest.jsonl`."""

import pathlib
from collections.abc import Mapping, Sequence

from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import append_line, parse_json, write_whole

NAME = "manifest.jsonl"

# What a line must have, for training and for synthesis to make its clip again.
TO_TRAIN = {"path": str, "scene_label": str, "fold": int}
_TO_MAKE = TO_TRAIN | {
    "batch": int, "row": int, "checkpoint": str, "classifier": str, "sr": int, "n_samples": int,
}  # fmt: skip


def read_lines(path: pathlib.Path, fields: Mapping[str, type]) -> tuple[list[dict], bytes]:
    """Reads a manifest. A last line without its end, which a stop leaves, does not count.

    Args:
      path: the file.
      fields: that every line must have, and their types.

    Returns:
      The lines, and what was read of the file.

    Raises:
      FileNotFoundError: there is none.
      InputError: it cannot be read, or a line cannot be used.
    """
    try:
        finished, end, _ = path.read_bytes().rpartition(b"\n")
        lines = finished.decode("utf-8").split("\n") if end else []
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise InputError(f"{error.strerror}; make it readable", path=path) from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text; generate the clips again", path=path) from None
    found = [_parse(line, f"{path}: line {i}", fields) for i, line in enumerate(lines, start=1)]
    return found, finished + end


def _parse(line: str, where: str, fields: Mapping[str, type]) -> dict:
    try:
        entry = parse_json(line)
    except ValueError as error:
        raise InputError(f"not JSON ({error}); mend or delete the line", path=where) from None
    if not isinstance(entry, dict):
        raise InputError("not a JSON object; mend or delete the line", path=where)
    for field, kind in fields.items():
        if field not in entry:
            raise InputError(f"has no {field}; mend or delete the line", path=where)
        if not isinstance(entry[field], kind) or isinstance(entry[field], bool):
            wanted = "text" if kind is str else "a whole number"
            raise InputError(f"must be {wanted}", path=where, field=field, value=entry[field])
    return entry


class Manifest:
    """The lines of a folder of synthetic clips; each is added when its wav file is there.

    Attributes:
      folder: of the clips.
    """

    def __init__(self, folder: pathlib.Path):
        """Opens a folder's manifest; a last line that a stop has torn is dropped.

        Raises:
          InputError: it cannot be read, or a line is none of a manifest.
        """
        self.folder = folder
        self._path = folder / NAME
        self._lines: list[dict] = []
        if self._path.exists():
            self._lines, whole = read_lines(self._path, _TO_MAKE)
            if self._path.stat().st_size > len(whole):
                write_whole(self._path, whole)

    def lines(self, scene_label: str, fold: int) -> list[dict]:
        """What was written for a scene and a fold, in order."""
        wanted = (scene_label, fold)
        return [line for line in self._lines if (line["scene_label"], line["fold"]) == wanted]

    def refuse_other_maker(self, lines: Sequence[Mapping], maker: Mapping) -> None:
        """Checks that clips were made by the generator that is there now, in the same form.

        Args:
          lines: of the manifest.
          maker: the fields that say so, as a new line would have them.

        Raises:
          InputError: another one made them, which is gone.
        """
        for line in lines:
            for field, value in maker.items():
                if line[field] != value:
                    raise InputError(
                        f"{line['path']} was made with {field} {line[field]}, the GAN and its "
                        f"classifier now have {value}; use another --out, or restore the run "
                        "folders",
                        path=self._path,
                    )

    def append(self, line: dict) -> None:
        """Adds a clip whose file is there.

        Raises:
          InputError: the manifest cannot be written.
        """
        append_line(self._path, line)
        self._lines.append(line)
