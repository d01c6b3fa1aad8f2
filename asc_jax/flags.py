"""The flags of the commands."""

import argparse
import pathlib
import re
from collections.abc import Sequence

from asc_jax import __version__
from asc_jax.config.overrides import field_of
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.paths import expand

_LARGEST_SEED = 2**32 - 1  # as a config's field takes it


class _Parser(argparse.ArgumentParser):
    """A parser that raises its complaints, a line each."""

    def error(self, message: str):
        if message.startswith("argument "):
            flag, _, problem = message.removeprefix("argument ").partition(": ")
            raise InputError(problem, field=flag)
        raise InputError(f"{message}; see {self.prog} --help")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses a command line.

    Args:
      argv: its words; the process's own if None.

    Returns:
      The flags, and `overrides` of a config's fields: "--config.FIELD=VALUE" each, also where the
      value was the next word; "--config.FIELD" or "--noconfig.FIELD" of True or False.

    Raises:
      InputError: naming a flag that is wrong, or words that belong to none.
      SystemExit: after --help.
    """
    parser = build_parser()
    args, words = parser.parse_known_args(argv)
    args.overrides, others = [], []
    for word in words:
        if hasattr(args, "takes_overrides") and re.match(r"--?(no)?config\.", word):
            args.overrides.append(word)
        elif args.overrides and "=" not in args.overrides[-1] and not word.startswith("--"):
            args.overrides[-1] += f"={word}"
        else:
            others.append(word)
    if others:
        parser.error(f"{' '.join(others)}: not understood")
    if getattr(args, "seeds", ()) and "seed" in map(field_of, args.overrides):
        raise InputError("both give seeds; leave one of them out", field="--seeds, --config.seed")
    return args


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of all flags; its answers name the `command`."""
    parser = _Parser(
        prog="asc-jax", description="Acoustic scene classification in JAX.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"asc-jax {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data = commands.add_parser("data", help="prepare and check data sets", allow_abbrev=False)
    _data(data.add_subparsers(required=True, metavar="{download,import,check,synth}"))
    _train(_training(commands, "train", "train the fold models of a config, or go on with them"))
    _training(commands, "gan", "train WaveGANs on a classifier's training clips")
    _synthesize(commands)
    _summary(_command(commands, "summary", "layers, parameters, MACs and receptive field"))
    config = _command(
        commands, "config", "print a config with all its fields", takes_overrides=True
    )
    config.add_argument(
        "file",
        nargs="?",
        type=_expanded,
        metavar="FILE",
        help="its file, or the name of one of ours (default), with --config.FIELD=VALUE for fields "
        "to change; the output is a file to begin with",
    )
    config.add_argument("--config", type=_expanded, metavar="FILE", help="the same")
    _command(commands, "models", "the models that come with the package, and what to know of them")
    for add in (_evaluate, _predict, _export, _serve, _sweep, _reproduce, _report):
        add(commands)
    return parser


def _command(commands, name: str, help: str, **defaults) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
    parser.set_defaults(command=name, **defaults)
    return parser


def _training(commands, name: str, help: str) -> argparse.ArgumentParser:
    training = _command(commands, name, help, on_several_processes=True)
    _config(training)
    _workdir(training)
    _other_functions(training)
    return training


def _summary(summary: argparse.ArgumentParser) -> None:
    _config(summary)
    summary.add_argument(
        "--depth",
        type=_count,
        metavar="N",
        help="print modules at most N deep, with all that is within them; for a row per residual "
        "block: asc-jax summary --config=small --depth=1",
    )


def _data(commands) -> None:
    download = _command(
        commands, "download", "download TUT Urban Acoustic Scenes 2018, or what is missing of it"
    )
    download.add_argument(
        "--set",
        default="development",
        choices=("development", "leaderboard", "evaluation"),
        help="21.4, 3.0 or 8.9 GB, which unpack to 24.9, 3.5 or 10.4 GB (development)",
    )
    download.add_argument(
        "--root", required=True, type=_path, metavar="FOLDER", help="where to unpack it"
    )
    download.add_argument(
        "--archives",
        type=_path,
        metavar="FOLDER",
        help="where its zip archives lie, or go, and stay (without it each is deleted once it is "
        "unpacked)",
    )
    download.add_argument(
        "--accept_license",
        "--accept-license",
        action="store_true",
        help="accept the licence of the data: no commercial use",
    )
    synth = _command(commands, "synth", "write a small procedural data set")
    synth.add_argument("root", type=_path, metavar="FOLDER", help="where to write it")
    synth.add_argument("--seed", type=int, default=0)
    synth.add_argument("--locations", type=int, default=7, help="locations per scene (7)")
    synth.add_argument("--clips", type=int, default=3, help="clips per location (3)")
    synth.add_argument("--seconds", type=float, default=4.0, help="length of a clip (4)")
    check = _command(
        commands, "check", "decode all of a data set; say what is in it and what is wrong"
    )
    check.add_argument("root", type=_path, metavar="FOLDER")
    check.add_argument("--json", action="store_true", help="print it as JSON")
    check.add_argument("--page", type=_page, metavar="FILE.html", help="write it as a page, too")
    importing = _command(
        commands, "import", "copy recordings and their labels into the layout of the TUT sets"
    )
    importing.add_argument(
        "source",
        type=_path,
        metavar="SOURCE",
        help="a folder per class, a table of files and labels, ESC-50 or UrbanSound8K as unpacked",
    )
    importing.add_argument("root", type=_path, metavar="FOLDER", help="where to; not there yet")
    importing.add_argument(
        "--identifier",
        type=_expression,
        metavar="REGEX",
        help="searched in each file's path: what its first group, or all of it, finds is the "
        "recording, place or day that the file is of",
    )
    importing.add_argument(
        "--link", action="store_true", help="link to the files instead of copying them"
    )


def _train(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "--profile", action="store_true", help="trace steps into FOLDER/profile first"
    )
    together = train.add_mutually_exclusive_group()
    together.add_argument(
        "--seeds",
        type=_seeds,
        default=(),
        metavar="N,N",
        help="train a run per seed in one program, each into a folder FOLDER/seedN",
    )
    together.add_argument(
        "--run",
        action="append",
        default=[],
        nargs="+",
        metavar=("NAME", "FIELD=VALUE"),
        help="train the run FOLDER/NAME, with fields of its own, in one program with the others "
        "that are named so; FIELD: seed, optimizer.lr, optimizer.weight_decay, "
        "train.label_smoothing or title",
    )


def _synthesize(commands) -> None:
    synthesize = _command(
        commands, "synthesize", "write screened clips of trained WaveGANs", takes_overrides=True
    )
    _workdir(synthesize)
    _other_functions(synthesize)
    synthesize.add_argument(
        "--classifier", type=_expanded, metavar="FOLDER", help="where the classifier's run is now"
    )
    synthesize.add_argument(
        "--out", required=True, type=_path, metavar="FOLDER", help="where to write them"
    )


def _predict(commands) -> None:
    predict = _command(commands, "predict", "say what recordings are, by a trained run")
    predict.add_argument(
        "model",
        type=_expanded,
        metavar="MODEL",
        help="a run folder, what export has made of one, or a name of asc-jax models",
    )
    predict.add_argument(
        "places",
        nargs="+",
        type=lambda text: text if text == "-" else _expanded(text),
        metavar="FILE",
        help="audio files, folders of them, or - for the standard input; of any length",
    )
    predict.add_argument(
        "--window", type=_seconds, default=0.0, metavar="S", help="seconds (what it heard at once)"
    )
    predict.add_argument(
        "--hop", type=_seconds, default=0.0, metavar="S", help="from window to window (--window)"
    )
    predict.add_argument(
        "--fold", type=int, default=0, metavar="N", help="one fold's model (the ensemble of all)"
    )
    predict.add_argument("--top", type=_count, default=3, metavar="N", help="classes shown (3)")
    predict.add_argument("--csv", type=_path, metavar="FILE", help="all probabilities as a table")
    predict.add_argument("--json", type=_path, metavar="FILE", help="the same as JSON")
    predict.add_argument(
        "--submission",
        choices=("leaderboard", "dcase"),
        help="print the answers as a challenge takes them",
    )
    _other_functions(predict)


def _export(commands) -> None:
    export = _command(commands, "export", "write a trained run as one file to use elsewhere")
    export.add_argument("model", type=_path, metavar="RUN", help="the run folder")
    export.add_argument(
        "out",
        type=_path,
        metavar="FILE",
        help="NAME.stablehlo, NAME.onnx (asc_jax[onnx]) or NAME.safetensors",
    )
    export.add_argument(
        "--card",
        type=_path,
        metavar="FILE.toml",
        help="what to know of the model, kept in the file: data, licence, accuracy, measured, "
        "date and command",
    )
    export.add_argument(
        "--fold", type=int, default=0, metavar="N", help="one fold's model (the ensemble of all)"
    )
    _other_functions(export)


def _serve(commands) -> None:
    serve = _command(commands, "serve", "a page on this computer that says what recordings are")
    serve.add_argument(
        "model",
        type=_expanded,
        metavar="MODEL",
        help="a run folder, what export has made of one, or a name of asc-jax models",
    )
    serve.add_argument(
        "--port", type=_port, default=8000, metavar="N", help="of 127.0.0.1 (8000; 0: a free one)"
    )
    _other_functions(serve)


def _evaluate(commands) -> None:
    evaluate = _command(
        commands,
        "evaluate",
        "score a run; write its report and submissions; --config.data.FIELD=VALUE says where data "
        "are now",
        takes_overrides=True,
    )
    _workdir(evaluate)
    _other_functions(evaluate)
    evaluate.add_argument(
        "--trust",
        action="store_true",
        help="from now on, run the functions in FOLDER/functions, which came from elsewhere",
    )
    evaluate.add_argument(
        "--data",
        action="append",
        type=_expanded,
        default=[],
        metavar="FOLDER",
        help="a further data set to score or to write submissions for; may be repeated",
    )


def _sweep(commands) -> None:
    sweep = _command(commands, "sweep", "run every setting of an ablation with every seed")
    _config(sweep)
    _workdir(sweep)
    sweep.add_argument(
        "--base", type=_expanded, metavar="FILE", help="a config to change, in place of FILE's own"
    )
    sweep.add_argument(
        "--seeds", type=_seeds, default=(), metavar="N,N", help="else the base's own"
    )
    sweep.add_argument(
        "--together",
        action="store_true",
        help="one program for all runs that differ in seed, learning rate, weight decay and "
        "label smoothing alone",
    )
    _dry_run(sweep)


def _reproduce(commands) -> None:
    reproduce = _command(
        commands,
        "reproduce",
        "carry out the paper's Table 4, row by row, GANs included; --config.synthesis.FIELD=VALUE "
        "changes how clips are screened",
        takes_overrides=True,
    )
    _workdir(reproduce)
    reproduce.add_argument(
        "--data", type=_expanded, metavar="FOLDER", help="the data set, else a procedural one"
    )
    reproduce.add_argument(
        "--budget",
        type=_word,
        metavar="NAME",
        help="smoke: tiny networks, minutes on two cores; short: the paper's networks, a "
        "quarter of the epochs; full: the configs as they are (full with --data, else smoke)",
    )
    _dry_run(reproduce)


def _report(commands) -> None:
    report = _command(commands, "report", "compare runs: a table, and a page of it")
    report.add_argument(
        "runs", nargs="+", type=_path, metavar="RUN", help="run folders, or a sweep's folder"
    )
    report.add_argument(
        "--reference",
        type=_expanded,
        metavar="RUN",
        help="what the others are compared with (a sweep's base, else the first run)",
    )
    report.add_argument(
        "--out",
        type=_page,
        metavar="FILE.html",
        help="the page (report.html in the sweep's folder, else in the current one)",
    )
    report.add_argument(
        "--list", type=_word, metavar="NAME", help="the clips (test, else out_of_fold)"
    )
    report.add_argument(
        "--ensemble",
        action="append",
        default=[],
        choices=("mean_logits", "mean_probabilities", "weighted", "greedy"),
        help="add an ensemble of all runs; may be repeated",
    )
    report.add_argument(
        "--correction",
        default="holm",
        choices=("holm", "bh"),
        help="of p for many comparisons: Holm's (the default), Benjamini and Hochberg's",
    )
    report.add_argument("--finished_only", action="store_true", help="leave out unfinished runs")
    for name in ("markdown", "csv", "json"):
        report.add_argument(
            f"--{name}",
            dest="format",
            action="store_const",
            const=name,
            help=f"print the table as {name}; a page is then written only with --out",
        )


def _seconds(text: str) -> float:
    """A length of time above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: must be a number of seconds above 0")
    return seconds


def _count(text: str) -> int:
    """A number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return int(text)


def _expression(text: str) -> re.Pattern:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text}: is no regular expression ({error})") from None


def _port(text: str) -> int:
    """The number of a port; 0 for any that is free."""
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text}: must be a number from 0 to 65535")
    return int(text)


def _word(text: str) -> str:
    """A word that is there: an empty one is a shell's variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; give it a value, or leave it out")
    return text


def _expanded(text: str) -> str:
    """A path; see `asc_jax.runtime.paths.expand`."""
    try:
        return expand(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}" if text else str(error)) from None


def _path(text: str) -> pathlib.Path:
    return pathlib.Path(_expanded(text))


def _page(text: str) -> pathlib.Path:
    """The file of a page."""
    path = _path(text)
    if path.suffix.lower() not in (".html", ".htm"):
        raise argparse.ArgumentTypeError(
            f"{text}: is where the page goes; end it in .html (a table is printed: > FILE)"
        )
    return path


def _seeds(text: str) -> tuple[int, ...]:
    """The seeds of "0,1,2"."""
    words = text.split(",")
    seeds = dict.fromkeys(int(word) for word in words if re.fullmatch(" *0*[0-9]{1,10} *", word))
    if len(seeds) < len(words) or max(seeds) > _LARGEST_SEED:
        raise argparse.ArgumentTypeError(
            f"{text}: must be different whole numbers up to {_LARGEST_SEED}, as in 0,1,2"
        )
    return tuple(seeds)


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        required=True,
        type=_expanded,
        metavar="FILE",
        help="a config file; FILE.py:ARGUMENT calls its get_config(ARGUMENT), and "
        "--config.FIELD=VALUE overrides its fields",
    )
    parser.set_defaults(takes_overrides=True)


def _workdir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workdir", required=True, type=_path, metavar="FOLDER", help="the run folder"
    )


def _other_functions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--other_functions",
        action="store_true",
        help="go on though the functions that trained the run have changed since",
    )


def _dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry_run", "--dry-run", action="store_true", help="print the commands that are left"
    )
