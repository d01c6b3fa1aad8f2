"""Checkpoints: the state of all folds after an epoch, kept by orbax, verified on restore."""

import pathlib
import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from asc_jax.errors import InputError


class Checkpoints:
    """The checkpoints of a run folder: one per epoch, the last few kept.

    orbax writes beside the place and renames, so that a stop at any moment leaves whole
    checkpoints only; it does not notice altered bytes, so each leaf's checksum is kept too.

    Use as a context: leaving it waits for the writing to end.
    """

    def __init__(self, folder: pathlib.Path, *, keep: int = 2, read_only: bool = False):
        """Opens the checkpoints.

        Args:
          folder: made if need be.
          keep: how many of the newest to keep.
          read_only: for scoring, beside a run that may still be saving.

        Raises:
          InputError: the folder cannot be made.
        """
        self.folder = pathlib.Path(folder).absolute()
        if not read_only:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._unwritable(error) from None
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=None if read_only else keep,
                read_only=read_only,
                cleanup_tmp_directories=not read_only,  # what a kill has left half written
            ),
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self._manager.close()
        except Exception as error:  # a save that was still under way has failed
            if kind is None:
                raise self._unwritable(error) from None

    def latest(self) -> int | None:
        """The newest finished epoch, or None."""
        return self._manager.latest_step()

    def save(self, epoch: int, tree) -> None:
        """Saves a tree of arrays as it stands after an epoch; the writing goes on beside.

        Raises:
          InputError: this or an earlier save has failed, for a full disk say; checkpoints
            that were finished are whole.
        """
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(tree), checksums=ocp.args.JsonSave(_checksums(tree))
        )
        try:
            self._manager.save(epoch, args=arguments)
        except Exception as error:  # tensorstore's are of many kinds
            raise self._unwritable(error) from None

    def wait(self) -> None:
        """Waits until everything saved is on disk; raises as `save`."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: Exception) -> InputError:
        return InputError(
            f"{self.folder}: a checkpoint cannot be written ({_reason(error)}); free some space or "
            "mend the folder, and run the same command to go on"
        )

    def restore(self, epoch: int, like):
        """The tree saved after an epoch.

        Args:
          epoch: one that `latest` gave.
          like: a tree of arrays, or of shapes with shardings, of the same structure.

        Returns:
          The tree, placed as `like` is.

        Raises:
          InputError: the checkpoint is damaged or of another structure.
        """
        place = self.folder / str(epoch)
        mend = "delete that folder and run the same command to go on from the one before"
        try:
            restored = self._manager.restore(
                epoch,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(like), checksums=ocp.args.JsonRestore()
                ),
            )
        except Exception as error:  # orbax and tensorstore raise many kinds for damaged files
            raise InputError(f"{place}: cannot be restored ({_reason(error)}); {mend}") from None
        found = _checksums(restored.state)
        for leaf, checksum in restored.checksums.items():
            if found.get(leaf) != checksum:
                raise InputError(f"{place}: {leaf} differs from what was saved; {mend}")
        return restored.state


def _checksums(tree) -> dict[str, int]:
    """Path of each leaf -> CRC-32 of its bytes."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path): zlib.crc32(np.ascontiguousarray(leaf)) for path, leaf in leaves
    }


def _reason(error: Exception) -> str:
    """What an error of the operating system, orbax or tensorstore is about, in a few words."""
    text = str(error)
    if "No space left" in text or "RESOURCE_EXHAUSTED" in text:
        return "no space left on the disk"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
