"""The commands. Each imports the code that does its work only when it is called.

Exit status: 0 done; 2 wrong input (one line that names it and says what to do); 75 stopped by a
signal, or because a process of the run is lost or a server does not answer (the same command
resumes); 1 anything else. `serve` can only be ended by a signal and then ends with 0. A standard
output that cannot be written stops no command, see `asc_jax.runtime.output`.
"""

import contextlib
import os
import pathlib
import shlex
import sys
import traceback
from collections.abc import Sequence

from asc_jax.flags import build_parser, parse
from asc_jax.parallel import hosts
from asc_jax.runtime import environment
from asc_jax.runtime.errors import STOPPED, Diverged, InputError, RunsFailed, Stopped, visible
from asc_jax.runtime.interruption import Interruptible


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns its exit status."""
    if not (sys.argv[1:] if argv is None else argv):
        build_parser().print_help(sys.stderr)
        return 2
    try:
        with Interruptible():
            return _status(argv)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; run the same command to resume", file=sys.stderr)
        hosts.leave(STOPPED)
    return STOPPED


def _status(argv: Sequence[str] | None) -> int:
    """Carries out a command; returns its exit status, unless a signal stops it."""
    place = None
    try:
        args = parse(argv)
        place = hosts.read_place(os.environ)
        if place and not hasattr(args, "on_several_processes"):
            raise InputError(
                "only train and gan run on several processes; start this command by itself",
                field=hosts.COORDINATOR,
                value=place.coordinator,
            )
        args.place = place
        COMMANDS[args.command](args)
    except InputError as error:
        if not hosts.says_the_same(place):
            print(error, file=sys.stderr)
        hosts.leave(2)
        return 2
    except Stopped:
        raise
    except (Diverged, RunsFailed) as error:
        print(error, file=sys.stderr)
        hosts.leave(1)
        return 1
    except Exception as error:
        lost = hosts.lost_peer(error)
        if hosts.joined():  # it leaves at once, and what is taken for a loss may be something else
            traceback.print_exc()
        if lost:
            print(lost, file=sys.stderr)
        hosts.leave(STOPPED if lost else 1)
        raise
    return 0


def _start_jax() -> None:
    """Keeps compiled programs between runs, unless JAX is told otherwise, and orbax quiet."""
    import logging

    environment.import_jax()
    import jax

    from asc_jax.data.cache import default_cache_dir

    if jax.config.jax_compilation_cache_dir is None:
        with contextlib.suppress(InputError):  # no home: slower, but as right
            jax.config.update("jax_compilation_cache_dir", str(default_cache_dir() / "xla"))
    # What these log as errors is raised as well; a save that has failed also leaves threads
    # that call what is closed by then.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.unraisablehook = _say_unraisable


def _say_unraisable(unraisable) -> None:
    """Says what nobody could be given, but for what is said elsewhere or raised again."""
    error = unraisable.exc_value
    if not (isinstance(error, KeyboardInterrupt) or "Event loop is closed" in str(error)):
        sys.__unraisablehook__(unraisable)


def data_synth(args) -> None:
    from asc_jax.data.procedural import write_synthetic_dataset

    root = write_synthetic_dataset(
        args.root,
        seed=args.seed,
        locations_per_scene=args.locations,
        clips_per_location=args.clips,
        clip_seconds=args.seconds,
    )
    print(root)


def data_check(args) -> None:
    import json

    from asc_jax.data.check import check_dataset
    from asc_jax.report.dataset import KICKER, render, write_page
    from asc_jax.report.rendering import refuse_other_page

    if args.page:
        refuse_other_page(args.page, KICKER)
    try:
        found = check_dataset(args.root, argument="FOLDER")
    except InputError as error:
        if args.json:
            print(json.dumps({"root": str(args.root), "faults": [str(error)]}, indent=1))
        raise
    print(json.dumps(found, indent=1) if args.json else render(found))
    if args.page:
        write_page(args.page, found)
        print(args.page, file=sys.stderr)
    if found["faults"]:
        raise InputError("\n".join(found["faults"]))


def data_import(args) -> None:
    from asc_jax.data.importing import import_dataset
    from asc_jax.report.formatting import size

    made = import_dataset(args.source, args.root, identifier=args.identifier, link=args.link)
    counted = size(len(made.clips), len({clip.location for clip in made.clips}))
    _say_next(f"{args.root}: {counted}, {len(made.scene_labels)} classes", "data check", args.root)


def data_download(args) -> None:
    from asc_jax.data.download import accept_licence, download
    from asc_jax.data.zenodo import RECORDS

    accept_licence(args.accept_license)
    download(RECORDS[args.set], args.root, args.archives)
    _say_next(f"{args.root}: the {args.set} set is complete", "data check", args.root)


def train_command(args) -> None:
    environment.import_jax()
    from asc_jax.config.load import load_config

    config = load_config(args.config, args.overrides)
    runs = args.run or [[f"seed{seed}", f"seed={seed}"] for seed in args.seeds]
    _start_jax()
    hosts.join(args.place)
    environment.start_devices()
    how = {"profile": args.profile, "other_functions": args.other_functions}
    if runs:
        from asc_jax.experiments.together import load_runs, train_together

        configs = load_runs(config, args.config, runs)
        train_together(config, args.config, configs, args.workdir, **how)
    else:
        from asc_jax.train.loop import train

        train(config, args.workdir, **how)
    if hosts.is_first():
        scored = config.folds.kind != "all" or config.folds.test_fold
        command = "evaluate" if scored else "predict"
        for folder in [args.workdir / name for name, *_ in runs] or [args.workdir]:
            _say_next(f"{folder}: trained, train.epochs={config.train.epochs}", command, folder)


def _say_next(done: str, command: str, folder: pathlib.Path) -> None:
    """Says what is done, and the command that comes next."""
    place = shlex.quote(str(folder))
    words = {"evaluate": f"--workdir={place}", "predict": f"{place} FILE"}.get(command, place)
    print(f"{done}\nnext: asc-jax {command} {words}")


def gan_command(args) -> None:
    environment.import_jax()
    from asc_jax.config.load import check_gan_config, load_config

    config = load_config(args.config, args.overrides, check=check_gan_config)
    _start_jax()
    hosts.join(args.place)
    environment.start_devices()
    from asc_jax.gan.loop import train
    from asc_jax.report.gan.page import write_gan_page

    def show() -> None:
        if hosts.is_first() and (page := write_gan_page(args.workdir)):
            print(page, file=sys.stderr)

    try:
        train(config, args.workdir, other_functions=args.other_functions)
    except (Stopped, Diverged):  # what there is can be listened to
        show()
        raise
    show()


def synthesize_command(args) -> None:
    _start_jax()
    environment.start_devices()
    from asc_jax.gan.synthesize import synthesize
    from asc_jax.report.formatting import count

    overrides = list(args.overrides)
    if args.classifier:
        overrides.append(f"--config.gan.classifier={args.classifier}")
    yields, separable = synthesize(
        args.workdir, args.out, overrides, other_functions=args.other_functions
    )
    for scene in yields:
        share = scene.kept / scene.tried if scene.tried else 1
        kept = count(scene.kept, "clip", " ")
        print(f"{scene.name}: {kept}, {share:.0%} of those generated")
    print(
        "By their high band alone, these clips can be told from recordings with an "
        f"area under the ROC curve of {separable:.2f} (0.5: not at all, 1: always)."
    )
    print(args.out / "manifest.jsonl")


def summary_command(args) -> None:
    _start_jax()
    environment.start_devices()
    from asc_jax.config.load import load_config
    from asc_jax.models.summary import render, summarise
    from asc_jax.runs.inputs import input_shape, make_network
    from asc_jax.runtime.functions import mistake

    config = load_config(args.config, args.overrides)
    network, place = make_network(config, 10), config.model.name.rpartition(":")[0]
    try:
        summary = summarise(network, *input_shape(config))
    except Exception as error:
        if not place:
            raise
        raise mistake(error, place, field="model.name") from error
    print(render(summary, args.depth))


def config_command(args) -> None:
    environment.import_jax()
    from asc_jax.config.listing import render
    from asc_jax.config.load import load_config
    from asc_jax.config.overrides import field_of

    file = args.config or args.file or "default"
    config = load_config(file, args.overrides, check=lambda *_: None)
    print(render(config, file, list(map(field_of, args.overrides))), end="")


def sweep_command(args) -> None:
    environment.import_jax()
    from asc_jax.config.ablation import load_ablation
    from asc_jax.experiments.sweep import sweep

    how = {"base": args.base or "", "overrides": args.overrides}
    ablation = load_ablation(args.config, **how)
    if ablation.base.train.precision == "auto" and not args.dry_run:
        # All runs have the same precision, also those that another machine resumes.
        how["overrides"].append(f"--config.train.precision={environment.precision_of_devices()}")
        ablation = load_ablation(args.config, **how)
    sweep(ablation, args.workdir, args.seeds, together=args.together, dry_run=args.dry_run)
    if not (args.dry_run or ablation.of_gan):
        _say_next(f"{args.workdir}: all runs are done", "report", args.workdir)


def reproduce_command(args) -> None:
    environment.import_jax()
    from asc_jax.data.clips import read_tables
    from asc_jax.experiments.reproduce import reproduce

    if args.data and not args.dry_run:
        read_tables(args.data, argument="--data")  # whose complaints name the flag
    reproduce(
        args.workdir,
        args.data or "",
        args.budget or "",
        overrides=args.overrides,
        dry_run=args.dry_run,
    )


def report_command(args) -> None:
    from asc_jax.report.comparison import export
    from asc_jax.report.comparison.page import refuse_other_file, write_comparison
    from asc_jax.report.comparison.results import compare_runs

    if args.out:
        refuse_other_file(args.out)
    results = compare_runs(
        args.runs,
        reference=args.reference or "",
        list_name=args.list or "",
        kinds=args.ensemble,
        correction={"bh": "benjamini_hochberg"}.get(args.correction, args.correction),
        finished_only=args.finished_only,
    )
    try:
        if args.out or not args.format:
            print(write_comparison(results, args.out), file=sys.stderr)
    finally:  # a page that cannot be written costs no table
        print(export.FORMATS[args.format or "markdown"](results), end="")


def evaluate_command(args) -> None:
    _start_jax()
    environment.start_devices()
    from asc_jax.report.page import write_page
    from asc_jax.report.terminal import render
    from asc_jax.runs.own_functions import trust
    from asc_jax.runs.sweep_record import run_folders
    from asc_jax.scoring.evaluate import evaluate

    folders = run_folders(args.workdir)
    for workdir in folders:
        if args.trust:
            trust(workdir)
        report = evaluate(workdir, args.data, args.overrides, other_functions=args.other_functions)
        try:
            page = write_page(workdir)
        finally:  # a page that cannot be written costs no scores
            if len(folders) > 1:
                print(f"{workdir}:\n")
            print(render(report))
        print(page, file=sys.stderr)


def predict_command(args) -> None:
    _start_jax()
    environment.start_devices()
    from asc_jax.inference import recordings
    from asc_jax.inference.exported import load
    from asc_jax.inference.shipped import find
    from asc_jax.inference.tables import refuse_overwriting, tell

    place, places = find(args.model), recordings.find(args.places)
    refuse_overwriting(args.csv, args.json, places, place)
    model = load(place, fold=args.fold, other_functions=args.other_functions)
    about = model.card.get("about")
    if about:
        known = f"trained on {about['data']}; accuracy: {about['accuracy']}"
        print(f"{args.model}: {visible(known)}", file=sys.stderr)
    said = model.predict_all(recordings.read(places), window=args.window, hop=args.hop)
    shown = {"top": args.top, "windows": args.windows, "form": args.submission}
    tell(said, len(places), csv=args.csv, json=args.json, about=about, **shown)


def models_command(args) -> None:
    from asc_jax.inference.card import render
    from asc_jax.inference.shipped import read_cards

    for name, card in read_cards().items():
        seconds = card["n_samples"] / card["sampling_rate"]
        print(f"{name}: windows of {seconds:g} s; {', '.join(card['labels'])}")
        print(render(card["about"]))


def export_command(args) -> None:
    _start_jax()
    environment.start_devices()
    from asc_jax.inference.card import read_card
    from asc_jax.inference.export import describe, export
    from asc_jax.inference.model import load
    from asc_jax.report.page import read_report

    about = read_card(args.card) if args.card else None
    model = load(args.model, fold=args.fold, other_functions=args.other_functions)
    path = args.model / "report.json"
    report = read_report(path) if path.exists() else None
    export(model, args.out, describe(model, report, about), half=args.half)
    print(args.out)


def serve_command(args) -> None:
    _start_jax()
    environment.start_devices()
    from asc_jax.inference.shipped import find
    from asc_jax.serve.server import serve

    serve(find(args.model), args.port, other_functions=args.other_functions)


COMMANDS = {
    "synth": data_synth,
    "check": data_check,
    "import": data_import,
    "download": data_download,
    "train": train_command,
    "gan": gan_command,
    "synthesize": synthesize_command,
    "summary": summary_command,
    "config": config_command,
    "evaluate": evaluate_command,
    "predict": predict_command,
    "models": models_command,
    "export": export_command,
    "serve": serve_command,
    "sweep": sweep_command,
    "reproduce": reproduce_command,
    "report": report_command,
}
