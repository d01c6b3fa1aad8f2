"""Several runs that differ in seeds and hyperparameters alone, trained as one program.

The fold axis of a program is one of models: that of two runs of four folds has eight, of
which each is trained as it would be alone. The program trains in a folder of its own, from
which the runs' folders are made when it has ended; it is then removed.
"""

import contextlib
import hashlib
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import jax
import ml_collections

from asc_jax import hosts, run
from asc_jax.config import SEPARATE_FIELDS, flatten, load_config, override
from asc_jax.errors import InputError
from asc_jax.files import write_whole
from asc_jax.train.checkpoint import Checkpoints
from asc_jax.train.loop import train
from asc_jax.train.metrics_log import SECONDS, as_text, read_metrics
from asc_jax.train.setup import restore, set_up

# At the end of the name of a folder that is being removed.
_LEFT = ".left"


def load_runs(
    path: str, overrides: Sequence[str], runs: Sequence[Sequence[str]]
) -> dict[str, ml_collections.FrozenConfigDict]:
    """The configs of runs that can be one program.

    Args:
      path: the config file that they share.
      overrides: "--config.FIELD=VALUE" each, of all of them.
      runs: the name of each, and "FIELD=VALUE" for what is its own.

    Returns:
      name -> config, checked, frozen.

    Raises:
      InputError: a config cannot be, a name is no folder's or not its own, or a field is one in
        which the models of a program cannot differ.
    """
    config = load_config(path, overrides)
    configs = {}
    for name, *fields in runs:
        place = pathlib.PurePosixPath(name)
        odd = place.is_absolute() or ".." in place.parts or not place.name
        if odd or "=" in place.name or name in configs:
            raise InputError(
                f"--run {name}: must begin with the name of a folder below --workdir, another "
                "for each run"
            )
        for field in fields:
            if field.partition("=")[0] not in (*SEPARATE_FIELDS, "title"):
                raise InputError(
                    f"--run {name} {field}: runs of one program can differ in "
                    f"{', '.join(SEPARATE_FIELDS)} alone; use --config.{field} for all of them"
                )
        configs[name] = override(config, [f"--config.{field}" for field in fields], path)
    return configs


def train_together(
    configs: Mapping[str, ml_collections.FrozenConfigDict],
    workdir: pathlib.Path,
    *,
    profile: bool = False,
) -> None:
    """Trains several runs, from the start or from where they stand.

    Where one of the runs is there already, each goes on alone.

    Args:
      configs: run folder below `workdir` -> its config, which differs from the others in
        `SEPARATE_FIELDS` and its title alone.
      workdir: made if need be.
      profile: see `train`; of the program.

    Raises:
      InputError: as `train`; or this is one of several processes.
      Diverged: as `train`; the other runs have then stopped with it.
    """
    if hosts.joined():
        raise InputError("--seeds, --run: are for one process; launch each run, or one process")
    folders = {name: workdir / name for name in configs}
    program = workdir / "together" / _name(configs)
    _remove_left(program.parent)
    if program.exists() or not any(folder.exists() for folder in folders.values()):
        runs = tuple(configs.values())
        train(runs[0], program, runs=runs, profile=profile)
        with run.hold(program):
            _write_runs(program, configs, folders)
            if (program / "profile").exists():
                shutil.move(program / "profile", workdir / "profile")
            # By its name it is either there, and whole, or not.
            program.rename(program.with_name(f".{program.name}{_LEFT}"))
        _remove_left(program.parent)
    else:
        for name, folder in folders.items():
            train(configs[name], folder)


def _remove_left(programs: pathlib.Path) -> None:
    """Removes the folders of programs that have ended, and the one that held them if it is bare."""
    for left in programs.glob(f".*{_LEFT}"):
        shutil.rmtree(left, ignore_errors=True)  # it may be another's, who removes it too
    with contextlib.suppress(OSError):  # a sweep's logs may be there
        programs.rmdir()


def _name(configs: Mapping[str, Mapping]) -> str:
    """Of a program's folder: another one for other runs, or for other values of theirs."""
    separate = {}
    for name, config in configs.items():
        fields = flatten(config)
        separate[name] = [fields[field] for field in SEPARATE_FIELDS]
    return hashlib.sha256(json.dumps(separate).encode()).hexdigest()[:8]


def _write_runs(
    program: pathlib.Path,
    configs: Mapping[str, ml_collections.FrozenConfigDict],
    folders: Mapping[str, pathlib.Path],
) -> None:
    """Makes ordinary run folders of a program's, but for those that a stop has left whole."""
    runs = tuple(configs.values())
    dataset, splits, test = run.read_data(runs[0])
    synthetic = run.read_synthetic(runs[0], dataset, splits)
    setup = set_up(runs[0], dataset, splits, test, synthetic, runs=runs)
    choosing = runs[0].train.selection == "inner"
    with Checkpoints(program / "checkpoints", read_only=True) as checkpoints:
        state, best, done = restore(setup, checkpoints, choosing=choosing)
    tree = jax.device_get({"state": state, "best": best})
    lines = read_metrics(program / "metrics.jsonl")
    for number, (name, folder) in enumerate(folders.items()):
        if folder.exists():
            continue
        own = slice(number * len(splits), (number + 1) * len(splits))
        partial = folder.with_name(f".{folder.name}.partial")  # a run folder is there whole or not
        shutil.rmtree(partial, ignore_errors=True)
        run.write_run(partial, configs[name], dataset, splits, test, synthetic)
        log = [_own_part(line, own, len(folders)) for line in lines]
        write_whole(partial / "metrics.jsonl", as_text(log))
        with Checkpoints(partial / "checkpoints") as checkpoints:
            checkpoints.save(done, jax.tree.map(lambda leaf, own=own: leaf[own], tree))
            checkpoints.wait()
        partial.rename(folder)


def _own_part(line: dict, own: slice, n_runs: int) -> dict:
    """A run's line of the program's log: its models, and its share of the time."""
    part = {name: value[own] if isinstance(value, list) else value for name, value in line.items()}
    times = {name: value / n_runs for name, value in part.items() if name in SECONDS and value}
    return part | times
