"""The folder of a run: who may use it, and what is written there.

A run folder belongs to one config; docs/architecture.md says what else it holds.
"""

import contextlib
import os
import pathlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from asc_jax.config.choices import FUNCTION_FIELDS
from asc_jax.config.load import Check, check_config, flatten, from_json, to_json
from asc_jax.data.clips import Dataset
from asc_jax.data.folds import Split
from asc_jax.data.generated import Synthetic, write_record
from asc_jax.data.splits import refuse_other_audio, write_splits
from asc_jax.parallel import hosts
from asc_jax.parallel.agreement import read_by_first
from asc_jax.runs.own_functions import (
    copy_functions,
    described,
    own_functions,
    refuse_changed,
    refuse_untrusted,
)
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole
from asc_jax.runtime.folders import refuse_another, refuse_files

# Fields that a run may change on the way: they say where things are, which devices share the
# work and what becomes of a step that is not finite, or act only on scoring.
# A data set that has moved is still the same one: splits.json says so, and synthetic.json of
# synthetic clips; impulse responses are constants of the step.
FREE_FIELDS = {
    "title",
    "data.root",
    "data.leaderboard_root",
    "data.evaluation_root",
    "data.placement",
    "data.cache_dir",
    "data.workers",
    "synthetic.root",
    "augment.impulse_responses",
    "train.save_every",
    "train.keep_checkpoints",
    "train.mesh",
    "train.non_finite",
    "train.steps_per_call",
    "train.writers",
    "ensemble.hop_seconds",
    "ensemble.rule",
    "ensemble.decision",
    "gan.classifier",
}

# Of these, what a sweep or a reproduction may change: all of its runs are scored alike.
_OF_SCORING = {"ensemble.hop_seconds", "ensemble.rule", "ensemble.decision"}
FREE_OF_SEVERAL = FREE_FIELDS - _OF_SCORING

# A run folder's record of its synthetic clips.
SYNTHETIC = "synthetic.json"


@contextlib.contextmanager
def hold(workdir: pathlib.Path) -> Iterator[None]:
    """Makes a run folder and keeps other runs from training in it.

    A folder that is still empty at the end is removed again. Of several processes of one run
    the first one does this.

    Raises:
      InputError: the folder cannot be written, or another process trains in it.
    """
    if not hosts.is_first():
        yield
        return
    with _lock(workdir):
        try:
            yield
        finally:
            (workdir / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                workdir.rmdir()


def _lock(workdir: pathlib.Path):
    """The open and locked `.lock` of a run folder, which is made if need be."""
    import fcntl

    path = workdir / ".lock"
    while True:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            lock = path.open("w")
        except OSError as error:
            raise InputError(
                f"cannot be written ({error.strerror}); use another --workdir", path=workdir
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise InputError(
                "another process is training in it; wait for it, or use another --workdir",
                path=workdir,
            ) from None
        # A holder that left between the two has removed it: another process may lock a new one.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        lock.close()


def refuse_foreign_folder(
    workdir: pathlib.Path,
    config,
    *,
    check: Check = check_config,
    free: Collection[str] = FREE_FIELDS,
    mend: str = "use another --workdir",
    other_functions: bool = False,
) -> None:
    """Checks that a run folder is free, or belongs to the config.

    Args:
      workdir: the run folder.
      config: checked.
      check: of configs of its kind.
      free: fields that may differ.
      mend: what to do where they differ.
      other_functions: files with functions of the user's own may have changed since.

    Raises:
      InputError: the folder holds something else, or belongs to another config.
    """
    if not hosts.is_first():
        return
    if (workdir / "config.json").exists():
        theirs = read_config(workdir, check=check)
        if not other_functions:
            refuse_changed(theirs, config, workdir)
        fixed = (fixed_fields(one, free) for one in (theirs, config))
        refuse_another(workdir, "config", *fixed, mend=mend)
    else:
        refuse_files(workdir, "run folder")


def fixed_fields(config, free: Collection[str] = FREE_FIELDS) -> dict[str, object]:
    """What a run may not change on the way."""
    fields = flatten(config)
    fixed = {name: value for name, value in fields.items() if name not in free}
    fixed |= {field: reference for field, _, reference in own_functions(config)}
    for field in ("train.init_from", "distillation.run"):
        if source := fields.get(field):  # config.json has it so
            fixed[field] = os.path.abspath(source)
    for field in ("synthetic.root", "augment.impulse_responses"):
        if field in fields:  # what lies there may move, but neither come nor go
            fixed[field] = "a folder" if fields[field] else ""
    return fixed


def fixed_by_content(config) -> dict[str, object]:
    """What a run may not change on the way, with the user's own functions by their content."""
    fields = described(config)
    return {f: fields[f] if f in FUNCTION_FIELDS else v for f, v in fixed_fields(config).items()}


def write_run(
    workdir: pathlib.Path,
    config,
    dataset: Dataset,
    splits: tuple[Split, ...],
    test: np.ndarray,
    synthetic: Synthetic | None,
    digests: Sequence[str],
) -> None:
    """Writes a run's `config.json`, `splits.json` and, with synthetic clips, `synthetic.json`.

    Args:
      workdir: the run folder.
      config: the run's.
      dataset: its development set.
      splits: of its folds.
      test: (n,) indices of clips that no fold trains on.
      synthetic: its synthetic clips, if any.
      digests: of the development set's audio files, and of the synthetic ones behind them.

    Raises:
      InputError: the folder cannot be written.
    """
    if not hosts.is_first():
        return
    write_whole(workdir / "config.json", to_json(copy_functions(workdir, config)))
    n_clips = len(dataset.clips)
    write_splits(workdir / "splits.json", dataset, splits, test, digests[:n_clips])
    if synthetic is not None:
        write_record(workdir / SYNTHETIC, synthetic, digests[n_clips:])


def refuse_other_sound(
    workdir: pathlib.Path, dataset: Dataset, synthetic: Synthetic | None, digests: Sequence[str]
) -> None:
    """Checks that a run's clips, as they are now decoded, are those of its records.

    Args:
      workdir: the run folder.
      dataset: its development set.
      synthetic: its synthetic clips, if they are used.
      digests: as for `write_run`.

    Raises:
      InputError: naming the first file that differs.
    """
    n_clips = len(dataset.clips)
    refuse_other_audio(workdir / "splits.json", dataset, digests[:n_clips])
    if synthetic is not None:
        refuse_other_audio(workdir / SYNTHETIC, synthetic.dataset, digests[n_clips:])


def read_config(workdir: pathlib.Path, *, check: Check = check_config, field: str = "--workdir"):
    """A run folder's config.

    Args:
      workdir: the run folder.
      check: of the kind of config that is wanted.
      field: or flag that names it.

    Raises:
      InputError: the folder is no run of that kind.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise InputError(f"not found; {field} must be a folder that train has made", path=path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error}); restore it", path=path) from None
    refuse_untrusted(workdir)
    return from_json(text, str(path), check=check)


def read_trained_config(workdir: pathlib.Path, field: str):
    """The config of a run with a checkpoint, as the first of all processes finds it.

    Args:
      workdir: the run folder.
      field: that names it.

    Raises:
      InputError: the folder is no run, or none that has been trained.
    """

    def read() -> str:
        config = read_config(workdir, field=field)
        refuse_untrained(workdir)
        return to_json(config)

    return from_json(read_by_first(read), str(workdir / "config.json"))


def refuse_untrained(workdir: pathlib.Path, command: str = "train") -> None:
    """Refuses a run without a checkpoint, which `command` makes, before any data is decoded for it.

    Raises:
      InputError: no epoch is finished.
    """
    folder = workdir / "checkpoints"
    if not folder.is_dir() or not any(folder.iterdir()):
        raise InputError(f"no epoch is finished; run asc-jax {command} first", path=workdir)
