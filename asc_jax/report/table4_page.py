"""The page of a reproduction: Table 4 with our scores beside the published ones."""

from collections.abc import Mapping
from urllib.parse import quote

from asc_jax.report.page import HEAD
from asc_jax.report.sections import link
from asc_jax.report.style import STYLE
from asc_jax.report.table4 import choice_text
from asc_jax.report.tables import DASH, Markup, score_cell, table, text

# What the report leaves open is read as text.
_STYLE = """
.open td, .open thead th:not(:first-child) { text-align: left; vertical-align: top; }
.open th { vertical-align: top; } .open td { overflow-wrap: anywhere; min-width: 7rem; }
"""


def render_page(content: Mapping, *, comparison: bool) -> str:
    """The page as HTML; it asks nothing of a network.

    Args:
      content: of `table.json`.
      comparison: whether `comparison.html` is beside it.
    """
    first, *others = (text(note) for note in content["notes"])
    beside = (
        '<p>Row beside row, with paired differences: <a href="comparison.html">comparison</a>.</p>'
        if comparison
        else ""
    )
    notes = "".join(f'<p class="note">{note}</p>\n' for note in others)
    parts = "\n".join(_open(row) for row in content["rows"])
    return (
        f"{HEAD}<title>Table 4: acoustic scene classification</title>\n"
        f"<style>{STYLE}{_STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n"
        '<p class="kicker">Acoustic scene classification, the report carried out</p>\n'
        f"<h1>Table 4</h1>\n<p>{first}</p>\n</header>\n"
        f"<section>\n<h2>Scores</h2>\n{_scores(content)}\n{notes}{beside}{_listening(content)}"
        f"{_files(content)}"
        "</section>\n<section>\n<h2>What the report leaves open</h2>\n"
        "<p>And what these runs do, as their configs say it.</p>\n"
        f"{parts}\n</section>\n</main>\n</body>\n</html>\n"
    )


def _scores(content: Mapping) -> Markup:
    rows = [
        (
            _linked(row),
            f"{row['published']:.2f}",
            score_cell(row["score"]) if row["score"] else "not yet run",
            row["scored_on"] or DASH,
        )
        for row in content["rows"]
    ]
    return table(("row", "published, %", "ours, %", "scored on"), rows)


def _linked(row: Mapping) -> Markup | str:
    """A row's name, with a link to its own page where there is one."""
    if not row["score"]:
        return row["row"]
    return Markup(f'<a href="{row["config"]}/report.html">{text(row["row"])}</a>')


def _listening(content: Mapping) -> str:
    """The way to the GANs' pages, as far as they have come."""
    links = ", ".join(
        f'<a href="{quote(page)}">{text(page.rpartition("/")[0])}</a>' for page in content["listen"]
    )
    return f"<p>The GANs, real clips beside generated ones: {links}.</p>\n" if links else ""


def _files(content: Mapping) -> str:
    files = [file for row in content["rows"] for file in row["submissions"]]
    items = "".join(f"<li>{link(file)}</li>\n" for file in files)
    return f"<h3>Submissions</h3>\n<ul>\n{items}</ul>\n" if files else ""


def _open(row: Mapping) -> str:
    cells = [(one["point"], one["report"], choice_text(one["here"])) for one in row["open"]]
    listed = table(("point", "the report", "here"), cells, css="open")
    return f"<details>\n<summary>{text(row['row'])}</summary>\n{listed}\n</details>"
