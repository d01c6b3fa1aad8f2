"""The paper's Table 4 with our scores beside the published ones: JSON, markdown, text, a page.

Published scores stand beside those of the paper's networks alone, not of the smallest budget's.
"""

import json
import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from asc_jax.config.ablation import check_any_config, is_gan_config
from asc_jax.config.load import flatten
from asc_jax.report.formatting import size
from asc_jax.report.gan.page import PAGE as LISTEN
from asc_jax.report.page import read_report
from asc_jax.report.rendering import render
from asc_jax.runs import table4
from asc_jax.runs.folder import read_config
from asc_jax.runs.table4 import Question, Row
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole

# The list of a run that is set beside the published score, the best that it has: the
# leaderboard set where it has labels, then clips that no fold has seen. And how far that is
# what was published.
_LISTS = {
    "leaderboard": "Scores on the leaderboard set, which has labels here, are for all its clips; "
    "the published ones are for half of them.",
    "test": "Scores on the test part are for other clips than the published ones.",
    "out_of_fold": "Scores of a cross-validation, or of a held-out part, are for other clips than "
    "the published ones, and for single models: each clip is classified by the model that was not "
    "trained on it. The published ones are for ensembles, except the baseline's.",
}

NOTES = {
    "smoke": "Budget smoke: tiny networks. This table shows that all stages work together; it says "
    "nothing about the rows.",
    "short": "Budget short: fewer epochs than in the configs.",
}
_PUBLISHED = (
    "Published: class-wise accuracy of four-fold ensembles, and of one model for the baseline, on "
    f"{table4.N_PUBLISHED} clips of the leaderboard set; 95 % intervals are about ±3.7 points."
)
_OURS = (
    "Ours: class-wise accuracy with an interval of at least 95 % over locations. Each row says "
    "which clips were scored, and which model or ensemble classified them."
)


_WIDTH = 80  # columns of a terminal


def write_table(workdir: pathlib.Path, budget: str, configs: Mapping[str, Mapping]) -> dict:
    """Writes `table.json` and `table.md` of a reproduction, as far as it has come.

    Args:
      workdir: its folder, with a folder per row.
      budget: its name.
      configs: of its stages, by their names: what a stage that has not begun will do.

    Returns:
      The table, as `table.json` holds it. The same scores give the same bytes.
    """
    own = {name: _own(workdir / name, config) for name, config in configs.items()}
    gans = {name: config for name, config in own.items() if is_gan_config(config)}
    gan = next(iter(gans.values()))
    rows = [_row(row, workdir / row.config, own[row.config], gan) for row in table4.ROWS]
    lists = {row["list"] for row in rows}
    notes = [NOTES[budget]] if budget in NOTES else []
    if budget == "smoke":
        rows = [{name: row[name] for name in row if name != "published"} for row in rows]
        notes += [_OURS]
    else:
        notes += [_PUBLISHED, _OURS, *(note for name, note in _LISTS.items() if name in lists)]
    table = {"budget": budget, "notes": notes, "rows": rows}
    pages = [f"{name}/{LISTEN}" for name in gans]
    table["listen"] = [page for page in pages if (workdir / page).is_file()]
    write_whole(workdir / "table.json", json.dumps(table, indent=1, allow_nan=False) + "\n")
    write_whole(workdir / "table.md", render_markdown(table))
    return table


def _own(folder: pathlib.Path, config: Mapping) -> Mapping:
    """What a run was made with; what it is to be made with where there is none yet."""
    begun = (folder / "config.json").is_file()
    return read_config(folder, check=check_any_config) if begun else config


def _row(row: Row, folder: pathlib.Path, config: Mapping, gan: Mapping) -> dict[str, Any]:
    """A row; "score" is None until it is evaluated.

    Raises:
      InputError: its report lacks something.
    """
    path = folder / "report.json"
    try:
        score = _score_of(read_report(path)) if path.is_file() else _score_of({})
    except LookupError as error:
        raise InputError(f"lacks {error}; evaluate the run again", path=path) from None
    files = score.pop("files")
    return {
        "row": row.title,
        "config": row.config,
        "published": row.published,
        **score,
        "submissions": [f"{row.config}/{file}" for file in files],
        "open": [
            {
                "point": question.point,
                "report": question.report,
                "here": _choice(question, flatten(config), flatten(gan)),
            }
            for question in row.open
        ],
    }


def _score_of(report: Mapping) -> dict[str, Any]:
    """What a row takes from the report of its run."""
    lists = {one["name"]: one for one in report.get("lists", ())}
    chosen = next((lists[name] for name in _LISTS if name in lists), None)
    return {
        "score": chosen and chosen["systems"][0]["class_wise_accuracy"],
        "list": chosen and chosen["name"],
        "scored_on": chosen and _scored_on(chosen),
        "files": [file for one in report.get("unlabelled", ()) for file in one["files"]],
    }


def _scored_on(chosen: Mapping) -> str:
    counted = size(chosen["n_clips"], chosen["n_locations"])
    return f"{chosen['title']}: {counted}; {_answered_by(chosen)}"


def _answered_by(chosen: Mapping) -> str:
    """What the score is of: one model, the one of each clip's fold, or an ensemble of all."""
    name = chosen["systems"][0]["name"]
    if chosen["name"] == "out_of_fold":
        return "each fold's own model" if len(chosen["per_fold"]) > 1 else "one model"
    return "one model" if name.startswith("fold ") else f"ensemble, {name}"


def _choice(question: Question, row: Mapping, gan: Mapping) -> dict[str, Any] | str:
    """What the run's configs say; in words where no field says it."""
    fields = row | gan if question in table4.GAN else row
    return {field: fields[field] for field in question.fields} or question.default


def render_page(table: Mapping, *, comparison: bool) -> str:
    """Renders the table as a page.

    Args:
      table: the content of `table.json`.
      comparison: whether `comparison.html` is beside it.
    """
    content = {"table4": table, "comparison": comparison, "choices": choices}
    return render("table4.html", title="Table 4", **content)


def render_terminal(table: Mapping) -> str:
    """Renders the table as text, no wider than a terminal but for the paths of submissions."""
    lines, answered = [], {}
    for name, config, *published, ours, scored_on in _cells(table):
        columns = (f"{name:22}", f"{config:18}", *(f"{one:>12}" for one in published), ours)
        lines.append("  ".join(columns))
        answered.setdefault(scored_on, []).append(config)
    told = [f"{', '.join(answered[of])}: {of}." for of in list(answered)[1:] if of]
    for paragraph in (*table["notes"], *told):
        lines += ["", *textwrap.wrap(paragraph, _WIDTH)]
    files = [f"Submission: {file}" for row in table["rows"] for file in row["submissions"]]
    return "\n".join([*lines, *[""] * bool(files), *files])


def _cells(table: Mapping) -> list[tuple[str, ...]]:
    """The cells, the head first: system, config, published score if there is one, ours, of what."""
    shown = any("published" in row for row in table["rows"])
    cells = [("system", "config", *["published, %"] * shown, "ours, %", "scored on")]
    for row in table["rows"]:
        published = [f"{row['published']:.2f}"] if shown else []
        cells.append((row["row"], row["config"], *published, _score(row), row["scored_on"] or ""))
    return cells


def render_markdown(table: Mapping) -> str:
    """Renders the table, and below it each row with what the paper leaves open of it."""
    head, *cells = _cells(table)
    scores = [(name, f"[{run}]({run}/report.html)", *others) for name, run, *others in cells]
    parts = [
        "# Table 4\n\n",
        *(f"{note}\n\n" for note in table["notes"]),
        _markdown(head, scores),
    ]
    submissions = [file for row in table["rows"] for file in row["submissions"]]
    if submissions:
        links = (f"- [{file}]({quote(file)})\n" for file in submissions)
        parts += ["\nSubmissions:\n\n", *links]
    parts.append("\n# What the paper leaves open, and what these runs do\n")
    for row in table["rows"]:
        cells = [(one["point"], one["report"], _as_code(one["here"])) for one in row["open"]]
        parts += [f"\n## {row['row']}\n\n", _markdown(("point", "the paper", "here"), cells)]
    return "".join(parts)


def _score(row: Mapping) -> str:
    score = row["score"]
    if score is None or score["value"] is None:
        return "not yet run"
    value, low, high = (f"{100 * score[part]:.1f}" for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def choices(here: Mapping | str) -> str:
    """Writes what a run does about an open point, in one line."""
    if isinstance(here, str):
        return here
    return ", ".join(f"{field}={value!r}" for field, value in here.items())


def _as_code(here: Mapping | str) -> str:
    return here if isinstance(here, str) else f"`{choices(here)}`"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head_lines = f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return head_lines + "".join(f"| {' | '.join(row)} |\n" for row in escaped)
