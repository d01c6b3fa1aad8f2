"""The sections of the report page, each a heading and its body."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from urllib.parse import quote

from asc_jax.report.curves import learning_curves
from asc_jax.report.tables import (
    Markup,
    bar,
    confusion_table,
    count,
    duration,
    facts,
    percent,
    quantity,
    score_cell,
    table,
    text,
)


def all_sections(
    report: Mapping, metrics: Sequence[Mapping], drawings: Sequence[str]
) -> list[tuple[str, Markup]]:
    """Heading and body of each section that the report has something for.

    Args:
      report: the content of `report.json`.
      metrics: the epochs of `metrics.jsonl`.
      drawings: the paths of the figures in the run folder, to be linked.
    """
    sections = [
        *(list_section(report, scored, drawings) for scored in scored_lists(report)),
        ("Learning curves", curves_section(report, metrics, drawings)),
        ("Network and training", training_section(report)),
        ("Data and folds", data_section(report.get("data") or {})),
        ("Submissions", submission_section(report.get("unlabelled") or [])),
        ("How the scores were obtained", method_section(report)),
    ]
    return [(heading, body) for heading, body in sections if body]


def scene_labels(report: Mapping, system: Mapping) -> list[str]:
    """The labels in the order of the confusion matrix."""
    return report.get("scene_labels") or [s["scene_label"] for s in system.get("per_class", [])]


def scored_lists(report: Mapping) -> list[Mapping]:
    """The scored lists, a test list first: it answers what a reader asks."""
    return sorted(report.get("lists") or [], key=lambda scored: scored["name"] != "test")


def figure_name(kind: str, scored: Mapping) -> str:
    """The path of a figure of a scored list, relative to the run folder."""
    escape = lambda found: quote(found[0], safe="", errors="replace")  # no two names in one
    name = re.sub(r"[^\w-]", escape, scored["name"])
    return f"figures/{kind}_{name}.svg"


def list_title(scored: Mapping) -> str:
    """What a scored list is called on the page."""
    return scored.get("title") or scored["name"]


def size_of(part: Mapping) -> str:
    """`2,518 clips, 83 locations`, as far as it is known."""
    sizes = [count(part.get("n_clips"), "clip"), count(part.get("n_locations"), "location")]
    return ", ".join(size for size in sizes if size)


def link(path: str) -> Markup:
    """A link to a file of the run folder.

    What `quote` leaves cannot name a scheme or, behind the `./`, another host.
    """
    return Markup(f'<a href="./{quote(path)}">{text(path)}</a>')


def for_print(paths: Sequence[str]) -> Markup:
    """The line that links the figures made for a paper."""
    if not paths:
        return Markup()
    return Markup(f'<p class="note">For a paper: {", ".join(link(path) for path in paths)}</p>')


def paragraph(words: str) -> Markup:
    """Words as a paragraph, with a capital and a full stop; nothing where there are none."""
    if not words:
        return Markup()
    words = words[0].upper() + words[1:]
    return Markup(f"<p>{text(words if words.endswith('.') else words + '.')}</p>")


def list_section(report: Mapping, scored: Mapping, drawings: Sequence[str]) -> tuple[str, Markup]:
    """A scored list: systems, classes of the primary one, confusion matrix, folds."""
    systems = scored.get("systems", [])
    description = scored.get("description", "")
    parts = [paragraph(f"{size_of(scored)}: {description}" if description else size_of(scored))]
    if systems:
        names = ["System", "Accuracy (%)", "Class-wise accuracy (%)"]
        rows = [
            (s["name"], score_cell(s["accuracy"]), score_cell(s["class_wise_accuracy"]))
            for s in systems
        ]
        parts += [table(names, rows, "systems"), *primary_system(report, systems)]
    parts.append(fold_scores(scored.get("per_fold") or []))
    own = [figure_name(kind, scored) for kind in ("per_class", "confusion")]
    parts.append(for_print([name for name in own if name in drawings]))
    return list_title(scored), Markup("\n".join(part for part in parts if part))


def primary_system(report: Mapping, systems: Sequence[Mapping]) -> list[Markup]:
    """Bars per class and the confusion matrix of the first system; the classes of the others."""
    primary = systems[0]
    per_class = primary.get("per_class") or []
    of_primary = f": {text(primary['name'])}" if len(systems) > 1 else ""
    parts = []
    if per_class:
        parts.append(Markup(f"<h3>Accuracy per class{of_primary}</h3>"))
        rows = [(s["scene_label"], s.get("n_clips", ""), bar(s), score_cell(s)) for s in per_class]
        parts.append(
            table(["Scene", "Clips", "", "% with interval of at least 95 %"], rows, "bars")
        )
    if primary.get("confusion"):
        parts.append(Markup(f"<h3>Confusion matrix, % of the true scene{of_primary}</h3>"))
        parts.append(confusion_table(scene_labels(report, primary), primary["confusion"]))
    if per_class and len(systems) > 1:
        rows = [
            [first["scene_label"]] + [percent(s["per_class"][i].get("value")) for s in systems]
            for i, first in enumerate(per_class)
        ]
        every = table(["Scene", *(s["name"] for s in systems)], rows)
        summary = "<summary>Accuracy per class of every system (%)</summary>"
        parts.append(Markup(f"<details>{summary}{every}</details>"))
    return parts


def fold_scores(per_fold: Sequence[Mapping]) -> Markup:
    """The scores of each fold, closed by their mean and standard deviation."""
    if not per_fold:
        return Markup()
    keys = ("accuracy", "class_wise_accuracy")
    rows = [
        (f"Fold {s['fold']}", quantity(s.get("n_clips")), *(score_cell(s[key]) for key in keys))
        for s in per_fold
    ]
    foot = []
    values = [[s[key]["value"] for s in per_fold if s[key]["value"] is not None] for key in keys]
    if all(len(column) > 1 for column in values):
        spread = [
            f"{percent(fmean(column))}&nbsp;±&nbsp;{percent(stdev(column))}" for column in values
        ]
        foot = ["Mean ± s.d.", "", *map(Markup, spread)]
    names = ["", "Clips", "Accuracy (%)", "Class-wise accuracy (%)"]
    return Markup(f"<h3>By fold</h3>\n{table(names, rows, foot=foot)}")


def curves_section(report: Mapping, metrics: Sequence[Mapping], drawings: Sequence[str]) -> Markup:
    """The learning curves and what their lines are."""
    training = report.get("training") or {}
    charts = learning_curves(metrics, training.get("selected_epochs") or [])
    if not charts:
        return charts
    words = "Thin lines: the folds; thick line: their mean."
    if "<circle" in charts:
        words += " Circles: the checkpoints that were selected."
    validated = {m.get("validation_list") for m in metrics if m.get("validation_loss")}
    if "held_out" in validated:
        words += " Validation: the clips that the fold holds out."
    elif "inner" in validated:
        words += " Validation: inner clips, put aside from the fold's training clips."
    own = [name for name in drawings if name.endswith("learning_curves.svg")]
    return Markup(f'{charts}\n<p class="note">{text(words)}</p>\n{for_print(own)}')


def training_section(report: Mapping) -> Markup:
    """The network and its training in numbers."""
    network, training = report.get("network") or {}, report.get("training") or {}
    if not network and not training:
        return Markup()
    size = network.get("input")
    field = network.get("receptive_field")
    speed = training.get("clips_per_second")
    return facts(
        [
            ("Parameters", quantity(network.get("parameters"))),
            ("Multiply-accumulates per clip", quantity(network.get("macs"))),
            ("Convolutions", quantity(network.get("convolutions"))),
            ("Receptive field", count(field, "frame")),
            (
                "Input",
                f"{size[0]} mel bands \N{MULTIPLICATION SIGN} {size[1]} frames" if size else "",
            ),
            ("Folds", quantity(training.get("n_folds"))),
            ("Epochs", quantity(training.get("epochs"))),
            ("Steps", quantity(training.get("steps"))),
            ("Batch size", quantity(training.get("batch_size"))),
            ("Training time", duration(training.get("seconds"))),
            ("Training speed", "" if speed is None else f"{speed:,.1f} clips/s"),
        ]
    )


def data_section(data: Mapping) -> Markup:
    """The data set and how its folds divide it."""
    seconds, sr = data.get("clip_seconds"), data.get("sr")
    parts = []
    if data:
        summary = [
            ("Data set", data.get("root", "")),
            ("Clips", quantity(data.get("n_clips"))),
            ("Locations", quantity(data.get("n_locations"))),
            ("Clip length", "" if seconds is None else f"{seconds:g} s"),
            ("Sampling rate", "" if sr is None else f"{sr / 1000:g} kHz"),
        ]
        parts.append(facts(summary))
    if data.get("splits"):
        names = {"train": "Training", "inner": "Inner", "held_out": "Held out"}
        if not any(split.get("inner_clips") for split in data["splits"]):
            del names["inner"]
        rows = [
            (f"Fold {split['fold']}", *(split_size(split, part) for part in names))
            for split in data["splits"]
        ]
        parts.append(table(["", *names.values()], rows, "splits"))
    return Markup("\n".join(parts))


def split_size(split: Mapping, part: str) -> str:
    """Clips and locations of one part of a split."""
    keys = ("n_clips", "n_locations"), (f"{part}_clips", f"{part}_locations")
    return size_of({name: split.get(key) for name, key in zip(*keys, strict=True)})


def submission_section(unlabelled: Sequence[Mapping]) -> Markup:
    """The lists without labels and the files written for them."""
    rows = [
        (part["name"], quantity(part.get("n_clips")), Markup("<br>".join(map(link, part["files"]))))
        for part in unlabelled
    ]
    return table(["List", "Clips", "Files"], rows, "files") if rows else Markup()


def method_section(report: Mapping) -> Markup:
    """What chose the checkpoints, and what the scores and intervals are."""
    training = report.get("training") or {}
    parts = [paragraph(training.get("note", ""))]
    if report.get("lists"):
        parts.append(
            paragraph(
                "Accuracy is the share of clips whose scene is right; class-wise accuracy is the "
                "mean of the shares within each scene. The intervals are Wilson's, for as many "
                "independent clips as would vary as the recording locations do: clips of one place "
                "succeed and fail together. They hold the true value at least 95 times of 100, and "
                "more often where there are few places, or few that hold an error."
            )
        )
    epochs = ", ".join(str(epoch) for epoch in training.get("selected_epochs") or [])
    rule = training.get("selection", "")
    parts.append(facts([("Checkpoint selection", rule), ("Epoch used per fold", epochs)]))
    return Markup("\n".join(part for part in parts if part))


def colophon(report: Mapping) -> Markup:
    """The versions that made the run."""
    versions = " · ".join(
        f"{text(name)} {text(version)}" for name, version in report.get("versions", {}).items()
    )
    return Markup(f"<footer>{versions}</footer>") if versions else Markup()
