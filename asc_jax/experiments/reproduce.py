"""The paper's Table 4 from data to table: every row, the GANs included, stage by stage.

A stage is a job of the ordinary commands, with folders of its own:

    reproduce.json         what is carried out: the budget, the data and every config
    data/                  the procedural set, where no other data is given
    ROW/                   a row's run, as train and evaluate leave it; ROW.log
    gan/foldN/             the GANs of a fold, as gan leaves them; gan/foldN.log
    synthetic/             the clips of all folds' GANs
    table.json, table.md   the scores, beside the published ones but in the smallest budget
    report.html            the same as a page
    comparison.html        the rows beside one another, as asc-jax report leaves it
"""

import dataclasses
import json
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

import ml_collections

from asc_jax.config import format as config_format
from asc_jax.config.ablation import check_any_config, is_gan_config
from asc_jax.config.files import CONFIGS, call
from asc_jax.config.format import flatten, missing_fields, refuse_newer
from asc_jax.config.load import load_config
from asc_jax.config.overrides import as_overrides, field_of
from asc_jax.data.procedural import write_synthetic_dataset
from asc_jax.experiments.jobs import Failure, Job, carry_out, is_scored, is_synthesized, only_caller
from asc_jax.report.table4 import render_page, render_terminal, write_table
from asc_jax.runs import provenance, table4
from asc_jax.runs.folder import FREE_OF_SEVERAL, hold
from asc_jax.runs.identity import of_dataset
from asc_jax.runs.inputs import read_data, sets_beside
from asc_jax.runtime.errors import InputError, RunsFailed
from asc_jax.runtime.files import parse_json, remove, write_whole
from asc_jax.runtime.folders import refuse_another, refuse_files

COMPARISON = "comparison.html"

# How many clips are tried for one: it decides whether there are enough, and changes none.
_TRIES = "synthesis.most_tries"

# Without data of one's own. Of nine locations per scene two folds train on three each: two for
# a GAN, and one to compare it with.
_EMBEDDED = {"locations_per_scene": 9, "clips_per_location": 2, "clip_seconds": 2.0}

# The same as a command.
_SYNTH = (
    f"--locations={_EMBEDDED['locations_per_scene']}",
    f"--clips={_EMBEDDED['clips_per_location']}",
    f"--seconds={_EMBEDDED['clip_seconds']}",
)

# What stands beside a development set in a folder of its own, by the names of DCASE's archives.
_BESIDE = {"data.leaderboard_root": "leaderboard", "data.evaluation_root": "evaluation"}


@dataclasses.dataclass(frozen=True)
class Stage:
    """A row's classifier, or the GANs of one fold.

    Attributes:
      name: of its folder, below the reproduction's.
      path: its config file.
      fields: {"group.field": value}, what differs from the file.
      config: the file with these fields, checked.
      needs: names of the stages that must be done before.
    """

    name: str
    path: pathlib.Path
    fields: Mapping[str, object]
    config: ml_collections.FrozenConfigDict
    needs: tuple[str, ...] = ()

    @property
    def of_gan(self) -> bool:
        """Whether it trains GANs."""
        return is_gan_config(self.config)


def reproduce(
    workdir: pathlib.Path,
    data: str = "",
    budget: str = "",
    *,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
) -> None:
    """Carries out what is not done yet of Table 4; writes and prints the table.

    Args:
      workdir: the folder of it all; made if need be.
      data: folder of the development set; "" for the procedural one.
      budget: a key of `configs/budgets.py`; "" for "full" with data, else "smoke".
      overrides: "--config.synthesis.FIELD=VALUE" each. `most_tries` may change from call to
        call, the others while there are no clips.
      dry_run: print the commands, one line for a shell per job, and do nothing.

    Raises:
      InputError: there is no such budget, the folder belongs to something else, or a command
        says that its input is wrong.
      RunsFailed: some stages have failed; the others are done.
      Stopped: by a signal; the command that was under way as well.
    """
    budget = budget or ("full" if data else "smoke")
    stages = plan(workdir, data, budget, overrides)
    if dry_run:
        for job in _jobs_left(stages, workdir, procedural=not data):
            print(job)
        return
    content = _read_data(stages) if data else "procedural"  # before there is a folder
    with hold(workdir):
        write_whole(workdir / table4.RECORD, _record(workdir, budget, content, stages))
        if not data:
            write_synthetic_dataset(workdir / "data", **_EMBEDDED)
        with only_caller(workdir) as lock:
            failures = _carry_out(stages, budget, workdir, lock)
        table = write_table(workdir, budget, {stage.name: stage.config for stage in stages})
        page = render_page(table, comparison=(workdir / COMPARISON).exists())
        write_whole(workdir / "report.html", page)
    if wrong := [failure.said for failure in failures.values() if failure.status == 2]:
        raise InputError(wrong[0])
    print(render_terminal(table))
    print(workdir / "report.html", file=sys.stderr)
    if failures:
        waiting = [name for name, failure in failures.items() if failure.status is None]
        others = f", {', '.join(waiting)} not tried for want of them" if waiting else ""
        raise RunsFailed(
            f"{', '.join(name for name in failures if name not in waiting)} failed{others}; the "
            "same command tries again"
        )


def _carry_out(
    stages: Sequence[Stage], budget: str, workdir: pathlib.Path, lock: TextIO
) -> dict[str, Failure]:
    """What is not done yet, stage by stage; then the comparison, when all is."""
    by_name = {stage.name: stage for stage in stages}

    def lacks(job: Job) -> list[str]:
        (stage,) = job.runs
        return [name for name in stage.needs if not is_done(by_name[name], workdir)]

    todo = [stage for stage in stages if not is_done(stage, workdir)]
    print(
        f"{budget}: {len(stages)} stages, {len(stages) - len(todo)} already done", file=sys.stderr
    )
    provenance.say_other_files([workdir / stage.name for stage in stages if stage not in todo])
    if todo:
        remove(workdir / COMPARISON)  # it is of the rows as they were
    jobs = [as_job(stage, workdir) for stage in todo]
    # Wrong input is so for the stages to come as well.
    failures = carry_out(jobs, workdir, lock, fatal=(2,), lacks=lacks)
    if failures or (workdir / COMPARISON).exists():
        return failures
    return carry_out([_comparison(workdir)], workdir, lock)


def _jobs_left(stages: Sequence[Stage], workdir: pathlib.Path, *, procedural: bool) -> list[Job]:
    """What `reproduce` would carry out, the procedural data and the comparison included."""
    jobs = [as_job(stage, workdir) for stage in stages if not is_done(stage, workdir)]
    if jobs and procedural:
        jobs.insert(0, Job("data", (), (("data", "synth", str(workdir / "data"), *_SYNTH),)))
    if jobs or not (workdir / COMPARISON).exists():
        jobs.append(_comparison(workdir))
    return jobs


def plan(
    workdir: pathlib.Path, data: str, budget: str, overrides: Sequence[str] = ()
) -> list[Stage]:
    """All stages, in the order in which they need one another; arguments as `reproduce`.

    Raises:
      InputError: there is no such budget, it needs data, or a config cannot be.
    """
    if not CONFIGS.is_dir():
        raise InputError("not found; reproduce needs a checkout of the project", path=CONFIGS)
    budgets = call(str(CONFIGS / "budgets.py"), "get_budgets")
    if budget not in budgets:
        raise InputError(f"must be one of {', '.join(budgets)}", field="--budget", value=budget)
    if not data and budget != "smoke":
        raise InputError(
            "needs --data=ROOT, the development set; the procedural set is for --budget=smoke",
            field="--budget",
            value=budget,
        )
    root = {"data.root": data or str(workdir / "data"), **_sets_beside(data)}
    changed = budgets[budget]
    of_gans = changed.get("wavegan", {}) | _of_synthesis(overrides)
    stages = []
    for row in table4.ROWS:
        fields = root | changed.get(row.config, {})
        gans = _gan_stages(workdir, stages, of_gans) if row.augmented else []
        if gans:
            fields |= {"synthetic.root": str(workdir / "synthetic")}
        needs = tuple(gan.name for gan in gans)
        stages += [*gans, _stage(row.config, row.config, fields, needs)]
    return stages


def _of_synthesis(overrides: Sequence[str]) -> dict[str, str]:
    """The fields that a call may set: those by which clips are screened."""
    fields = {}
    for word in overrides:
        field, (_, equals, value) = field_of(word), word.partition("=")
        if not (field.startswith("synthesis.") and equals):
            raise InputError(
                "reproduce takes only --config.synthesis.FIELD=VALUE; change a file of "
                "configs/, with another --workdir",
                field=f"--config.{field}",
            )
        fields[field] = value
    return fields


def _gan_stages(
    workdir: pathlib.Path, before: list[Stage], fields: Mapping[str, object]
) -> list[Stage]:
    """A stage for each fold of the classifier among those before, or one where `gan.fold` is 0."""
    (classifier,) = (stage for stage in before if stage.name == table4.SCREENED_BY)
    fields = {"gan.classifier": str(workdir / classifier.name), **fields}
    folds = range(1, classifier.config.folds.n_folds + 1)
    needs = (classifier.name,)
    if "gan.fold" in fields:
        return [_stage("gan/all", "wavegan", fields, needs)]
    return [
        _stage(f"gan/fold{fold}", "wavegan", fields | {"gan.fold": fold}, needs) for fold in folds
    ]


def _stage(name: str, config: str, fields: Mapping[str, object], needs: tuple[str, ...]) -> Stage:
    path = CONFIGS / f"{config}.py"
    if path.is_relative_to(pathlib.Path.cwd()):
        path = path.relative_to(pathlib.Path.cwd())  # as one would type it
    checked = load_config(str(path), as_overrides(fields), check=check_any_config)
    return Stage(name, path, fields, checked, needs)


def _sets_beside(data: str) -> dict[str, str]:
    """The leaderboard and the evaluation set, where they lie beside the development set."""
    root = pathlib.Path(data)
    if "development" not in root.name:
        return {}
    places = {
        field: root.with_name(root.name.replace("development", name))
        for field, name in _BESIDE.items()
    }
    return {field: str(place) for field, place in places.items() if place.is_dir()}


def _read_data(stages: list[Stage]) -> str:
    """What the data is; refuses what a row cannot use, as its command would."""
    for stage in stages:
        if not stage.of_gan:
            try:
                dataset, _, _ = read_data(stage.config)
            except InputError as error:
                what = str(error).removesuffix(f"; {error.hint}")  # which is of the row's config
                raise InputError(
                    f"cannot be used for the row {stage.name} ({what}); use a larger set, or "
                    "another --budget",
                    field="--data",
                ) from None
    return of_dataset(dataset)


def as_job(stage: Stage, workdir: pathlib.Path) -> Job:
    """The commands of a stage."""
    place = f"--workdir={workdir / stage.name}"
    config = (f"--config={stage.path}", place, *as_overrides(stage.fields))
    if stage.of_gan:
        synthesize = ("synthesize", place, f"--out={workdir / 'synthetic'}")
        return Job(stage.name, (stage,), (("gan", *config), synthesize))
    return Job(stage.name, (stage,), (("train", *config), ("evaluate", place)))


def _comparison(workdir: pathlib.Path) -> Job:
    """The page of those rows that are scored on the same clips: all but the baseline's."""
    rows = [str(workdir / row.config) for row in table4.ROWS if row.config != "baseline"]
    reference = f"--reference={workdir / table4.SCREENED_BY}"
    return Job("comparison", (), (("report", *rows, reference, f"--out={workdir / COMPARISON}"),))


def is_done(stage: Stage, workdir: pathlib.Path) -> bool:
    """Whether a row is scored, or a fold has its clips."""
    folder, config = workdir / stage.name, stage.config
    if stage.of_gan:
        return is_synthesized(folder, workdir / "synthetic", config.synthesis.n_clips)
    return is_scored(folder, config.train.epochs, sets_beside(config))


def _record(workdir: pathlib.Path, budget: str, data: str, stages: list[Stage]) -> str:
    """What `reproduce.json` is to hold.

    Raises:
      InputError: the folder is not empty and no reproduction's, or another's.
    """
    fixed = {
        f"{stage.name}: {field}": value
        for stage in stages
        for field, value in flatten(stage.config).items()
        if field not in FREE_OF_SEVERAL
    }
    ours = {"format": config_format.FORMAT, "budget": budget, "data": data, **fixed}
    ours = json.loads(json.dumps(ours))  # as it is read back
    path = workdir / table4.RECORD
    if path.exists():
        _refuse_another(workdir, _read_record(path, stages), ours)
    else:
        refuse_files(workdir, "reproduction's folder")
    return json.dumps(ours, indent=1, allow_nan=False) + "\n"


def _refuse_another(workdir: pathlib.Path, theirs: Mapping, ours: Mapping) -> None:
    """Checks that a reproduction is resumed as it was started.

    How clips are screened may change while there are none; how many are tried changes no clip.
    """

    def part(record: Mapping, *, screening: bool) -> dict:
        kept = {name: v for name, v in record.items() if not name.endswith(": " + _TRIES)}
        return {name: v for name, v in kept.items() if (": synthesis." in name) == screening}

    kind = "reproduction"
    refuse_another(workdir, kind, *(part(one, screening=False) for one in (theirs, ours)))
    clips = workdir / "synthetic"
    begun = any((workdir / r.config / "config.json").exists() for r in table4.ROWS if r.augmented)
    if not (begun or (clips / "config.json").exists()):
        return
    there, now = (part(one, screening=True) for one in (theirs, ours))
    changed = {name: value for name, value in there.items() if now.get(name) != value}
    fields = {name.partition(": ")[2]: value for name, value in changed.items()}
    of_shell = {f: tuple(v) if isinstance(v, list) else v for f, v in fields.items()}
    mend = f"add {shlex.join(as_overrides(of_shell))} to the command" if fields else "leave it out"
    if not begun:
        mend += f"; or delete {clips} to have all clips made anew"
    refuse_another(workdir, kind, there, now, mend=mend)


def _read_record(path: pathlib.Path, stages: Sequence[Stage]) -> dict:
    """The record as it would be written now, of the same stages."""
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
        theirs = dict(record.items())
    except (OSError, ValueError, AttributeError):
        raise InputError("cannot be read; restore it from a backup", path=path) from None
    number = refuse_newer(theirs.get("format", 1), str(path))
    for stage in stages:
        kind = {f: v for f, v in flatten(stage.config).items() if f in ("gan.loss", "model.name")}
        for field, value in missing_fields(kind, number).items():
            if field not in FREE_OF_SEVERAL:
                theirs.setdefault(f"{stage.name}: {field}", value)
    return json.loads(json.dumps(theirs | {"format": config_format.FORMAT}))
