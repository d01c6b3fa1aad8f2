"""HTML tables, bars and numbers of the report page.

Whatever is HTML here is `Markup`. A plain string is text and gets escaped wherever it
enters a page, so that a label or a file name can never become an element of it.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence

DASH = "\N{EN DASH}"  # between the ends of an interval, and where there is no number


class Markup(str):
    """A string that is HTML already."""


def text(value: object) -> Markup:
    """Value as HTML text; `Markup` passes unchanged."""
    if isinstance(value, Markup):
        return value
    # A label such as `street_pedestrian` may break after its underscore on a narrow screen.
    return Markup(html.escape(str(value)).replace("_", "_<wbr>"))


def percent(fraction: float | None) -> str:
    """Fraction as percent with one decimal, without the sign; a dash where there is none."""
    if fraction is None or not math.isfinite(fraction):
        return DASH
    return f"{100 * fraction:.1f}"


def interval(score: Mapping) -> str:
    """The interval of a score, `73.9` to `78.8`; empty where it has none."""
    low, high = percent(score.get("low")), percent(score.get("high"))
    return "" if DASH in (low, high) else f"{low}{DASH}{high}"


def score_cell(score: Mapping) -> Markup:
    """The value of a score with its interval beside it (below it on a phone)."""
    bounds = interval(score)
    spread = f' <span class="interval">{bounds}</span>' if bounds else ""
    return Markup(f"{percent(score.get('value'))}{spread}")


def quantity(number: float | None, unit: str = "") -> str:
    """Number as a reader says it: 1.37 G, 14.59 M, 2,945; a dash where there is none."""
    if number is None:
        return DASH
    for size, prefix in ((1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.2f} {prefix}{unit}"
    digits = f"{number:,}" if isinstance(number, int) else f"{number:,.1f}"
    return f"{digits} {unit}".strip()


def count(number: int | None, noun: str) -> str:
    """Number and noun, `1 clip` or `2,518 clips`, kept together; empty without a number."""
    return (
        "" if number is None else f"{number:,}\N{NO-BREAK SPACE}{noun}{'' if number == 1 else 's'}"
    )


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units that matter: 13 min 32 s, 5 h 07 min."""
    if seconds is None:
        return DASH
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def table(
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    css: str = "",
    foot: Sequence[object] = (),
) -> Markup:
    """A table whose first column names its rows.

    Args:
      header: the column names.
      rows: the cells of each row, as many as the header has.
      css: the class of the table.
      foot: the cells of a closing row, where there is one.

    Returns:
      The table, inside a box that scrolls where the screen is too narrow.
    """

    def line(cells: Sequence[object]) -> str:
        name, *values = (text(cell) for cell in cells)
        return f'<tr><th scope="row">{name}</th>' + (
            "".join(f"<td>{value}</td>" for value in values) + "</tr>"
        )

    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    body = "\n".join(line(row) for row in rows)
    end = f"\n<tfoot>{line(foot)}</tfoot>" if foot else ""
    return Markup(
        f'<div class="scroll"><table class="{css}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>{end}</table></div>"
    )


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Names and values side by side; a pair whose value is a dash or empty is left out."""
    items = "\n".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>"
        for name, value in pairs
        if value not in ("", DASH)
    )
    return Markup(f'<dl class="facts">\n{items}\n</dl>') if items else Markup()


def bar(score: Mapping) -> Markup:
    """A bar from 0 to 100 % with the interval as a whisker.

    Hidden from screen readers: the numbers stand in the cell beside it.
    """
    value = score.get("value")
    marks = ""
    if value is not None and math.isfinite(value):
        marks = f'<i style="width:{100 * value:.2f}%"></i>'
    if interval(score):
        low, high = 100 * score["low"], 100 * score["high"]
        marks += f'<b style="left:{low:.2f}%;width:{high - low:.2f}%"></b>'
    return Markup(f'<div class="bar" aria-hidden="true">{marks}</div>')


def row_shares(confusion: Sequence[Sequence[int]]) -> list[list[float]]:
    """Each count as a share of its row; an empty row gives zeros."""
    return [[n / max(1, sum(row)) for n in row] for row in confusion]


def confusion_table(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> Markup:
    """The confusion matrix as a table of row shares in percent.

    Args:
      labels: the K scene labels, in the order of the rows.
      confusion: (K, K) counts; rows are the true scene, columns the predicted one.

    Returns:
      A table whose cells are coloured by their share; a cell without clips stays empty.
    """
    # html.escape, not text: a label that stands upright must not break.
    columns = "".join(f'<th scope="col"><span>{html.escape(label)}</span></th>' for label in labels)
    lines = []
    for i, (counts, shares) in enumerate(zip(confusion, row_shares(confusion), strict=True)):
        cells = []
        for j, (n, share) in enumerate(zip(counts, shares, strict=True)):
            # From about 0.7 on, paper on the colour has more contrast than ink on it.
            marks = " ".join(["hit"] * (i == j) + ["deep"] * (share > 0.7))
            hint = html.escape(f"{labels[i]} → {labels[j]}: {n} of {sum(counts)}")
            shown = f"{100 * share:.0f}" if n else ""
            cells.append(f'<td class="{marks}" style="--s:{share:.3f}" title="{hint}">{shown}</td>')
        lines.append(f'<tr><th scope="row">{text(labels[i])}</th>{"".join(cells)}</tr>')
    body = "\n".join(lines)
    return Markup(
        f'<div class="scroll"><table class="confusion" style="--k:{max(1, len(labels))}">\n'
        f'<thead><tr><td class="corner">true&nbsp;↓ predicted&nbsp;→</td>{columns}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def paragraph(words: str) -> Markup:
    """Words as a paragraph, with a capital and a full stop; nothing where there are none."""
    if not words:
        return Markup()
    words = words[0].upper() + words[1:]
    return Markup(f"<p>{text(words if words.endswith('.') else words + '.')}</p>")
