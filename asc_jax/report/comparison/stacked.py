"""Tables with a row per system: wide on a screen, a block per system on a phone."""

import html
import re
from collections.abc import Iterable, Sequence

from asc_jax.report.tables import Markup, text


def label(name: str) -> Markup:
    """A row's name; that of a setting breaks after its fields, or else after their groups."""
    fields = html.escape(name).split(",")
    breakable = [re.sub(r"(=|\.(?=[a-z]))", r"\1<wbr>", field) for field in fields]
    *others, last = (f'<span class="field">{field}' for field in breakable)
    return Markup("".join(f"{field},</span> " for field in others) + f"{last}</span>")


def stacked_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], css: str = "", marked: int = -1
) -> Markup:
    """A table whose cells say their column's name where there is no room for columns.

    Args:
      header: the column names.
      rows: the cells, as many as the header has; the first is the row's name.
      css: a further class.
      marked: the number of a row that stands out.
    """
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    lines = []
    for number, (name, *cells) in enumerate(rows):
        columns = "".join(
            f'<td data-name="{html.escape(column)}"><span>{text(cell)}</span></td>'
            for column, cell in zip(header[1:], cells, strict=True)
        )
        kind = ' class="reference"' if number == marked else ""
        lines.append(f'<tr{kind}><th scope="row">{label(name)}</th>{columns}</tr>')
    body = "\n".join(lines)
    return Markup(
        f'<div class="scroll"><table class="stack {css}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
