"""The page of several runs: one HTML file that asks nothing of a network."""

import pathlib

from asc_jax.report.comparison.export import MARKS, ONE_SEED, points, spread
from asc_jax.report.comparison.forest import verdict_class
from asc_jax.report.comparison.results import ALPHA, Results
from asc_jax.report.comparison.sections import all_sections
from asc_jax.report.comparison.stacked import label
from asc_jax.report.comparison.style import STYLE as OWN_STYLE
from asc_jax.report.page import write_page
from asc_jax.report.style import HEAD, STYLE
from asc_jax.report.tables import Markup, count, text
from asc_jax.runs import table4
from asc_jax.runs.sweep_record import RECORD
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole

NAME = "report.html"
_KICKER = "Acoustic scene classification, runs side by side"
_MOST = 6  # differences that the head of the page names


def write_comparison(results: Results, out: pathlib.Path | None = None) -> pathlib.Path:
    """Writes the page.

    Args:
      results: what it shows.
      out: the file; None for `report.html` in the folder of the one sweep, else in the current
        one. The page of one run is that run's own.

    Returns:
      The file. The same input at the same places gives the same bytes.

    Raises:
      InputError: it cannot be written, or as `refuse_other_file`.
    """
    if out is None and len(results.paths) == 1:
        (path,) = results.paths
        if not (path / RECORD).is_file():
            return write_page(path)
        out = path / NAME
    out = out or pathlib.Path(NAME)
    refuse_other_file(out)
    write_whole(out, render(results, out.parent))
    return out


def refuse_other_file(out: pathlib.Path) -> None:
    """Checks that a page takes the place of nothing but an earlier page of the kind.

    Args:
      out: where it is to go.

    Raises:
      InputError: the place is a run's own page's, or a reproduction's, or another file is there.
    """
    owners = {"config.json": "a run", table4.RECORD: "a reproduction"}
    for record, owner in owners.items():
        if out.name == NAME and (out.parent / record).is_file():
            raise InputError(f"{out}: is {owner}'s own page; use another --out")
    try:
        if _KICKER.encode() in out.read_bytes():
            return
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror}); use another --out"
        ) from None
    raise InputError(
        f"{out}: is there already, and is no page of runs side by side; use another --out"
    )


def render(results: Results, folder: pathlib.Path) -> str:
    """The page as HTML; its links are relative to `folder`."""
    heading = title(results)
    parts = all_sections(results, folder)
    links = "\n".join(f'<a href="#s{i}">{text(name)}</a>' for i, (name, _) in enumerate(parts))
    bodies = "\n".join(
        f'<section id="s{i}">\n<h2>{text(name)}</h2>\n{body}\n</section>'
        for i, (name, body) in enumerate(parts)
    )
    window = text(heading).replace("<wbr>", "")  # the title of the window is no place for it
    return (
        f"{HEAD}<title>{window}: acoustic scene classification</title>\n"
        f"<style>{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n"
        f'<p class="kicker">{_KICKER}</p>\n'
        f"<h1>{text(heading)}</h1>\n{origin(results)}\n{verdict(results)}\n"
        f"<nav>\n{links}\n</nav>\n</header>\n{bodies}\n</main>\n</body>\n</html>\n"
    )


def title(results: Results) -> str:
    """The runs' title where they share one, without the names of a sweep's settings."""
    titles = {
        str(run.report.get("title") or "").removesuffix(f", {one.name}")
        for one in results.rows
        for run in one.row.runs
    }
    (only,) = titles if len(titles) == 1 else ("",)
    return only or f"{len(results.rows)} runs side by side"


def origin(results: Results) -> Markup:
    """The line under the title: what was scored, and how many runs of it there are."""
    listed = results.listed
    n_runs = sum(len(one.row.runs) for one in results.rows)
    parts = [
        listed.title,
        count(len(listed.clips), "clip"),
        count(len(set(listed.locations.tolist())), "location"),
        f"{len(results.rows)} settings, {n_runs} runs" if n_runs > len(results.rows) else "",
    ]
    line = " · ".join(f"<span>{text(part)}</span>" for part in parts if part)
    return Markup(f'<p class="muted origin">{line}</p>')


def verdict(results: Results) -> Markup:
    """What the page shows, in a few lines."""
    if not results.others:
        return Markup()
    reference = results.results[results.reference]
    found = [(one, one.differences["class_wise_accuracy"]) for one in results.others]
    shown = [pair for pair in found if pair[1].verdict]
    shown.sort(key=lambda pair: -abs(pair[1].comparison.difference))
    lines = []
    for one, difference in shown[:_MOST]:
        comparison = difference.comparison
        css = verdict_class(difference)
        lines.append(
            f'<li class="{css}"><b>{MARKS[difference.verdict]}</b>{label(one.name)} is {css} than '
            f"{label(reference.name)}: {points(comparison.difference)} points "
            f'<span class="interval">({spread(comparison)})</span></li>'
        )
    if len(shown) > _MOST:
        lines.append(f"<li><b></b>{len(shown) - _MOST} more differ by less, see below.</li>")
    missed = sorted(pair[1].detectable for pair in found if not pair[1].verdict)
    if missed:
        ends = dict.fromkeys(f"{100 * size:.1f}" for size in (missed[0], missed[-1]))
        others = f"{len(missed)} other{'' if len(missed) == 1 else 's'}: no" if shown else "No"
        lines.append(
            f"<li><b>{MARKS[0]}</b>{others} difference was shown: none has p&nbsp;&lt;&nbsp;"
            f"{ALPHA} after correction. True differences below {' to '.join(ends)} points are "
            "easily missed here.</li>"
        )
    if not results.about_recipes:
        lines.append(f"<li><b></b>{ONE_SEED}</li>")
    return Markup(f'<ul class="verdict">{"".join(lines)}</ul>')
