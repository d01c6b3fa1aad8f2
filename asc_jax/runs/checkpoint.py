"""Checkpoints: the state of all folds after a step, kept by orbax, verified on restore."""

import contextlib
import dataclasses
import errno
import hashlib
import itertools
import json
import os
import pathlib
import re
import sys
import zlib
from collections.abc import Iterator

import jax
import numpy as np
import orbax.checkpoint as ocp

from asc_jax.parallel import hosts
from asc_jax.parallel.agreement import share, share_text
from asc_jax.parallel.arrays import fetch, put_like
from asc_jax.runtime.errors import InputError


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands, as its checkpoint says it.

    Attributes:
      step: steps done in all.
      epochs: whole epochs done, their validation or look included.
      seconds: that the steps of the epoch under way have taken so far.
      metrics: of these steps, arrays by name, for the log line at the epoch's end; empty
        between two epochs.
      lost: name of a run in a program of several -> where it diverged; it trains on for nothing.
    """

    step: int = 0
    epochs: int = 0
    seconds: float = 0.0
    metrics: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    lost: dict[str, str] = dataclasses.field(default_factory=dict)


class Checkpoints:
    """The checkpoints of a run folder, each a folder named after its step; the last few kept.

    Of several processes the first one reads and writes them, and gives the others what it has
    read: the folder need not be shared, one checkpoint serves any number of processes, and all
    go on from the same one.

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
        self._read_only = read_only
        self._manager = None
        if not hosts.is_first():
            return
        if not read_only:
            with self._writing():
                self.folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=None if read_only else keep,
                read_only=read_only,
                create=False,
                cleanup_tmp_directories=not read_only,  # what a kill has left half written
                lightweight_initialize=True,  # a damaged one is met where it can be set aside
                multiprocessing_options=_this_process_alone(),
            ),
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self._manager is None:
            return
        # A save that was still under way may fail.
        with self._writing() if kind is None else contextlib.suppress(Exception):
            self._manager.close()

    def save(self, progress: Progress, tree) -> None:
        """Saves a tree of arrays after a step; the writing continues in the background.

        Raises:
          InputError: this or an earlier save has failed, for a full disk say; checkpoints
            that were finished are whole.
        """
        if hosts.joined():
            tree = jax.tree.map(fetch, tree)  # leaf by leaf: the devices' memory
        if self._manager is None:
            return
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(_as_saved(tree)),
            about=ocp.args.JsonSave(_describe(tree, progress)),
        )
        with self._writing():
            self._manager.save(progress.step, args=arguments)

    def wait(self) -> None:
        """Waits until everything saved is on disk; raises as `save`."""
        if self._manager is None:
            return
        with self._writing():
            self._manager.wait_until_finished()

    def restore(self, like):
        """What the newest whole checkpoint holds.

        A damaged one is named on stderr and moved to the folder `..._damaged` beside this
        one (not where it is read only), and the one before it takes its place. It is verified
        on the host, before anything is placed: what a device says is no damage.

        Args:
          like: a tree of arrays, or of shapes with shardings, of the same structure.

        Returns:
          The tree, placed as `like` is (a leaf without a sharding stays on the host), and its
          `Progress`; None if no checkpoint is left.

        Raises:
          InputError: the newest is no damaged one but of another structure, cannot be read or
            moved, or does not fit into memory.
        """
        tree = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
        about = ""
        if self._manager and (found := self._newest(tree)):
            tree, about = found[0], _progress_text(found[1])
            del found
        about = share_text(about)
        if not about:
            return None
        leaves, structure = jax.tree.flatten(tree)
        del tree  # leaf by leaf: the host's memory is given back as the devices' fills
        for i, place in enumerate(jax.tree.leaves(like)):
            leaves[i] = share(leaves[i])
            if sharding := getattr(place, "sharding", None):
                leaves[i] = put_like(leaves[i], sharding)
        return jax.tree.unflatten(structure, leaves), _progress(json.loads(about))

    def _newest(self, like):
        """The newest whole checkpoint, as host arrays; None if there is none."""
        tried = set()
        while steps := set(self._manager.all_steps()) - tried:
            step = max(steps)
            try:
                return self._read(step, like)
            except _Damaged as damage:
                tried.add(step)
                if (self.folder / str(step)).exists():  # else a run has just made room for others
                    self._pass_over(step, str(damage))
                self._manager.reload()
        return None

    def _read(self, step: int, like):
        """The checkpoint of a step, verified."""
        place = self.folder / str(step)
        load = lambda **item: self._manager.restore(step, args=ocp.args.Composite(**item))
        try:
            leaves, progress = _understand(load(about=ocp.args.JsonRestore()).about)
        except Exception as error:  # orbax and tensorstore raise many kinds for damaged files
            _refuse_unreadable(error, place)
            raise _Damaged(_reason(error)) from None
        saved, wanted = {leaf: kind for leaf, (kind, _) in leaves.items()}, _kinds(like)
        for leaf in sorted(saved.keys() | wanted.keys()):
            if saved.get(leaf) != wanted.get(leaf):
                raise InputError(
                    f"has another structure ({leaf} is {saved.get(leaf, 'not')} there, "
                    f"{wanted.get(leaf, 'not')} now): the network or the optimizer has changed; "
                    "restore it, or use another --workdir",
                    path=place,
                )
        try:
            tree = load(state=ocp.args.StandardRestore(_as_saved(like))).state
        except Exception as error:
            _refuse_unreadable(error, place)
            raise _Damaged(_reason(error)) from None
        tree = _as_was(tree, like)
        for leaf, checksum in _checksums(tree).items():
            if leaves[leaf][1] != checksum:
                raise _Damaged(f"{leaf} differs from what was saved")
        return tree, progress

    def _pass_over(self, step: int, damage: str) -> None:
        """Says that a checkpoint is damaged and moves it away, unless this is read only."""
        place = self.folder / str(step)
        earlier = [other for other in self._manager.all_steps() if other < step]
        then = f"step {max(earlier)} is used" if earlier else "no earlier one is left"
        if self._read_only:
            print(f"{place}: damaged ({damage}); {then}", file=sys.stderr)
            return
        aside = self.folder.with_name(f"{self.folder.name}_damaged")
        names = (f"{step}.{n}" if n else str(step) for n in itertools.count())
        there = next(aside / name for name in names if not (aside / name).exists())
        try:
            aside.mkdir(exist_ok=True)
            place.rename(there)
        except OSError as error:
            raise InputError(
                f"damaged ({damage}), and cannot be moved to {there} ({error.strerror}); move "
                "it yourself and run the same command to resume from the previous one",
                path=place,
            ) from None
        if not earlier:
            then += ": from the beginning"
        print(f"{place}: damaged ({damage}); moved to {there}; {then}", file=sys.stderr)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises `InputError` where the block cannot write."""
        try:
            yield
        except Exception as error:  # tensorstore's are of many kinds
            raise InputError(
                f"a checkpoint cannot be written ({_reason(error)}); free some space or make "
                "the folder writable, and run the same command to resume",
                path=self.folder,
            ) from None


class _Damaged(Exception):
    """A checkpoint is not what was saved; the message says how that shows."""


def _refuse_unreadable(error: Exception, place: pathlib.Path) -> None:
    """Refuses to continue if reading failed for another reason than the files' contents.

    Another attempt may read them: a file that the system does not give, too many that are open
    or a network's disk that is away are no damage.
    """
    if isinstance(error, MemoryError):
        raise InputError("does not fit into memory; use a machine with more", path=place) from None
    number, path = None, None
    if isinstance(error, OSError):
        number, path = error.errno, error.filename
    elif found := re.search(r"os_error_code='(\d+)'", str(error)):  # tensorstore's way
        number = int(found[1])
    if number not in (None, errno.ENOENT, errno.EISDIR, errno.ENOTDIR):
        raise InputError(
            f"cannot be read ({os.strerror(number)}); nothing was moved; fix this and run "
            "the same command to resume",
            path=path or place,
        ) from None


def _as_saved(tree):
    """A tree as it is saved: without fields that are empty unless a run needs them.

    States of before such a field came have the same structure then.
    """
    if isinstance(tree, dict):
        return {name: _as_saved(node) for name, node in tree.items()}
    return {name: getattr(tree, name) for name in _saved(tree)} if _saved(tree) else tree


def _as_was(saved, like):
    """The inverse of `_as_saved`, for a tree like another."""
    if isinstance(like, dict):
        return {name: _as_was(saved[name], node) for name, node in like.items()}
    return dataclasses.replace(like, **saved) if _saved(like) else saved


def _saved(node) -> list[str]:
    """The names of a state's fields that are saved."""
    if not dataclasses.is_dataclass(node):
        return []

    def is_empty(one: dataclasses.Field) -> bool:
        value = getattr(node, one.name)
        return value is None is one.default or (one.default_factory is dict and not value)

    fields = dataclasses.fields(node)
    return [f.name for f in fields if f.metadata.get("pytree_node", True) and not is_empty(f)]


def _describe(tree, progress: Progress) -> dict:
    """What stands in JSON beside the arrays: their kinds and checksums, the progress, a seal."""
    kinds, checksums = _kinds(tree), _checksums(tree)
    leaves = {leaf: (kinds[leaf], checksums[leaf]) for leaf in kinds}
    about = json.loads(_progress_text(progress)) | {"leaves": leaves}
    return about | {"seal": _seal(about)}


def _understand(about: dict) -> tuple[dict[str, tuple[str, int]], Progress]:
    """The inverse of `_describe`: (kind, checksum) of each leaf, and the progress."""
    seal = about.pop("seal")
    if seal != _seal(about):
        raise _Damaged("its description differs from what was saved")
    return about.pop("leaves"), _progress(about)


def _progress_text(progress: Progress) -> str:
    """The progress in JSON."""
    metrics = {name: (str(value.dtype), value.tolist()) for name, value in progress.metrics.items()}
    return json.dumps(dataclasses.asdict(progress) | {"metrics": metrics})


def _progress(about: dict) -> Progress:
    """The inverse of `_progress_text`, of parsed JSON."""
    metrics = {name: np.array(value, dtype) for name, (dtype, value) in about["metrics"].items()}
    return Progress(**about | {"metrics": metrics})


def _this_process_alone() -> ocp.options.MultiprocessingOptions:
    """Tells orbax to wait for no other process."""
    if not hosts.joined():
        return ocp.options.MultiprocessingOptions()
    return ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
    )


def _seal(about: dict) -> int:
    """CRC-32 of JSON content, however it is laid out."""
    return zlib.crc32(json.dumps(about, sort_keys=True).encode())


def _kinds(tree) -> dict[str, str]:
    """Path of each leaf -> its type and shape."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}


def _checksums(tree) -> dict[str, int]:
    """Path of each leaf -> CRC-32 of its bytes."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path): zlib.crc32(np.ascontiguousarray(leaf)) for path, leaf in leaves
    }


def _reason(error: Exception) -> str:
    """What an error of the operating system, orbax or tensorstore is about, in a few words."""
    text = str(error)
    if isinstance(error, _Damaged):
        return text
    if "No space left" in text or "RESOURCE_EXHAUSTED" in text:
        return "no space left on the disk"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def digest_arrays(tree) -> str:
    """16 hexadecimal digits that name a tree's host arrays, such as a network's parameters."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        found.update(np.ascontiguousarray(leaf))
    return found.hexdigest()[:16]
