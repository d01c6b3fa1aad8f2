"""Several runs that differ in seeds and hyperparameters alone, trained as one program.

The fold axis of a program is one of models: that of two runs of four folds has eight, of
which each is trained as it would be alone. The program trains in a folder of its own, from
which the runs' folders are made when it has ended; it is then removed.

Below a `--workdir` there are then

    sweep.json       which runs there are, as a sweep records its own
    NAME/            an ordinary run folder each
    together/        the programs that are not at their end
    profile/         a program's trace, where one was asked for
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence

import jax
import ml_collections

from asc_jax.config.ablation import name_of
from asc_jax.config.load import PER_MODEL_FIELDS, flatten, override
from asc_jax.parallel import hosts
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import Checkpoints, Progress
from asc_jax.runs.folder import FREE_OF_SEVERAL, hold, write_run
from asc_jax.runs.identity import identify
from asc_jax.runs.inputs import read_data, read_synthetic, with_named_precision
from asc_jax.runs.metrics_log import SECONDS, as_text, read_metrics
from asc_jax.runs.own_functions import described
from asc_jax.runs.sweep_record import (
    RECORD,
    joined_record,
    read_record,
    refuse_other_runs,
    write_lost,
)
from asc_jax.runtime.errors import Diverged, InputError
from asc_jax.runtime.files import remove, write_whole
from asc_jax.train.heard import DISTILLATION, WARM_START
from asc_jax.train.loop import make_curves, train
from asc_jax.train.restore import on_host, snapshot_like
from asc_jax.train.setup import Setup
from asc_jax.train.watch import say_lost

# The folder of the programs.
_PROGRAMS = "together"

# What else there is beside the runs.
_TAKEN = (_PROGRAMS, "profile", RECORD)

# At the end of the name of a folder that is being removed.
_LEFT = ".left"


def load_runs(
    config: ml_collections.FrozenConfigDict, path: str, runs: Sequence[Sequence[str]]
) -> dict[str, ml_collections.FrozenConfigDict]:
    """The configs of runs that can be one program.

    Args:
      config: what they share.
      path: its file, for messages.
      runs: the name of each, and "FIELD=VALUE" for what is its own.

    Returns:
      name -> config, checked, frozen.

    Raises:
      InputError: a config cannot be, a name is no folder's or not its own, or a field is one in
        which the models of a program cannot differ.
    """
    configs, shared = {}, flatten(config)
    own = (*PER_MODEL_FIELDS, "title")
    rule = f"runs of one program can differ in {', '.join(PER_MODEL_FIELDS)} alone"
    for name, *fields in runs:
        _refuse_name(name, configs)
        run = f"--run {name}"
        for field in fields:
            if field.partition("=")[0] not in own:
                mend = f"use --config.{field} for all of them"
                raise InputError(f"{rule}; {mend}", field=f"{run} {field}")
        try:
            one = override(config, [f"--config.{field}" for field in fields], path)
        except InputError as error:
            raise error.at(path="", field=f"{run} {error.field}") from None
        for field, value in flatten(one).items():  # one that refers to another follows it
            if field not in own and value != shared[field]:
                what = f"{field} follows {' '.join(fields)} in {path}"
                raise InputError(f"{what}, and {rule}; train it by itself", field=run)
        for other, theirs in configs.items():
            if _own_values(one) == _own_values(theirs):
                raise InputError(f"is the same run as {other}; leave one of them out", field=run)
        configs[name] = one
    return configs


def _refuse_name(name: str, others: Collection[str]) -> None:
    """Refuses a run's name that is no folder of its own below `--workdir`, beside others'."""
    place, run = pathlib.PurePosixPath(name), f"--run {name}"
    if place.is_absolute() or ".." in place.parts or not place.name or "=" in place.name:
        raise InputError("must begin with the name of a folder below --workdir", field=run)
    if place.parts[0] in _TAKEN:
        raise InputError(f"{place.parts[0]} is taken; give the run another name", field=run)
    for other in map(pathlib.PurePosixPath, others):
        if place.is_relative_to(other) or other.is_relative_to(place):
            raise InputError(
                f"is the folder of the run {other}, or one of them lies in the other; give each "
                "run another name",
                field=run,
            )


@dataclasses.dataclass(frozen=True)
class _Program:
    """Runs that train as one.

    Attributes:
      config: what they share.
      path: its file.
      runs: folder below `workdir` -> config, sorted: the same program however they are listed.
      workdir: the folder of them all.
    """

    config: ml_collections.FrozenConfigDict
    path: str
    runs: Mapping[str, ml_collections.FrozenConfigDict]
    workdir: pathlib.Path

    @property
    def folder(self) -> pathlib.Path:
        """Where it trains: another folder for other runs, or for other values of theirs."""
        own = {name: list(_own_values(one).values()) for name, one in self.runs.items()}
        return self.workdir / _PROGRAMS / hashlib.sha256(json.dumps(own).encode()).hexdigest()[:8]


def train_together(
    config: ml_collections.FrozenConfigDict,
    path: str,
    configs: Mapping[str, ml_collections.FrozenConfigDict],
    workdir: pathlib.Path,
    *,
    profile: bool = False,
    other_functions: bool = False,
) -> None:
    """Trains several runs, from the start or from where they stand.

    If one of the runs exists already, each is resumed alone.

    Args:
      config: what they share.
      path: its file.
      configs: from `load_runs`: run folder below `workdir` -> its config.
      workdir: made if need be.
      profile: see `train`; of the program.
      other_functions: see `train`.

    Raises:
      InputError: as `train`; this is one of several processes; or `workdir` belongs to something
        else, or to other runs of these names.
      Diverged: as `train`, of some of the runs; the others are done.
    """
    if hosts.joined():
        raise InputError(
            "work only in one process; launch each run separately, or use one process",
            field="--seeds, --run",
        )
    program = _Program(config, path, dict(sorted(configs.items())), workdir)
    program = dataclasses.replace(
        program,
        config=with_named_precision(config, program.folder),
        runs={
            name: with_named_precision(one, program.folder) for name, one in program.runs.items()
        },
    )
    is_new = not workdir.exists()
    try:
        with hold(workdir / _PROGRAMS), _claim(program):
            _remove_left(workdir)
            lost = {n: said for n, said in read_record(workdir)["lost"].items() if n in configs}
            there = lost or any((workdir / name).exists() for name in configs)
            if program.folder.exists() or not there:
                lost = _train_program(program, profile=profile, other_functions=other_functions)
            else:
                for name in [name for name in program.runs if name not in lost]:
                    try:
                        train(program.runs[name], workdir / name, other_functions=other_functions)
                    except Diverged as diverged:
                        lost[name] = f"{name}: {diverged}"
            _remove_left(workdir)
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it is not empty
                workdir.rmdir()
    if lost:
        raise Diverged("\n".join(lost.values()))


def _train_program(program: _Program, **how: bool) -> dict[str, str]:
    """Makes run folders of one program; returns what to say of each run that it has lost."""
    for other in program.folder.parent.glob("[!.]*/config.json"):
        if other.parent != program.folder:
            print(
                f"{other.parent}: a program of other runs is not finished; the command that "
                "started it resumes it",
                file=sys.stderr,
            )
    setup, progress = train(program.config, program.folder, runs=program.runs, **how)
    left = "it has no run folder, and the others are done"
    lost = {name: say_lost({name: where}, left) for name, where in progress.lost.items()}
    with hold(program.folder):
        _write_runs(program, setup, progress)
        if lost:
            write_lost(program.workdir, lost)
        if (program.folder / "profile").exists():
            traces = program.workdir / "profile"
            traces.mkdir(exist_ok=True)
            (program.folder / "profile").rename(traces / program.folder.name)
        # By its name it is either there, and whole, or not.
        program.folder.rename(program.folder.with_name(f".{program.folder.name}{_LEFT}"))
    return lost


@contextlib.contextmanager
def _claim(program: _Program) -> Iterator[None]:
    """Writes the runs into the folder's record; a sweep's are there already.

    Where nothing comes of them, for wrong input say, the record is again what it was.
    """
    workdir, runs = program.workdir, program.runs
    place = workdir / RECORD
    before = place.read_text(encoding="utf-8") if place.exists() else None
    fields = {name: _fixed_fields(one) | {"seed": one.seed} for name, one in runs.items()}
    known = () if before is None else refuse_other_runs(workdir, fields)
    new = runs.keys() - known
    for name in new:
        _refuse_name(name, known)
    if new:
        write_whole(place, joined_record(_record(program), workdir, beside=(_PROGRAMS,)))
    try:
        yield
    finally:
        made = (program.folder, *(workdir / name for name in new))
        if new and not any(one.exists() for one in made):
            remove(place) if before is None else write_whole(place, before)


def _record(program: _Program) -> dict:
    """These runs, as `joined_record` takes them: those that differ in seeds alone are a setting."""
    settings = {}
    base = _own_values(program.config)
    for name, one in program.runs.items():
        own = {f: v for f, v in _own_values(one).items() if f != "seed" and v != base[f]}
        setting = settings.setdefault(name_of(own), {"fields": own, "runs": {}})
        setting["runs"][str(one.seed)] = name
    return {
        "command": "train",
        "config": program.path,
        "base": _fixed_fields(program.config),
        "data": identify(program.config),
        "settings": {_title(name, settings): one for name, one in settings.items()},
    }


def _title(setting: str, settings: Mapping[str, Mapping]) -> str:
    """What tables call a setting: by the name that the user gave its run, where it has one."""
    (seed, name), *others = settings[setting]["runs"].items()
    return setting if others or name == f"seed{seed}" or name in settings else name


def _fixed_fields(config: ml_collections.FrozenConfigDict) -> dict[str, object]:
    """What a record keeps of a config."""
    free = FREE_OF_SEVERAL | {"seed"}
    return {field: value for field, value in described(config).items() if field not in free}


def _own_values(config: ml_collections.FrozenConfigDict) -> dict[str, object]:
    """The fields in which the runs of a program may differ."""
    fields = flatten(config)
    return {field: fields[field] for field in PER_MODEL_FIELDS}


def _remove_left(workdir: pathlib.Path) -> None:
    """Removes the folders of programs that have ended."""
    for left in (workdir / _PROGRAMS).glob(f".*{_LEFT}"):
        shutil.rmtree(left, ignore_errors=True)


def _write_runs(program: _Program, setup: Setup, progress: Progress) -> None:
    """Makes ordinary run folders of a program's, but for those that a stop has left whole.

    Raises:
      InputError: the program's last checkpoint cannot be read.
    """
    dataset, splits, test = read_data(program.config)
    synthetic = read_synthetic(program.config, dataset, splits)
    like = snapshot_like(setup.like, choosing=setup.choosing)
    with Checkpoints(program.folder / "checkpoints", read_only=True) as checkpoints:
        tree, done = checkpoints.restore(on_host(like)) or (None, None)
    if tree is None or done.step < progress.step:
        raise InputError(
            "its last checkpoint is damaged; run the same command to train from the one before",
            path=program.folder,
        )
    lines = read_metrics(program.folder / "metrics.jsonl")
    for number, (name, config) in enumerate(program.runs.items()):
        folder = program.workdir / name
        if folder.exists() or name in progress.lost:
            continue
        own = slice(number * len(splits), (number + 1) * len(splits))
        partial = folder.with_name(f".{folder.name}.partial")  # a run folder is there whole or not
        shutil.rmtree(partial, ignore_errors=True)
        write_run(partial, config, dataset, splits, test, synthetic, setup.clips.digests)
        log = [_own_part(line, own, len(program.runs)) for line in lines]
        write_whole(partial / "metrics.jsonl", as_text(log))
        for record in (provenance.NAME, WARM_START, DISTILLATION):
            if (program.folder / record).exists():
                shutil.copy(program.folder / record, partial)
        with Checkpoints(partial / "checkpoints") as checkpoints:
            own_tree = jax.tree.map(lambda leaf, own=own: leaf[own], tree)
            checkpoints.save(Progress(done.step, done.epochs), own_tree)
            checkpoints.wait()
        labels, alone = dataset.scene_labels, [""] * len(splits)
        make_curves(config, splits, alone, labels, writers=()).begin(partial, log)  # the table
        partial.rename(folder)
        if config.train.writers:
            curves = make_curves(config, splits, alone, labels, writers=config.train.writers)
            curves.begin(folder, log)
            curves.close()


def _own_part(line: dict, own: slice, n_runs: int) -> dict:
    """A run's line of the program's log: its models, and its share of the time.

    Memory is the program's, of which no share is a run's: null, as where no device says.
    """
    part = {name: value[own] if isinstance(value, list) else value for name, value in line.items()}
    times = {name: value / n_runs for name, value in part.items() if name in SECONDS and value}
    return part | times | {"peak_memory_bytes": None}
