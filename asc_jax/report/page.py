"""The report page of a run, and its figures for a paper.

`report.json` and `metrics.jsonl` of a run folder become `report.html`, made to be read on a
screen, on a phone or on paper, and `figures/*.svg`, made for a paper.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any
from urllib.parse import quote

from asc_jax.report import figures
from asc_jax.report.curves import optimistic_score
from asc_jax.report.drawing import learning_curves
from asc_jax.report.facts import data_facts, recipe, training_facts
from asc_jax.report.formatting import count, percent, row_shares
from asc_jax.report.rendering import render
from asc_jax.runs import table4
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runs.sweep_record import RECORD
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, remove, write_whole

# Endings of recordings that browsers play.
PLAYABLE = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3")


def write_page(workdir: pathlib.Path) -> pathlib.Path:
    """Writes the report page of a run and its figures, and removes figures of an earlier one.

    Args:
      workdir: the run folder. `report.json` is required; without `metrics.jsonl` the page has no
        learning curves.

    Returns:
      The path of `report.html`. The same input gives the same bytes.

    Raises:
      InputError: `report.json` is missing, or one of the two files is not JSON.
    """
    report = read_report(workdir / "report.json")
    metrics = read_metrics(workdir / "metrics.jsonl")
    drawings = draw_figures(report, metrics)
    for name, svg in drawings.items():
        write_whole(workdir / name, svg)
    for figure in (workdir / "figures").glob("*.svg"):
        if figure.relative_to(workdir).as_posix() not in drawings:
            remove(figure)  # of a list that is no longer in the report
    return update_page(workdir)


def update_page(workdir: pathlib.Path) -> pathlib.Path:
    """Writes the report page of a run around the figures that its folder has; see `write_page`."""
    report = read_report(workdir / "report.json")
    metrics = read_metrics(workdir / "metrics.jsonl")
    drawings = [path.relative_to(workdir).as_posix() for path in workdir.glob("figures/*.svg")]
    page = workdir / "report.html"
    name, above = workdir.resolve().name, _page_above(workdir)
    write_whole(page, render_page(report, metrics, drawings, name, above))
    return page


def _page_above(workdir: pathlib.Path) -> str:
    """The page of the sweep or reproduction that a run is of, from its folder; "" without one."""
    for steps, folder in enumerate(workdir.resolve().parents[:2], 1):
        records = (folder / RECORD, folder / table4.RECORD)
        if any(record.is_file() for record in records) and (folder / "report.html").is_file():
            return "../" * steps + "report.html"
    return ""


def read_report(path: pathlib.Path) -> dict[str, Any]:
    """Reads a `report.json`.

    Raises:
      InputError: it is missing, not JSON, or of another format.
    """
    evaluate = f"run asc-jax evaluate --workdir={path.parent}"
    try:
        report = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"does not exist; {evaluate} first", path=path) from None
    except ValueError as error:
        raise InputError(f"is not JSON ({error}); {evaluate} again", path=path) from None
    if not isinstance(report, dict) or report.get("format", 1) != 1 or not _is_whole(report):
        raise InputError(
            "is not a report of format 1; evaluate the run again with this version", path=path
        )
    return report


def _is_whole(report: Mapping) -> bool:
    """Says whether what commands take from other runs' reports is of its kind, if there."""
    try:
        texts = [report.get("title") or ""]
        numbers = [(report.get("training") or {}).get("epochs", 0) + 0]
        for group in ("versions", "config"):
            (report.get(group) or {}).items()
        network = report.get("network") or {}
        numbers += [network.get(f) for f in ("parameters", "macs", "receptive_field")]
        for one in report.get("lists", []):
            texts += [one["name"], one.get("title", ""), one.get("description", "")]
            texts.append(one.get("audio_root", ""))
            numbers += [one.get(field, 0) for field in ("n_clips", "n_locations")]
            wrong = one.get("wrong") or {"n_clips": 0, "most_certain": []}
            numbers.append(wrong["n_clips"] + 0)
            for clip in wrong["most_certain"]:
                texts += [clip[field] for field in ("path", "scene_label", "answer")]
                numbers += [clip["scene_probability"], clip["answer_probability"]]
            for system in one.get("systems", []):
                texts.append(system["name"])
                numbers += system.get("class_wise_accuracy", {}).values()
        for one in report.get("unlabelled", []):
            texts += [one["name"], *one["files"]]
    except (AttributeError, LookupError, TypeError):
        return False
    are_texts = all(isinstance(text, str) for text in texts)
    return are_texts and all(isinstance(number, int | float | None) for number in numbers)


def draw_figures(report: Mapping, metrics: Sequence[Mapping]) -> dict[str, str]:
    """Draws the figures for a paper, by their path in the run folder."""
    drawings = {}
    for scored in scored_lists(report):
        for system in scored["systems"][:1]:
            if system.get("confusion"):
                labels = scene_labels(report, system)
                svg = figures.confusion_figure(labels, system["confusion"])
                drawings[figure_name("confusion", scored)] = svg
            if system.get("per_class"):
                svg = figures.per_class_figure(system["per_class"])
                drawings[figure_name("per_class", scored)] = svg
    if any(record.get("loss") for record in metrics):
        drawings["figures/learning_curves.svg"] = figures.learning_curves_figure(metrics)
    return drawings


def scored_lists(report: Mapping) -> list[Mapping]:
    """Lists the scored lists, a test list first: it answers what a reader asks."""
    return sorted(report.get("lists") or [], key=lambda scored: scored["name"] != "test")


def scene_labels(report: Mapping, system: Mapping) -> list[str]:
    """Lists the labels in the order of the confusion matrix."""
    return report.get("scene_labels") or [s["scene_label"] for s in system.get("per_class", [])]


def figure_name(kind: str, scored: Mapping) -> str:
    """Makes the path of a figure of a scored list, relative to the run folder."""
    escape = lambda found: quote(found[0], safe="", errors="replace")  # no two names in one
    name = re.sub(r"[^\w-]", escape, scored["name"])
    return f"figures/{kind}_{name}.svg"


def render_page(
    report: Mapping,
    metrics: Sequence[Mapping],
    drawings: Sequence[str],
    name: str,
    above: str,
) -> str:
    """Renders the page as HTML.

    Args:
      report: the content of `report.json`.
      metrics: the epochs of `metrics.jsonl`.
      drawings: the paths of the figures, to be linked.
      name: the name of the run folder.
      above: the path of a page of several runs, of which this is one.
    """
    training, data = report.get("training") or {}, report.get("data") or {}
    created, selected = report.get("created", ""), training.get("selected_epochs") or []
    date = created[:16].replace("T", " ") + (" UTC" if created.endswith("Z") else "")
    splits, root = data.get("splits") or [], data.get("root")
    parts = {"train": "Training", "inner": "Inner", "held_out": "Held out"}
    if not any(split.get("inner_clips") for split in splits):
        del parts["inner"]
    return render(
        "run.html",
        title=report.get("title", "Run"),
        origin=[name and f"run {name}", root and f"data {root}", report.get("device"), date],
        above=above,
        lists=[_list(report, scored, drawings) for scored in scored_lists(report)],
        curves=learning_curves(metrics, selected),
        validated={m.get("validation_list") for m in metrics if m.get("validation_loss")},
        curve_figures=[name for name in drawings if name.endswith("learning_curves.svg")],
        recipe=recipe(report.get("config") or {}),
        training=training_facts(report.get("network") or {}, training),
        data=data_facts(data),
        splits=[
            (
                f"Fold\N{NO-BREAK SPACE}{split['fold']}",
                *(_size(split, f"{part}_") for part in parts),
            )
            for split in splits
        ],
        split_parts=list(parts.values()),
        unlabelled=report.get("unlabelled") or [],
        note=training.get("note", ""),
        selection=[
            ("Checkpoint selection", training.get("selection", "")),
            ("Epoch used per fold", ", ".join(map(str, selected))),
            ("Optimistic score, not comparable", optimistic_score(metrics)),
        ],
        footer=" · ".join(f"{n} {version}" for n, version in report.get("versions", {}).items()),
    )


def _size(part: Mapping, kind: str = "n_") -> str:
    """`2,518 clips, 83 locations`, as far as it is known."""
    nouns = ("clip", "location")
    return ", ".join(filter(None, (count(part.get(f"{kind}{noun}s"), noun) for noun in nouns)))


def _list(report: Mapping, scored: Mapping, drawings: Sequence[str]) -> dict[str, Any]:
    """What the page shows of a scored list."""
    systems = scored.get("systems") or []
    per_fold = scored.get("per_fold") or []
    primary = systems[0] if systems else {}
    per_class, counts = primary.get("per_class") or [], primary.get("confusion")
    values = [
        [fold[key]["value"] for fold in per_fold if fold[key]["value"] is not None]
        for key in ("accuracy", "class_wise_accuracy")
    ]
    spreads = [f"{percent(fmean(v))}\xa0±\xa0{percent(stdev(v))}" for v in values if len(v) > 1]
    figures = [figure_name(kind, scored) for kind in ("per_class", "confusion")]
    return {
        "title": scored.get("title") or scored["name"],
        "size": _size(scored),
        "words": ": ".join(filter(None, (_size(scored), scored.get("description")))),
        "systems": systems,
        "per_class": per_class,
        "counts": counts,
        "labels": scene_labels(report, primary),
        "shares": row_shares(counts).tolist() if counts else [],
        "of_systems": [
            (first["scene_label"], [s["per_class"][i].get("value") for s in systems])
            for i, first in enumerate(per_class)
            if len(systems) > 1
        ],
        "per_fold": per_fold,
        "groups": [(field, scored.get(f"per_{field}") or []) for field in ("device", "city")],
        "wrong": _wrong(scored),
        "spreads": spreads if len(spreads) == len(values) else [],
        "figures": [name for name in figures if name in drawings],
    }


def _wrong(scored: Mapping) -> dict[str, Any]:
    """How many clips were answered wrong, and those that are listed, with their recordings."""
    wrong, root = scored.get("wrong") or {}, scored.get("audio_root")
    clips = [
        {
            **clip,
            "audio": f"{root}/{clip['path']}" if root else "",
            "played": clip["path"].lower().endswith(PLAYABLE),
        }
        for clip in wrong.get("most_certain") or []
    ]
    total = wrong.get("n_clips", 0)
    some = f"The {len(clips)} most certain of {total:,}"
    return {
        "clips": clips,
        "share": f"{total:,} of {count(scored.get('n_clips'), 'clip')}",
        "listed": some if len(clips) < total else f"All {total:,}, the most certain first",
    }
