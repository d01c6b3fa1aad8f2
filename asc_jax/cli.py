"""The commands. Flags only: the work is done elsewhere, imported when it is needed.

Exit status: 0 done; 2 the input is wrong (one line that names it and the mend); 75 stopped
by a signal, or because another process of the run is lost (the same command goes on); 1
anything else.
"""

import argparse
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Sequence

from asc_jax import hosts
from asc_jax.errors import STOPPED, Diverged, InputError, RunsFailed, Stopped


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns its exit status."""
    parser = build_parser()
    args, overrides = parser.parse_known_args(argv)
    wrong = [
        word
        for word in overrides
        if not (hasattr(args, "takes_overrides") and word.startswith("--config.") and "=" in word)
    ]
    if wrong:
        hint = "; write --config.FIELD=VALUE" if hasattr(args, "takes_overrides") else ""
        print(f"asc-jax: {' '.join(wrong)}: not understood{hint}", file=sys.stderr)
        return 2
    args.overrides = overrides
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        place = hosts.read_place(os.environ)
        if place and not hasattr(args, "on_several_processes"):
            raise InputError(
                f"{hosts.COORDINATOR}={place.coordinator}: only train and gan run on several "
                "processes; start this command by itself"
            )
        args.place = place
        args.command(args)
    except InputError as error:
        print(error, file=sys.stderr)
        hosts.leave(2)
        return 2
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        print("stopped; run the same command to go on", file=sys.stderr)
        hosts.leave(STOPPED)
        return STOPPED
    except BrokenPipeError:  # the reader of a pipe has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Diverged, RunsFailed) as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:
        lost = hosts.lost_peer(error)
        if lost:
            print(lost, file=sys.stderr)
        elif hosts.joined():
            traceback.print_exc()
        hosts.leave(STOPPED if lost else 1)
        raise
    return 0


def _interrupt(*_):
    raise KeyboardInterrupt


def build_parser() -> argparse.ArgumentParser:
    """The commands and their flags."""
    parser = argparse.ArgumentParser(
        prog="asc-jax", description="Acoustic scene classification in JAX.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command, help: str, to=commands) -> argparse.ArgumentParser:
        sub = to.add_parser(name, help=help, description=help, allow_abbrev=False)
        sub.set_defaults(command=command)
        return sub

    data = commands.add_parser("data", help="prepare and check data sets", allow_abbrev=False)
    data_commands = data.add_subparsers(required=True, metavar="COMMAND")
    synth = add("synth", data_synth, "write a small procedural data set", data_commands)
    synth.add_argument("root", type=pathlib.Path, metavar="FOLDER", help="where to write it")
    synth.add_argument("--seed", type=int, default=0)
    synth.add_argument("--locations", type=int, default=7, help="locations per scene (7)")
    synth.add_argument("--clips", type=int, default=3, help="clips per location (3)")
    synth.add_argument("--seconds", type=float, default=4.0, help="length of a clip (4)")
    check = add("check", data_check, "read a data set and decode all of it", data_commands)
    check.add_argument("root", type=pathlib.Path, metavar="FOLDER")

    train = add("train", train_command, "train the fold models of a config, or go on with them")
    _add_config(train)
    _add_workdir(train)
    train.set_defaults(on_several_processes=True)
    train.add_argument(
        "--profile", action="store_true", help="first trace some steps into FOLDER/profile"
    )
    train.add_argument(
        "--seeds",
        default="",
        metavar="N,N",
        help="train a run per seed in one program, each into a folder FOLDER/seedN",
    )
    gan = add("gan", gan_command, "train WaveGANs on a classifier's training clips")
    _add_config(gan)
    _add_workdir(gan)
    gan.set_defaults(on_several_processes=True)
    synthesize = add("synthesize", synthesize_command, "write screened clips of trained WaveGANs")
    _add_workdir(synthesize)
    synthesize.add_argument(
        "--classifier",
        metavar="FOLDER",
        help="the classifier's run folder, if it is not where the GAN's config says",
    )
    synthesize.add_argument(
        "--out", required=True, type=pathlib.Path, metavar="FOLDER", help="where to write them"
    )
    synthesize.set_defaults(takes_overrides=True)
    summary = add("summary", summary_command, "layers, parameters, MACs and receptive field")
    _add_config(summary)
    evaluate = add("evaluate", evaluate_command, "score a run; write its report and submissions")
    _add_workdir(evaluate)
    evaluate.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a further data set to score or to write submissions for; may be repeated",
    )
    sweep = add("sweep", sweep_command, "run every setting of an ablation with every seed")
    _add_config(sweep)
    _add_workdir(sweep)
    sweep.add_argument(
        "--base", default="", metavar="FILE", help="a config to change, in place of FILE's own"
    )
    sweep.add_argument("--seeds", default="", metavar="N,N", help="the base's own by default")
    sweep.add_argument(
        "--together", action="store_true", help="all seeds of a setting in one program"
    )
    sweep.add_argument("--dry_run", action="store_true", help="print the commands, one per line")
    reproduce = add("reproduce", reproduce_command, "carry out the report's Table 4, row by row")
    _add_workdir(reproduce)
    reproduce.add_argument(
        "--data", default="", metavar="FOLDER", help="the development set; a procedural one else"
    )
    reproduce.add_argument(
        "--budget",
        default="",
        metavar="NAME",
        help="smoke, short or full: see configs/budgets.py (full with --data, else smoke)",
    )
    reproduce.add_argument(
        "--dry_run", action="store_true", help="print the commands that are left"
    )
    _add_report(add("report", report_command, "compare runs: a table, and a page of it"))
    return parser


def _add_report(report: argparse.ArgumentParser) -> None:
    add = report.add_argument
    folders = "run folders, or a sweep's folder"
    add("runs", nargs="+", type=pathlib.Path, metavar="RUN", help=folders)
    base = "what the others are compared with (a sweep's base, else the first run)"
    add("--reference", default="", metavar="RUN", help=base)
    place = "the page (report.html in the sweep's folder, else in the current one)"
    add("--out", type=pathlib.Path, metavar="FILE.html", help=place)
    add("--list", default="", metavar="NAME", help="the clips (test, else out_of_fold)")
    kinds = ("mean_logits", "mean_probabilities", "weighted", "greedy")
    blend = "add an ensemble of all runs; may be repeated"
    add("--ensemble", action="append", default=[], choices=kinds, help=blend)
    many = "of p for many comparisons: Holm's (the default), Benjamini and Hochberg's"
    add("--correction", default="holm", choices=("holm", "bh"), help=many)
    add("--finished_only", action="store_true", help="leave out a sweep's unfinished runs")
    for name in ("markdown", "csv", "json"):
        form = f"print the table as {name}; a page is then written only with --out"
        add(f"--{name}", dest="format", action="store_const", const=name, help=form)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="a config file; --config.FIELD=VALUE overrides its fields",
    )
    parser.set_defaults(takes_overrides=True)


def _add_workdir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workdir", required=True, type=pathlib.Path, metavar="FOLDER", help="the run folder"
    )


def _seeds(args) -> tuple[int, ...]:
    """The seeds of "0,1,2"; none of ""."""
    words = [word.strip() for word in args.seeds.split(",")] if args.seeds else []
    if not all(word.isdecimal() for word in words) or len(set(words)) < len(words):
        raise InputError(f"--seeds={args.seeds}: must be different whole numbers, as in 0,1,2")
    return tuple(map(int, words))


def _start_jax() -> None:
    """Keeps compiled programs between runs, unless JAX is told otherwise, and orbax quiet."""
    import logging

    import jax

    from asc_jax.data.cache import default_cache_dir

    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(default_cache_dir() / "xla"))
    # What these log as errors is raised as well; a save that has failed also leaves threads
    # that call what is closed by then.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.unraisablehook = _ignore_closed_loops


def _ignore_closed_loops(unraisable) -> None:
    if "Event loop is closed" not in str(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)


def data_synth(args) -> None:
    from asc_jax.data.synth import write_synthetic_dataset

    root = write_synthetic_dataset(
        args.root,
        seed=args.seed,
        locations_per_scene=args.locations,
        clips_per_location=args.clips,
        clip_seconds=args.seconds,
    )
    print(root)


def data_check(args) -> None:
    from asc_jax.data.check import check_dataset

    print(check_dataset(args.root))


def train_command(args) -> None:
    from asc_jax.config import load_config

    config = load_config(args.config, args.overrides)
    seeds = _seeds(args)
    _start_jax()
    hosts.join(args.place)
    if seeds:
        from asc_jax.train.together import train_together

        train_together(config, args.workdir, seeds, profile=args.profile)
    else:
        from asc_jax.train.loop import train

        train(config, args.workdir, profile=args.profile)


def gan_command(args) -> None:
    from asc_jax.config import check_gan_config, load_config

    config = load_config(args.config, args.overrides, check=check_gan_config)
    _start_jax()
    hosts.join(args.place)
    from asc_jax.report.gan_page import write_gan_page
    from asc_jax.train.gan_loop import train

    train(config, args.workdir)
    if hosts.is_first() and (page := write_gan_page(args.workdir)):
        print(page, file=sys.stderr)


def synthesize_command(args) -> None:
    _start_jax()
    from asc_jax.synthesize import synthesize

    overrides = list(args.overrides)
    if args.classifier:
        overrides.append(f"--config.gan.classifier={args.classifier}")
    yields, separable = synthesize(args.workdir, args.out, overrides)
    for scene in yields:
        share = scene.kept / scene.tried if scene.tried else 1
        print(f"{scene.name}: {scene.kept} clips, {share:.0%} of those generated")
    print(
        f"The high band alone tells them from recordings with an area under the ROC curve of "
        f"{separable:.2f} (0.5: not at all, 1: always)."
    )
    print(args.out / "manifest.jsonl")


def summary_command(args) -> None:
    from asc_jax import run
    from asc_jax.config import load_config
    from asc_jax.models.summary import render, summarise

    config = load_config(args.config, args.overrides)
    print(render(summarise(run.make_network(config, 10), *run.input_shape(config))))


def sweep_command(args) -> None:
    from asc_jax.ablation import load_ablation
    from asc_jax.sweep import sweep

    ablation = load_ablation(args.config, base=args.base, overrides=args.overrides)
    sweep(ablation, args.workdir, _seeds(args), together=args.together, dry_run=args.dry_run)


def reproduce_command(args) -> None:
    from asc_jax.reproduce import reproduce

    reproduce(args.workdir, args.data, args.budget, dry_run=args.dry_run)


def report_command(args) -> None:
    from asc_jax.report.runs import export
    from asc_jax.report.runs.page import write_comparison
    from asc_jax.report.runs.results import compare_runs

    results = compare_runs(
        args.runs,
        reference=args.reference,
        list_name=args.list,
        kinds=args.ensemble,
        correction={"bh": "benjamini_hochberg"}.get(args.correction, args.correction),
        finished_only=args.finished_only,
    )
    if args.out or not args.format:
        print(write_comparison(results, args.out), file=sys.stderr)
    print(export.FORMATS[args.format or "markdown"](results), end="")


def evaluate_command(args) -> None:
    _start_jax()
    from asc_jax.evaluate import evaluate
    from asc_jax.report.page import write_page
    from asc_jax.report.terminal import render

    print(render(evaluate(args.workdir, args.data)))
    print(write_page(args.workdir), file=sys.stderr)
