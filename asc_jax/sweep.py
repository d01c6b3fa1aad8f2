"""A sweep: every setting of an ablation with every seed, as run folders below one folder.

Each run is what its commands make of it, in processes of their own; the sweep knows which
runs there are, which are done, and what their folders are called. Its record says so:

    sweep.json             the base config; the settings, their fields and their runs
    SETTING/seedN/         an ordinary run folder
    SETTING/seedN.log      what its commands have said
"""

import dataclasses
import json
import pathlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence

from asc_jax import run
from asc_jax.ablation import Ablation, Setting, as_overrides, is_gan_config, name_of
from asc_jax.data import manifest
from asc_jax.errors import STOPPED, InputError, RunsFailed, Stopped
from asc_jax.files import write_whole
from asc_jax.sweep_record import RECORD, joined_record

# What a job's commands are commands of.
PROGRAM = (sys.executable, "-m", "asc_jax")


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


@dataclasses.dataclass(frozen=True)
class Job:
    """Commands that are carried out in order, and the runs that they make.

    Attributes:
      name: of its log, without ".log".
      runs: at least one.
      commands: the words of each, after "asc-jax".
    """

    name: str
    runs: tuple[Run, ...]
    commands: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """A line for a shell."""
        return " && ".join(shlex.join(("asc-jax", *command)) for command in self.commands)


def sweep(
    ablation: Ablation,
    workdir: pathlib.Path,
    seeds: Sequence[int] = (),
    *,
    together: bool = False,
    dry_run: bool = False,
) -> None:
    """Carries out what is not done yet of a sweep, and prints how its runs stand.

    Args:
      ablation: what to run.
      workdir: the sweep's folder; made if need be.
      seeds: of the runs of each setting; the base's own if there are none.
      together: all seeds of a setting in one program.
      dry_run: print the commands, one line for a shell per job, and do nothing.

    Raises:
      InputError: the folder belongs to something else, or the data cannot be used.
      RunsFailed: some runs have failed; the others are done.
      Stopped: by a signal; the run that was under way as well.
    """
    if together and ablation.of_gan:
        raise InputError("--together: is for classifiers; the GANs of a run are one program anyway")
    seeds = seeds or (ablation.base.seed,)
    runs = [Run(setting, seed) for setting in ablation.settings for seed in seeds]
    if dry_run:
        todo = [one for one in runs if not is_done(one, workdir)]
        print(_count(ablation, seeds, todo), file=sys.stderr)
        for job in plan(ablation, todo, workdir, together=together):
            print(job)
        return
    if not ablation.of_gan:
        run.read_data(ablation.settings[0].config)  # or each run would say that there is none
    with run.hold(workdir):
        write_whole(workdir / RECORD, joined_record(ablation, runs, workdir))
        todo = [one for one in runs if not is_done(one, workdir)]
        print(_count(ablation, seeds, todo), file=sys.stderr)
        failures = _carry_out(plan(ablation, todo, workdir, together=together), workdir)
    for one in runs:
        print(f"{one.name}: {failures.get(one.name) or _scores(workdir / one.name)}")
    if failures:
        raise RunsFailed(
            f"{len(failures)} of {len(runs)} runs have failed; the same command tries them again"
        )


def _count(ablation: Ablation, seeds: Sequence[int], todo: Sequence[Run]) -> str:
    n_runs = len(ablation.settings) * len(seeds)
    return (
        f"{len(ablation.settings)} settings x {len(seeds)} seeds: {n_runs} runs, "
        f"{n_runs - len(todo)} done before"
    )


def is_done(one: Run, workdir: pathlib.Path) -> bool:
    """Whether a run has all its epochs and its report, or all its clips."""
    config, folder = one.setting.config, workdir / one.name
    try:
        if is_gan_config(config):
            corpora = json.loads((workdir / one.gan_name / "corpora.json").read_text())
            wanted = config.synthesis.n_clips * len({corpus["fold"] for corpus in corpora})
            clips = (folder / "clips" / manifest.NAME).read_text()
            return clips.count("\n") >= wanted
        report = json.loads((folder / "report.json").read_text())
        return report["training"]["epochs"] >= config.train.epochs
    except (OSError, ValueError, KeyError, TypeError):
        return False


def plan(
    ablation: Ablation, todo: Sequence[Run], workdir: pathlib.Path, *, together: bool
) -> list[Job]:
    """What to carry out for these runs.

    Args:
      ablation: that they are of.
      todo: the runs.
      workdir: the sweep's folder.
      together: one job for all seeds of a setting.

    Returns:
      The jobs, in the order of the runs.
    """
    if ablation.of_gan:
        return [_gan_job(ablation, one, workdir) for one in todo]
    if not together:
        return [_classifier_job(ablation, (one,), workdir) for one in todo]
    settings = dict.fromkeys(one.setting.name for one in todo)
    groups = [tuple(one for one in todo if one.setting.name == name) for name in settings]
    return [_classifier_job(ablation, group, workdir) for group in groups]


def _classifier_job(ablation: Ablation, runs: tuple[Run, ...], workdir: pathlib.Path) -> Job:
    setting = runs[0].setting
    seeds = ",".join(str(one.seed) for one in runs)
    if len(runs) == 1:
        name = runs[0].name
        seeded = f"--config.seed={seeds}"
        place = workdir / name
    else:
        name = f"{setting.name}/seeds{seeds}"
        seeded = f"--seeds={seeds}"
        place = workdir / setting.name
    config = f"--config={ablation.path}"
    fields = as_overrides(setting.fields | _title(ablation, setting.name))
    train = ("train", config, f"--workdir={place}", *ablation.overrides, *fields, seeded)
    evaluate = [("evaluate", f"--workdir={workdir / one.name}") for one in runs]
    return Job(name, runs, (train, *evaluate))


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


def _carry_out(jobs: Sequence[Job], workdir: pathlib.Path) -> dict[str, str]:
    """Carries out all jobs; returns what went wrong, by the names of the runs."""
    failures = {}
    with _Signals() as signals:
        for number, job in enumerate(jobs, start=1):
            log = workdir / f"{job.name}.log"
            print(f"[{number}/{len(jobs)}] {job.name}: see {log}", file=sys.stderr)
            if failure := _failure(job, log, signals):
                failures |= dict.fromkeys((one.name for one in job.runs), failure)
                print(f"[{number}/{len(jobs)}] {job.name}: {failure}", file=sys.stderr)
    return failures


def _failure(job: Job, log: pathlib.Path, signals: "_Signals") -> str:
    """Carries out a job; returns what went wrong, if anything did."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as said:
            for command in job.commands:
                status = signals.call([*PROGRAM, *command], said)
                if status:
                    return f"failed with status {status}: {_last_line(log)}"
    except OSError as error:
        return f"failed: {log}: {error.strerror}"
    return ""


class _Signals:
    """SIGTERM and SIGINT, passed on to the process that runs.

    Attributes:
      received: their numbers, as they come.
    """

    def __init__(self):
        self.received = []
        self._previous = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, lambda n, _: self.received.append(n))
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def call(self, command: Sequence[str], output) -> int:
        """Runs a process to its end, in a group of its own: a terminal's ^C reaches it once.

        Returns:
          Its exit status.

        Raises:
          Stopped: a signal has come, or has stopped the process.
        """
        if not self.received:
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            ) as process:
                status = self._wait(process)
        if self.received or status == STOPPED:
            raise Stopped("stopped; run the same command to go on")
        return status

    def _wait(self, process: subprocess.Popen) -> int:
        sent = 0
        while True:
            try:
                return process.wait(timeout=0.1)  # s
            except subprocess.TimeoutExpired:
                for number in self.received[sent:]:
                    process.send_signal(number)
                    sent += 1


def _last_line(log: pathlib.Path) -> str:
    lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _scores(folder: pathlib.Path) -> str:
    """The scores of a run that is done, in a few words."""
    try:
        report = json.loads((folder / "report.json").read_text())
        scores = [(one["title"], one["systems"][0]) for one in report["lists"]]
        values = [(title, one["class_wise_accuracy"]["value"]) for title, one in scores]
        return ", ".join(f"{title} {value:.1%}" for title, value in values if value is not None)
    except (OSError, ValueError, KeyError):
        return "done"
