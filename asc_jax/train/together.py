"""Several runs that differ in their seeds alone, trained as one program.

The fold axis of a program is one of models: that of two runs of four folds has eight, of
which each is trained as it would be alone. The program trains in a folder beside those of the
runs, from which they are made when it has ended; it is then removed.
"""

import pathlib
import shutil
from collections.abc import Sequence

import jax
import ml_collections

from asc_jax import hosts, run
from asc_jax.config import changeable
from asc_jax.errors import InputError
from asc_jax.files import write_whole
from asc_jax.train.checkpoint import Checkpoints
from asc_jax.train.loop import train
from asc_jax.train.metrics_log import SECONDS, as_text, read_metrics
from asc_jax.train.setup import restore, set_up


def train_together(
    config, workdir: pathlib.Path, seeds: Sequence[int], *, profile: bool = False
) -> None:
    """Trains a run per seed, from the start or from where they stand.

    Where one of the runs is there already, each goes on alone.

    Args:
      config: of all of them, but for its seed; checked, frozen.
      workdir: the folder of the run folders seedN; made if need be.
      seeds: at least one.
      profile: see `train`; of the program.

    Raises:
      InputError: as `train`; or this is one of several processes.
      Diverged: as `train`; the other seeds' runs have then stopped with it.
    """
    if hosts.joined():
        raise InputError("--seeds: is for one process; launch a run per seed, or one process")
    runs = {seed: workdir / f"seed{seed}" for seed in seeds}
    program = workdir / ("seeds" + "-".join(map(str, seeds)))
    if program.exists() or not any(folder.exists() for folder in runs.values()):
        train(config, program, seeds=seeds, profile=profile)
        with run.hold(program):
            _write_runs(config, program, runs)
            shutil.rmtree(program)
    else:
        for seed, folder in runs.items():
            train(_with_seed(config, seed), folder)


def _write_runs(config, program: pathlib.Path, runs: dict[int, pathlib.Path]) -> None:
    """Makes ordinary run folders of a program's, but for those that a stop has left whole."""
    dataset, splits, test = run.read_data(config)
    synthetic = run.read_synthetic(config, dataset, splits)
    setup = set_up(config, dataset, splits, test, synthetic, seeds=tuple(runs))
    choosing = config.train.selection == "inner"
    with Checkpoints(program / "checkpoints", read_only=True) as checkpoints:
        state, best, done = restore(setup, checkpoints, choosing=choosing)
    tree = jax.device_get({"state": state, "best": best})
    lines = read_metrics(program / "metrics.jsonl")
    for number, (seed, folder) in enumerate(runs.items()):
        if folder.exists():
            continue
        own = slice(number * len(splits), (number + 1) * len(splits))
        partial = folder.with_name(f".{folder.name}.partial")  # a run folder is there whole or not
        shutil.rmtree(partial, ignore_errors=True)
        run.write_run(partial, _with_seed(config, seed), dataset, splits, test, synthetic)
        log = [_own_part(line, own, len(runs)) for line in lines]
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


def _with_seed(config, seed: int) -> ml_collections.FrozenConfigDict:
    config = changeable(config)
    config.seed = seed
    return ml_collections.FrozenConfigDict(config)
