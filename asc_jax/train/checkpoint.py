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

    def __init__(self, folder: pathlib.Path, *, keep: int = 2):
        """Opens the checkpoints.

        Args:
          folder: made when the first one is saved.
          keep: how many of the newest to keep.
        """
        self.folder = pathlib.Path(folder).absolute()
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._manager.close()

    def latest(self) -> int | None:
        """The newest finished epoch, or None."""
        return self._manager.latest_step()

    def save(self, epoch: int, tree) -> None:
        """Saves a tree of arrays as it stands after an epoch; the writing goes on beside.

        Raises:
          InputError: the folder cannot be written or the disk is full; earlier checkpoints
            are whole.
        """
        try:
            self._manager.save(
                epoch,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(tree),
                    checksums=ocp.args.JsonSave(_checksums(tree)),
                ),
            )
        except OSError as error:
            raise self._unwritable(error) from None

    def wait(self) -> None:
        """Waits until everything saved is on disk; raises as `save`."""
        try:
            self._manager.wait_until_finished()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"{self.folder}: a checkpoint cannot be written ({error.strerror or error}); free "
            "some space or mend the folder, and run the same command to go on"
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
            reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else repr(error)
            raise InputError(f"{place}: cannot be restored ({reason}); {mend}") from None
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
