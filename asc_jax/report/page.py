"""The report page of a run: one HTML file that asks nothing of a network.

`report.json` and `metrics.jsonl` of a run folder become `report.html`, made to be read on a
screen, on a phone or on paper, and `figures/*.svg`, made for a paper.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from asc_jax.report import figures, sections
from asc_jax.report.style import STYLE
from asc_jax.report.tables import Markup, bar, interval, percent, text
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, remove, write_whole

# The policy makes sure of what the page promises: no request leaves it, no script runs.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
HEAD = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
"""


def write_page(workdir: pathlib.Path) -> pathlib.Path:
    """Writes the report page of a run and its figures, and removes figures of an earlier one.

    Args:
      workdir: the run folder. Its `report.json` is needed; without `metrics.jsonl` the page
        has no learning curves.

    Returns:
      The path of `report.html`. The same input gives the same bytes.

    Raises:
      InputError: `report.json` is missing, or one of the two files is not JSON.
    """
    workdir = pathlib.Path(workdir)
    report = read_report(workdir / "report.json")
    metrics = read_metrics(workdir / "metrics.jsonl")
    drawings = draw_figures(report, metrics)
    for name, svg in drawings.items():
        write_whole(workdir / name, svg)
    for figure in (workdir / "figures").glob("*.svg"):
        if figure.relative_to(workdir).as_posix() not in drawings:
            remove(figure)  # of a list that is no longer in the report
    page = workdir / "report.html"
    write_whole(page, render_page(report, metrics, list(drawings)))
    return page


def read_report(path: pathlib.Path) -> dict[str, Any]:
    """The content of `report.json`."""
    try:
        report = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        mend = f"run asc-jax evaluate --workdir={path.parent} first"
        raise InputError(f"{path} does not exist; {mend}") from None
    except ValueError as error:
        mend = f"run asc-jax evaluate --workdir={path.parent} again"
        raise InputError(f"{path} is not JSON ({error}); {mend}") from None
    if not isinstance(report, dict) or report.get("format", 1) != 1 or not _is_whole(report):
        raise InputError(
            f"{path} is not a report of format 1; evaluate the run again with this version"
        )
    return report


def _is_whole(report: Mapping) -> bool:
    """Whether what commands take from the reports of other runs is of its kind, if it is there."""
    try:
        texts = [report.get("title") or ""]
        numbers = [(report.get("training") or {}).get("epochs", 0) + 0]
        (report.get("versions") or {}).items()
        network = report.get("network") or {}
        numbers += [network.get(f) for f in ("parameters", "macs", "receptive_field")]
        for one in report.get("lists", []):
            texts += [one["name"], one.get("title", ""), one.get("description", "")]
            numbers += [one.get(field, 0) for field in ("n_clips", "n_locations")]
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
    """The figures for a paper by their path in the run folder."""
    drawings = {}
    for scored in sections.scored_lists(report):
        for system in scored["systems"][:1]:
            if system.get("confusion"):
                svg = figures.confusion_figure(
                    sections.scene_labels(report, system), system["confusion"]
                )
                drawings[sections.figure_name("confusion", scored)] = svg
            if system.get("per_class"):
                svg = figures.per_class_figure(system["per_class"])
                drawings[sections.figure_name("per_class", scored)] = svg
    if any(record.get("loss") for record in metrics):
        drawings["figures/learning_curves.svg"] = figures.learning_curves_figure(metrics)
    return drawings


def render_page(report: Mapping, metrics: Sequence[Mapping], drawings: Sequence[str]) -> str:
    """The page as HTML.

    Args:
      report: the content of `report.json`.
      metrics: the epochs of `metrics.jsonl`.
      drawings: the paths of the figures, to be linked.
    """
    title = report.get("title", "Run")
    parts = sections.all_sections(report, metrics, drawings)
    links = "\n".join(
        f'<a href="#s{i}">{text(heading)}</a>' for i, (heading, _) in enumerate(parts)
    )
    bodies = "\n".join(
        f'<section id="s{i}">\n<h2>{text(heading)}</h2>\n{body}\n</section>'
        for i, (heading, body) in enumerate(parts)
    )
    # The title of the window is no place for <wbr>.
    window = text(title).replace("<wbr>", "")
    return (
        f"{HEAD}<title>{window}: acoustic scene classification</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n"
        f'<p class="kicker">Acoustic scene classification, report of a run</p>\n'
        f"<h1>{text(title)}</h1>\n{origin(report)}\n{headline(report)}\n"
        f"<nav>\n{links}\n</nav>\n</header>\n{bodies}\n{sections.colophon(report)}\n"
        "</main>\n</body>\n</html>\n"
    )


def origin(report: Mapping) -> Markup:
    """The line under the title: device and date."""
    created = report.get("created", "")
    date = created[:16].replace("T", " ") + (" UTC" if created.endswith("Z") else "")
    parts = [report.get("device"), date]
    line = " · ".join(f"<span>{text(part)}</span>" for part in parts if part)
    return Markup(f'<p class="muted origin">{line}</p>')


def headline(report: Mapping) -> Markup:
    """The primary system's class-wise accuracy: on the test list first where there is one."""
    blocks = []
    for scored in sections.scored_lists(report):
        if not scored["systems"]:
            continue
        system = scored["systems"][0]
        score = system["class_wise_accuracy"]
        bounds = interval(score)
        spread = f"interval of at least 95 %: {bounds}" if bounds else ""
        name = text(sections.list_title(scored))
        blocks.append(
            f'<div>\n<p class="kicker">{name}: class-wise accuracy</p>\n'
            f'<p class="number">{percent(score.get("value"))}<small> %</small></p>\n'
            f"{bar(score)}\n<p>{text(spread)}</p>\n"
            f'<p class="muted">{text(system["name"])}; {sections.size_of(scored)}</p>\n</div>'
        )
    if not blocks:
        return Markup('<p class="muted">No list with labels was scored in this run.</p>')
    return Markup(f'<div class="headline">\n{"".join(blocks)}\n</div>')
