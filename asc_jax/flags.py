"""The flags of the commands."""

import argparse
import difflib
import pathlib
import re
import sys
from collections.abc import Sequence

from asc_jax import __version__
from asc_jax.config.overrides import field_of
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.paths import expand

_LARGEST_SEED = 2**32 - 1  # as the config field takes it
_OVERRIDE = re.compile(r"--?(no)?config\.")

# Shown at the end of each command's help.
_EXAMPLES = {
    "download": "--root=data/tut2018-development",
    "synth": "build/scenes",
    "check": "recordings --page=check.html",
    "import": "recordings data/mine --identifier='(day[0-9]+)'",
    "train": "--config=small --config.data.root=ROOT --workdir=runs/a",
    "gan": "--config=wavegan --config.gan.classifier=runs/a --workdir=runs/gan",
    "synthesize": "--workdir=runs/gan --out=runs/clips",
    "summary": "--config=resnet50 --depth=1",
    "config": "small --config.train.epochs=50 > mine.py",
    "models": "",
    "evaluate": "--workdir=runs/a",
    "predict": "runs/a hour.mp3 folder/ --csv=answers.csv",
    "export": "runs/a mine.onnx",
    "serve": "runs/a --port=8001",
    "sweep": "--config=ablations/se --config.data.root=ROOT --workdir=runs/se --seeds=0,1",
    "reproduce": "--data=ROOT --workdir=runs/table4 --budget=short",
    "report": "runs/a runs/b --reference=runs/a --out=ab.html",
}


class _Formatter(argparse.HelpFormatter):
    """Keeps an example in one line, so that it can be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("Example: ") else super()._fill_text(text, width, indent)


class _Parser(argparse.ArgumentParser):
    """A parser that raises each error as an `InputError` of one line."""

    def parse_known_args(self, args=None, namespace=None):
        self.words = sys.argv[1:] if args is None else args
        return super().parse_known_args(args, namespace)

    def error(self, message: str):
        if message.startswith("argument "):
            flag, _, problem = message.removeprefix("argument ").partition(": ")
            raise InputError(problem, field=flag)
        hints = filter(None, (self._meant(word.partition("=")[0]) for word in self.words))
        raise InputError(f"{message}; {next(hints, f'see {self.prog} --help')}")

    def _meant(self, word: str) -> str:
        """What the writer of an unknown flag may have meant; "" if nothing is near it."""
        flags, fields = list(self._option_string_actions), []
        if not word.startswith("--") or word in flags or _OVERRIDE.match(word):
            return ""
        if self.get_default("takes_overrides"):
            from asc_jax.config.rules import known_fields

            fields = [f"--config.{field}" for field in known_fields()]
        name = word.removeprefix("--")
        meant = [field for field in fields if field == f"--config.{name}"]
        meant = meant or [field for field in fields if field.endswith(f".{name}")]
        if len(meant) != 1:
            meant = difflib.get_close_matches(word, [*flags, *fields], n=1, cutoff=0.7)
        return f"did you mean {meant[0]} for {word}?" if meant else ""

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        near = difflib.get_close_matches(str(value), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}"
        raise argparse.ArgumentError(action, f"{value!r} is unknown; {hint}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses a command line.

    Args:
      argv: the words of the command line; those of the process if None.

    Returns:
      The flags, and the list `overrides` of config fields: each "--config.FIELD=VALUE", also if
      VALUE was the next word, or "--config.FIELD" or "--noconfig.FIELD" for True or False.

    Raises:
      InputError: names a wrong flag, or words that belong to no flag.
      SystemExit: after --help.
    """
    parser = build_parser()
    args, words = parser.parse_known_args(argv)
    args.overrides, others = [], []
    for word in words:
        if hasattr(args, "takes_overrides") and _OVERRIDE.match(word):
            args.overrides.append(word)
        elif args.overrides and "=" not in args.overrides[-1] and not word.startswith("--"):
            args.overrides[-1] += f"={word}"
        else:
            others.append(word)
    if others:
        args.error(f"{' '.join(others)}: not understood")
    if getattr(args, "seeds", ()) and "seed" in map(field_of, args.overrides):
        raise InputError("both give seeds; leave one of them out", field="--seeds, --config.seed")
    return args


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of all flags; parsed arguments have the `command`'s name."""
    parser = _Parser(
        prog="asc-jax", description="Acoustic scene classification in JAX.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"asc-jax {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data = commands.add_parser("data", help="prepare and check data sets", allow_abbrev=False)
    _data(data.add_subparsers(required=True, metavar="{download,import,check,synth}"))
    _train(_training(commands, "train", "train the models of all folds, or resume a run"))
    _training(commands, "gan", "train WaveGANs on the clips of a classifier's run, or resume them")
    _synthesize(commands)
    _summary(
        _command(commands, "summary", "print a network's layers, parameters, MACs, receptive field")
    )
    config = _command(
        commands, "config", "print a config with all its fields", takes_overrides=True
    )
    config.add_argument(
        "file",
        nargs="?",
        type=_expanded,
        metavar="FILE",
        help="a config file, or the name of a config of the package (default: default); "
        "--config.FIELD=VALUE sets a field; the output is a config file to start from",
    )
    config.add_argument("--config", type=_expanded, metavar="FILE", help="the same as FILE")
    _command(commands, "models", "list the models of the package and their cards")
    for add in (_evaluate, _predict, _export, _serve, _sweep, _reproduce, _report):
        add(commands)
    return parser


def _command(commands, name: str, help: str, **defaults) -> argparse.ArgumentParser:
    description = f"{help[0].upper()}{help[1:]}."
    parser = commands.add_parser(name, help=help, description=description, allow_abbrev=False)
    parser.epilog = f"Example: {parser.prog} {_EXAMPLES[name]}".rstrip()
    parser.formatter_class = _Formatter
    parser.set_defaults(command=name, error=parser.error, **defaults)
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
        help="print only modules up to N levels deep, each with the sum of what is within it",
    )


def _data(commands) -> None:
    download = _command(
        commands, "download", "download TUT Urban Acoustic Scenes 2018, or resume the download"
    )
    download.add_argument(
        "--set",
        default="development",
        choices=("development", "leaderboard", "evaluation"),
        help="the part of the data: 21.4, 3.0 or 8.9 GB, unpacked 24.9, 3.5 or 10.4 GB "
        "(default: development)",
    )
    download.add_argument(
        "--root", required=True, type=_path, metavar="FOLDER", help="the folder to unpack into"
    )
    download.add_argument(
        "--archives",
        type=_path,
        metavar="FOLDER",
        help="a folder whose zip archives are used and kept (default: each archive is deleted once "
        "it is unpacked)",
    )
    download.add_argument(
        "--accept_license",
        "--accept-license",
        action="store_true",
        help="accept the licence of the data, which excludes commercial use",
    )
    synth = _command(commands, "synth", "write a small procedural data set")
    synth.add_argument("root", type=_path, metavar="FOLDER", help="the folder to write")
    synth.add_argument("--seed", type=int, default=0, help="seed of the sounds (default: 0)")
    synth.add_argument("--locations", type=int, default=7, help="locations per scene (default: 7)")
    synth.add_argument("--clips", type=int, default=3, help="clips per location (default: 3)")
    synth.add_argument(
        "--seconds", type=float, default=4.0, help="length of a clip in seconds (default: 4)"
    )
    check = _command(
        commands, "check", "decode a whole data set, count its contents and report its faults"
    )
    check.add_argument("root", type=_path, metavar="FOLDER", help="the data set")
    check.add_argument("--json", action="store_true", help="print the result as JSON")
    check.add_argument(
        "--page", type=_page, metavar="FILE.html", help="also write the result as a page"
    )
    importing = _command(
        commands, "import", "copy recordings and their labels into the layout of the TUT sets"
    )
    importing.add_argument(
        "source",
        type=_path,
        metavar="SOURCE",
        help="a folder with a folder per class, a table of files and labels, or ESC-50 or "
        "UrbanSound8K as unpacked",
    )
    importing.add_argument("root", type=_path, metavar="FOLDER", help="the folder to create")
    importing.add_argument(
        "--identifier",
        type=_expression,
        metavar="REGEX",
        help="a regular expression, searched for in each file's path; its first group, or else the "
        "whole match, identifies the location of the file (a place, day or recording)",
    )
    importing.add_argument(
        "--link", action="store_true", help="link to the files instead of copying them"
    )


def _train(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "--profile", action="store_true", help="first write a trace of some steps to FOLDER/profile"
    )
    together = train.add_mutually_exclusive_group()
    together.add_argument(
        "--seeds",
        type=_seeds,
        default=(),
        metavar="N,N",
        help="train a run per seed in one program; the run folders are FOLDER/seedN",
    )
    together.add_argument(
        "--run",
        action="append",
        default=[],
        nargs="+",
        metavar=("NAME", "FIELD=VALUE"),
        help="train the run FOLDER/NAME with these fields; may be repeated, and all runs are one "
        "program; FIELD: seed, optimizer.lr, optimizer.weight_decay, train.label_smoothing or "
        "title",
    )


def _synthesize(commands) -> None:
    synthesize = _command(
        commands,
        "synthesize",
        "generate clips with trained WaveGANs and keep those that pass the screening",
        takes_overrides=True,
    )
    _workdir(synthesize)
    _other_functions(synthesize)
    synthesize.add_argument(
        "--classifier",
        type=_expanded,
        metavar="FOLDER",
        help="the run folder of the classifier, if it has moved",
    )
    synthesize.add_argument(
        "--out", required=True, type=_path, metavar="FOLDER", help="the folder for the clips"
    )


def _predict(commands) -> None:
    predict = _command(commands, "predict", "classify recordings with a trained model")
    _model(predict)
    predict.add_argument(
        "places",
        nargs="+",
        type=lambda text: text if text == "-" else _expanded(text),
        metavar="FILE",
        help="audio files of any length, folders of such files, or - for the standard input",
    )
    predict.add_argument(
        "--window",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="length of a window in seconds (default: as in training)",
    )
    predict.add_argument(
        "--hop",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="seconds from window to window (default: the run's ensemble.hop_seconds, else the "
        "length of a window)",
    )
    _fold(predict, "use")
    predict.add_argument(
        "--top", type=_count, default=3, metavar="N", help="number of classes to print (default: 3)"
    )
    predict.add_argument(
        "--windows", action="store_true", help="also print each window of a recording"
    )
    predict.add_argument("--csv", type=_path, metavar="FILE", help="write all probabilities")
    predict.add_argument("--json", type=_path, metavar="FILE", help="the same, as JSON")
    predict.add_argument(
        "--submission",
        choices=("leaderboard", "dcase"),
        help="print the predictions in the format of a challenge",
    )
    _other_functions(predict)


def _export(commands) -> None:
    export = _command(commands, "export", "write the model of a run as one file")
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
        help="a model card to store in the file, with the fields data, licence, accuracy, "
        "measured, date and command",
    )
    export.add_argument(
        "--half", action="store_true", help="store the parameters of a .safetensors as float16"
    )
    _fold(export, "export")
    _other_functions(export)


def _serve(commands) -> None:
    serve = _command(
        commands, "serve", "serve a page that classifies files and the microphone's sound"
    )
    _model(serve)
    serve.add_argument(
        "--port",
        type=_port,
        default=8000,
        metavar="N",
        help="port on 127.0.0.1; 0 takes a free one (default: 8000)",
    )
    _other_functions(serve)


def _evaluate(commands) -> None:
    evaluate = _command(
        commands,
        "evaluate",
        "score a run and write its report and submissions; --config.data.root=FOLDER says where "
        "the data are if they have moved",
        takes_overrides=True,
    )
    _workdir(evaluate)
    _other_functions(evaluate)
    evaluate.add_argument(
        "--trust",
        action="store_true",
        help="allow, from now on, the functions in FOLDER/functions that somebody else wrote",
    )
    evaluate.add_argument(
        "--data",
        action="append",
        type=_expanded,
        default=[],
        metavar="FOLDER",
        help="another data set to score, or to write submissions for; may be repeated",
    )


def _sweep(commands) -> None:
    sweep = _command(commands, "sweep", "carry out an ablation with several seeds, or resume it")
    _config(sweep)
    _workdir(sweep, "the folder for the runs")
    sweep.add_argument(
        "--base",
        type=_expanded,
        metavar="FILE",
        help="the config to which the settings are applied (default: that of the ablation)",
    )
    sweep.add_argument(
        "--seeds",
        type=_seeds,
        default=(),
        metavar="N,N",
        help="the seeds of each setting (default: the seed of the base config)",
    )
    sweep.add_argument(
        "--together",
        action="store_true",
        help="train as one program all runs that differ only in seed, learning rate, weight decay "
        "and label smoothing",
    )
    _dry_run(sweep)


def _reproduce(commands) -> None:
    reproduce = _command(
        commands,
        "reproduce",
        "carry out the paper's Table 4 row by row, GANs included, or resume this; "
        "--config.synthesis.FIELD=VALUE changes the screening of generated clips",
        takes_overrides=True,
    )
    _workdir(reproduce, "the folder for the runs")
    reproduce.add_argument(
        "--data", type=_expanded, metavar="FOLDER", help="the data set (default: a procedural one)"
    )
    reproduce.add_argument(
        "--budget",
        type=_word,
        metavar="NAME",
        help="smoke: tiny networks, minutes on two cores; short: the paper's networks, a "
        "quarter of the epochs; full: the configs as they are (default: full with --data, else "
        "smoke)",
    )
    _dry_run(reproduce)


def _report(commands) -> None:
    report = _command(commands, "report", "compare runs, as a table and as a page")
    report.add_argument(
        "runs",
        nargs="+",
        type=_path,
        metavar="RUN",
        help="run folders, or the folder of a sweep or of train --seeds",
    )
    report.add_argument(
        "--reference",
        type=_expanded,
        metavar="RUN",
        help="the run that the others are compared with (default: a sweep's base, else the first "
        "run)",
    )
    report.add_argument(
        "--out",
        type=_page,
        metavar="FILE.html",
        help="the page to write (default: report.html in the sweep's folder, else in the current "
        "folder)",
    )
    report.add_argument(
        "--list",
        type=_word,
        metavar="NAME",
        help="the list of clips to compare on (default: test, else out_of_fold)",
    )
    report.add_argument(
        "--ensemble",
        action="append",
        default=[],
        choices=("mean_logits", "mean_probabilities", "weighted", "greedy"),
        help="also compare an ensemble of all runs; may be repeated",
    )
    report.add_argument(
        "--correction",
        default="holm",
        choices=("holm", "bh"),
        help="correction of p-values for multiple comparisons: holm (default) or bh (Benjamini and "
        "Hochberg)",
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
        raise argparse.ArgumentTypeError(f"{text}: not a regular expression ({error})") from None


def _port(text: str) -> int:
    """A port number; 0 for any free one."""
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text}: must be a number from 0 to 65535")
    return int(text)


def _word(text: str) -> str:
    """A word that is not empty: an empty one comes from an unset shell variable."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; give a value, or leave the flag out")
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
            f"{text}: the page is written here, so end the name in .html (for the table: > FILE)"
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
        help="a config file, or the name of a config of the package; FILE.py:ARGUMENT calls "
        "get_config(ARGUMENT); --config.FIELD=VALUE sets a field",
    )
    parser.set_defaults(takes_overrides=True)


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        type=_expanded,
        metavar="MODEL",
        help="a run folder, an exported file, or the name of a model of the package",
    )


def _fold(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument(
        "--fold",
        type=int,
        default=0,
        metavar="N",
        help=f"{verb} the model of one fold (default: the ensemble of all)",
    )


def _workdir(parser: argparse.ArgumentParser, what: str = "the run folder") -> None:
    parser.add_argument("--workdir", required=True, type=_path, metavar="FOLDER", help=what)


def _other_functions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--other_functions",
        action="store_true",
        help="continue even if the functions that made the run have changed since",
    )


def _dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry_run", "--dry-run", action="store_true", help="only print the remaining commands"
    )
