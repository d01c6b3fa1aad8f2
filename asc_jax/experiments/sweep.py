"""A sweep: every setting of an ablation with every seed, as run folders below one folder.

Each run is what its commands make of it, in processes of their own; the sweep knows which
runs there are, which are done, and what their folders are called. Its record says so:

    sweep.json             the base config and its data; the settings, their fields and runs
    SETTING/seedN/         an ordinary run folder
    SETTING/seedN.log      what its commands have said
    together/              logs of programs of several runs, and their folders as they train
"""

import dataclasses
import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence

from asc_jax.config.ablation import Ablation, Setting, is_gan_config, name_of
from asc_jax.config.load import PER_MODEL_FIELDS
from asc_jax.config.overrides import as_overrides
from asc_jax.experiments.jobs import Failure, Job, carry_out, is_scored, is_synthesized, only_caller
from asc_jax.report.formatting import count
from asc_jax.runs import provenance
from asc_jax.runs.folder import FREE_OF_SEVERAL, hold
from asc_jax.runs.identity import identify
from asc_jax.runs.inputs import read_data, sets_beside
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runs.own_functions import described
from asc_jax.runs.sweep_record import RECORD, joined_record
from asc_jax.runtime.errors import InputError, RunsFailed
from asc_jax.runtime.files import parse_json, write_whole

# Base fields that a sweep may change on the way: where things are.
_FREE_FIELDS = FREE_OF_SEVERAL | {"seed"}


@dataclasses.dataclass(frozen=True)
class Run:
    """A setting with a seed."""

    setting: Setting
    seed: int

    @property
    def name(self) -> str:
        """Its folder, below the sweep's."""
        return f"{self.setting.name}/seed{self.seed}"

    @property
    def gan_name(self) -> str:
        """The folder in which its GANs train: settings of what comes after share one."""
        fields = self.setting.fields
        trained = {field: fields[field] for field in fields if not _of_synthesis(field)}
        return f"{name_of(trained)}/seed{self.seed}"


def refuse_unscored(config) -> None:
    """Refuses a config whose run could not be compared with others.

    Raises:
      InputError: it holds out no clip.
    """
    if config.folds.kind == "all" and not config.folds.test_fold:
        raise InputError(
            "holds out no clips for the scores; choose other folds",
            field="folds.kind",
            value="all",
        )


def sweep(
    ablation: Ablation,
    workdir: pathlib.Path,
    seeds: Sequence[int] = (),
    *,
    together: bool = False,
    dry_run: bool = False,
) -> None:
    """Carries out the unfinished runs of a sweep, and prints the state of all its runs.

    Args:
      ablation: the base config and its settings.
      workdir: the folder of the sweep; created if it does not exist.
      seeds: seeds of each setting; () for the seed of the base config.
      together: train all runs that can be one program as one.
      dry_run: only print the commands, one shell line per job.

    Raises:
      InputError: the folder belongs to something else, or the data cannot be used.
      RunsFailed: some runs failed; the others are done.
      Stopped: by a signal, which also stopped the current run.
    """
    if together and ablation.of_gan:
        raise InputError(
            "is for classifiers; the GANs of a run are one program anyway", field="--together"
        )
    seeds = seeds or (ablation.base.seed,)
    runs = [Run(setting, seed) for setting in ablation.settings for seed in seeds]
    if dry_run:
        todo = [one for one in runs if not is_done(one, workdir)]
        print(_count(ablation, seeds, todo), file=sys.stderr)
        for job in plan(ablation, todo, workdir, together=together):
            print(job)
        return
    if not ablation.of_gan:
        for setting in ablation.settings:
            refuse_unscored(setting.config)
        read_data(ablation.settings[0].config)  # or each run would say that there is none
    data = identify(ablation.base)
    with hold(workdir):
        write_whole(workdir / RECORD, joined_record(_record(ablation, runs, data), workdir))
        with only_caller(workdir) as lock:
            todo = [one for one in runs if not is_done(one, workdir)]
            print(_count(ablation, seeds, todo), file=sys.stderr)
            done = [one for one in runs if one not in todo]
            names = [one.gan_name if ablation.of_gan else one.name for one in done]
            provenance.say_other_files([workdir / name for name in dict.fromkeys(names)])
            jobs = plan(ablation, todo, workdir, together=together)
            failed = carry_out(jobs, workdir, lock, lacks=lambda job: _lacks(job, workdir))
    failures = _failures(jobs, failed, workdir)
    for one in runs:
        print(f"{one.name}: {failures.get(one.name) or _scores(workdir / one.name)}")
    if failures:
        raise RunsFailed(
            f"{len(failures)} of {len(runs)} runs failed; the same command tries them again"
        )


def _count(ablation: Ablation, seeds: Sequence[int], todo: Sequence[Run]) -> str:
    n_runs = len(ablation.settings) * len(seeds)
    return (
        f"{count(len(ablation.settings), 'setting', ' ')} x {count(len(seeds), 'seed', ' ')}: "
        f"{count(n_runs, 'run', ' ')}, {n_runs - len(todo)} already done"
    )


def is_done(one: Run, workdir: pathlib.Path) -> bool:
    """Whether a run has all its epochs and its report, or all its clips."""
    config, folder = one.setting.config, workdir / one.name
    if is_gan_config(config):
        n_clips = config.synthesis.n_clips
        return is_synthesized(workdir / one.gan_name, folder / "clips", n_clips)
    return is_scored(folder, config.train.epochs, sets_beside(config))


def _lacks(job: Job, workdir: pathlib.Path) -> list[str]:
    """What a job needs and is not done: that scores a run which a program was to train.

    Raises:
      InputError: a function of the user's own is not what it was when the sweep began.
    """
    for one in job.runs:
        described(one.setting.config)
    if len(job.commands) > 1 or job.commands[0][0] != "evaluate":
        return []
    (one,) = job.runs
    lines = read_metrics(workdir / one.name / "metrics.jsonl")
    return [] if len(lines) >= one.setting.config.train.epochs else ["its training"]


def _failures(
    jobs: Sequence[Job], failed: Mapping[str, Failure], workdir: pathlib.Path
) -> dict[str, Failure]:
    """What went wrong with each run that is not done."""
    failures = {}
    for job in jobs:
        failure = failed.get(job.name)
        for one in job.runs if failure else ():
            if is_done(one, workdir):  # a program may have finished some of its runs
                continue
            if len(job.runs) > 1:
                said = _said_of(one.name, workdir / f"{job.name}.log") or failure.said
                failures[one.name] = dataclasses.replace(failure, said=said)
            elif failure.status is not None or one.name not in failures:
                failures[one.name] = failure
    return failures


def _said_of(name: str, log: pathlib.Path) -> str:
    """The last line of a log that begins with the name of a run, without it."""
    try:
        lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
    except OSError:
        return ""
    start = f"{name}: "
    return next((line.removeprefix(start) for line in lines[::-1] if line.startswith(start)), "")


def plan(
    ablation: Ablation, todo: Sequence[Run], workdir: pathlib.Path, *, together: bool
) -> list[Job]:
    """What to carry out for these runs.

    Args:
      ablation: that they are of.
      todo: the runs.
      workdir: the sweep's folder.
      together: one job to train all runs that can be one program, and one to score each.

    Returns:
      The jobs, in the order of the runs.
    """
    if ablation.of_gan:
        return [_gan_job(ablation, one, workdir) for one in todo]
    if not together:
        return [_classifier_job(ablation, one, workdir) for one in todo]
    programs = {}
    for one in todo:
        programs.setdefault(name_of(_shared_fields(one.setting)), []).append(one)
    jobs = []
    for runs in programs.values():
        if len(runs) == 1:
            jobs.append(_classifier_job(ablation, runs[0], workdir))
        else:
            jobs.append(_program_job(ablation, tuple(runs), workdir))
            jobs += [Job(one.name, (one,), (_evaluate(one, workdir),)) for one in runs]
    return jobs


def _classifier_job(ablation: Ablation, one: Run, workdir: pathlib.Path) -> Job:
    fields = as_overrides(one.setting.resolved | _own_fields(ablation, one))
    place = f"--workdir={workdir / one.name}"
    train = ("train", f"--config={ablation.path}", place, *ablation.overrides, *fields)
    return Job(one.name, (one,), (train, _evaluate(one, workdir)))


def _program_job(ablation: Ablation, runs: tuple[Run, ...], workdir: pathlib.Path) -> Job:
    shared = _shared_fields(runs[0].setting)
    train = ("train", f"--config={ablation.path}", f"--workdir={workdir}")
    resolved = runs[0].setting.resolved
    shared_now = {field: resolved[field] for field in shared}
    train += (*ablation.overrides, *as_overrides(shared_now))
    for one in runs:
        own = {f: v for f, v in one.setting.fields.items() if f not in shared}
        own |= _own_fields(ablation, one)
        train += ("--run", one.name, *(f"{field}={value}" for field, value in own.items()))
    return Job(f"together/{name_of(shared, suffix='.log')}", runs, (train,))


def _evaluate(one: Run, workdir: pathlib.Path) -> tuple[str, ...]:
    return ("evaluate", f"--workdir={workdir / one.name}")


def _shared_fields(setting: Setting) -> dict[str, object]:
    """What all runs of a program must have alike."""
    return {f: v for f, v in setting.fields.items() if f not in PER_MODEL_FIELDS}


def _own_fields(ablation: Ablation, one: Run) -> dict[str, object]:
    """What a run has beyond its setting."""
    return _title(ablation, one.setting.name) | {"seed": one.seed}


def _gan_job(ablation: Ablation, one: Run, workdir: pathlib.Path) -> Job:
    fields = one.setting.fields
    of_synthesis = {field: fields[field] for field in fields if _of_synthesis(field)}
    of_gan = {field: fields[field] for field in fields if not _of_synthesis(field)}
    of_gan |= _title(ablation, name_of(of_gan))
    place = f"--workdir={workdir / one.gan_name}"
    config, seed = f"--config={ablation.path}", f"--config.seed={one.seed}"
    gan = ("gan", config, place, *ablation.overrides, *as_overrides(of_gan), seed)
    clips = f"--out={workdir / one.name / 'clips'}"
    synthesize = ("synthesize", place, clips, *as_overrides(of_synthesis))
    return Job(one.name, (one,), (gan, synthesize))


def _title(ablation: Ablation, setting: str) -> dict[str, str]:
    """The field by which reports tell the settings apart."""
    return {"title": f"{ablation.base.title}, {setting}"} if setting != name_of({}) else {}


def _of_synthesis(field: str) -> bool:
    return field.startswith("synthesis.")


def _scores(folder: pathlib.Path) -> str:
    """The scores of a run that is done, in a few words."""
    try:
        report = parse_json((folder / "report.json").read_text())
        scores = [(one["title"], one["systems"][0]) for one in report["lists"]]
        values = [(title, one["class_wise_accuracy"]["value"]) for title, one in scores]
        return ", ".join(f"{title} {value:.1%}" for title, value in values if value is not None)
    except (OSError, ValueError, LookupError, TypeError):
        return "done"


def _record(ablation: Ablation, runs: Iterable[Run], data: Mapping[str, str]) -> dict:
    """These runs, as `joined_record` takes them."""
    record = {
        "command": "sweep",
        "question": ablation.question,
        "config": ablation.path,
        "base": {f: v for f, v in described(ablation.base).items() if f not in _FREE_FIELDS},
        "data": data,
        "settings": {
            setting.name: {
                "fields": {field: described(setting.config)[field] for field in setting.fields},
                "runs": {},
            }
            for setting in ablation.settings
        },
    }
    for one in runs:
        record["settings"][one.setting.name]["runs"][str(one.seed)] = one.name
    return record
