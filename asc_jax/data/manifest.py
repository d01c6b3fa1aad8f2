"""A folder of synthetic clips: wav files, and a line of JSON for each in `manifest.jsonl`."""

import json
import pathlib
from collections.abc import Mapping, Sequence

from asc_jax.errors import InputError

NAME = "manifest.jsonl"


class Manifest:
    """The lines of a folder of synthetic clips; each is added when its wav file is there.

    Attributes:
      folder: of the clips.
    """

    def __init__(self, folder: pathlib.Path):
        """Opens a folder's manifest; a last line that a stop has torn is dropped.

        Raises:
          InputError: a line is no JSON.
        """
        self.folder = folder
        self._path = folder / NAME
        self._lines: list[dict] = []
        if not self._path.exists():
            return
        whole = self._path.read_bytes().rpartition(b"\n")
        for number, line in enumerate(whole[0].splitlines(), start=1):
            try:
                self._lines.append(json.loads(line))
            except ValueError:
                raise InputError(
                    f"{self._path}:{number}: is no JSON; delete that line, its clip is made again"
                ) from None
        if whole[2]:
            self._path.write_bytes(whole[0] + whole[1])

    def lines(self, scene_label: str, fold: int) -> list[dict]:
        """What was written for a scene and a fold, in order."""
        wanted = (scene_label, fold)
        return [line for line in self._lines if (line["scene_label"], line["fold"]) == wanted]

    def refuse_other_checkpoint(self, lines: Sequence[Mapping], checkpoint: str) -> None:
        """Checks that clips were made by the generator that is there now.

        Raises:
          InputError: another one made them, which is gone.
        """
        for line in lines:
            if line["checkpoint"] != checkpoint:
                raise InputError(
                    f"{self._path}: {line['path']} was made by checkpoint {line['checkpoint']}, "
                    f"the GAN's best is now {checkpoint}; use another --out, or restore the GAN's "
                    "run folder"
                )

    def append(self, line: dict) -> None:
        """Adds a clip whose file is there.

        Raises:
          InputError: the manifest cannot be written.
        """
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise InputError(
                f"{self._path}: cannot be written ({error.strerror}); free some space and run "
                "the same command to go on"
            ) from None
        self._lines.append(line)
