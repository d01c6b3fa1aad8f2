"""A folder of synthetic clips: wav files, and a line of JSON for each in `manifest.jsonl`."""

import json
import pathlib
from collections.abc import Mapping, Sequence

from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, write_whole

NAME = "manifest.jsonl"

# What synthesis needs of a line to make its clip again.
_FIELDS = (
    "path", "scene_label", "fold", "batch", "row", "checkpoint", "classifier", "sr", "n_samples",
)  # fmt: skip


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
        if not self._path.exists():
            return
        try:
            whole = self._path.read_bytes().rpartition(b"\n")
        except OSError as error:
            raise InputError(f"{self._path}: {error.strerror}; make it readable") from None
        for number, line in enumerate(whole[0].splitlines(), start=1):
            try:
                found = parse_json(line)
                _ = [found[field] for field in _FIELDS]
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f"{self._path}:{number}: is no line of a manifest; delete it, and another clip "
                    "takes the place of its own"
                ) from None
            self._lines.append(found)
        if whole[2]:
            write_whole(self._path, whole[0] + whole[1])

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
                        f"{self._path}: {line['path']} was made with {field} {line[field]}, the "
                        f"GAN and its classifier now have {value}; use another --out, or restore "
                        "the run folders"
                    )

    def append(self, line: dict) -> None:
        """Adds a clip whose file is there.

        Raises:
          InputError: the manifest cannot be written.
        """
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise InputError(
                f"{self._path}: cannot be written ({error.strerror}); free some space and run "
                "the same command to go on"
            ) from None
        self._lines.append(line)
