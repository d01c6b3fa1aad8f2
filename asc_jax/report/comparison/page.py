"""The page of several runs: one HTML file that asks nothing of a network."""

import os
import pathlib
from collections.abc import Sequence
from statistics import stdev
from typing import Any

import numpy as np

from asc_jax.report.comparison.export import MARKS, caveat
from asc_jax.report.comparison.results import ALPHA, Result, Results
from asc_jax.report.comparison.training import colours, cost, curves, settings
from asc_jax.report.drawing import forest_plot, reliability_diagram
from asc_jax.report.formatting import DASH, count, percent, points, row_shares
from asc_jax.report.page import update_page, write_page
from asc_jax.report.rendering import refuse_other_page, render
from asc_jax.runs import table4
from asc_jax.runs.sweep_record import RECORD, read_record
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole
from asc_jax.scoring.scores import groups

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
    write_whole(out, render_comparison(results, out.parent))
    if out.name == NAME and (out.parent / RECORD).is_file():
        for run in (run for one in results.rows for run in one.row.runs):
            ours = run.path.resolve().is_relative_to(out.parent.resolve())
            if ours and (run.path / NAME).is_file():
                update_page(run.path)  # so that it links this one
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
            raise InputError(f"is {owner}'s own page; use another --out", path=out)
    refuse_other_page(out, _KICKER)


def render_comparison(results: Results, folder: pathlib.Path) -> str:
    """Renders the page as HTML; its links are relative to `folder`."""
    others = [(one, one.differences["class_wise_accuracy"]) for one in results.others]
    shown = [pair for pair in others if pair[1].verdict]
    shown.sort(key=lambda pair: -abs(pair[1].comparison.difference))
    missed = sorted(difference.detectable for _, difference in others if not difference.verdict)
    drawn = [(one.comparison, one.detectable) for _, one in others]
    rows = [(found.difference, found.low, found.high, least) for found, least in drawn]
    return render(
        "comparison.html",
        title=question(results) or title(results),
        kicker=_KICKER,
        origin=[title(results) if question(results) else "", *origin(results)],
        results=results,
        reference=results.results[results.reference],
        others=others,
        shown=shown,
        most=_MOST,
        missed=[f"{100 * size:.1f}" for size in missed],
        marks=MARKS,
        alpha=ALPHA,
        caveat=caveat(results),
        forest=forest_plot(rows) if rows else [],
        seeds=_seeds,
        places=_places(results),
        row_shares=row_shares,
        changes=_changes(results),
        diagram=reliability_diagram,
        several=any(len(one.row.runs) > 1 for one in results.rows),
        curves=curves(results),
        colours=colours(results),
        members=_members(results),
        settings=settings(results),
        pages={one.name: _pages(one, folder) for one in results.results},
        cost=cost(results),
        descriptions=_descriptions(results),
    )


def question(results: Results) -> str:
    """Finds what the ablation asks, where the page is of one sweep; "" where nothing is said."""
    sweeps = [path for path in results.paths if (path / RECORD).is_file()]
    return read_record(sweeps[0])["question"] if [*results.paths] == sweeps[:1] else ""


def title(results: Results) -> str:
    """Finds the runs' title where they share one, without the names of a sweep's settings."""
    titles = {
        str(run.report.get("title") or "").removesuffix(f", {one.name}")
        for one in results.rows
        for run in one.row.runs
    }
    (only,) = titles if len(titles) == 1 else ("",)
    return only or f"{len(results.rows)} runs side by side"


def origin(results: Results) -> list[str]:
    """Lists what was scored, and how many runs of it there are."""
    listed = results.listed
    n_runs = sum(len(one.row.runs) for one in results.rows)
    return [
        listed.title,
        count(len(listed.clips), "clip"),
        count(len(set(listed.locations.tolist())), "location"),
        f"{len(results.rows)} settings, {n_runs} runs" if n_runs > len(results.rows) else "",
    ]


def _pages(one: Result, folder: pathlib.Path) -> list[tuple[str, str]]:
    """The pages of a row's runs: the path from `folder`, and the seed."""
    runs = one.row.runs if one.row else ()
    pages = [(run.path / NAME, f"seed\N{NO-BREAK SPACE}{run.config.get('seed')}") for run in runs]
    return [(os.path.relpath(page, folder), seed) for page, seed in pages if page.is_file()]


def _seeds(one: Result) -> str:
    """The number of seeds and their standard deviation."""
    values = one.by_seed["class_wise_accuracy"]
    if one.row is None:
        return DASH
    return f"{len(values)}, ± {percent(stdev(values))}" if len(values) > 1 else "1"


def _places(results: Results) -> list[dict[str, Any]]:
    """Scores per class, city and device, with their shifts from the reference's."""
    scenes = [one.per_class for one in results.results]
    places = [_place(results, "Accuracy per class", results.listed.scene_labels, scenes)]
    for field in ("city", "device"):
        if names := list(groups(results.listed.clips, field)):
            scores = [[one.groups[field][name] for name in names] for one in results.results]
            places.append(_place(results, f"Class-wise accuracy by {field}", names, scores))
    return places


def _place(results: Results, heading: str, names: Sequence[str], scores: Sequence) -> dict:
    """A table of (name of a row, its cells), the reference first; a cell is text and strength."""
    values = np.array([[score.value for score in own] for own in scores])
    base = values[results.reference]
    shifts = values - base
    largest = max(0.1, float(np.nanmax(np.abs(shifts), initial=0)))
    rows = [(results.results[results.reference].name, [(percent(v), 0.0) for v in base])]
    for i, one in enumerate(results.results):
        if i != results.reference:
            strengths = 0.75 * np.nan_to_num(shifts[i]) / largest
            shown = ["" if np.isnan(shift) else points(shift) for shift in shifts[i]]
            rows.append((one.name, list(zip(shown, strengths, strict=True))))
    by_name = list(zip(*scores, strict=True))
    return {"heading": heading, "names": names, "rows": rows, "scores": by_name}


def _changes(results: Results) -> list[tuple[Result, np.ndarray, float, str]]:
    """How each row's confusions differ from the reference's: shares, their scale, the largest."""
    labels = results.listed.scene_labels
    base = row_shares(results.results[results.reference].confusion)
    changes = []
    for one in results.others:
        change = row_shares(one.confusion) - base
        scale = max(0.1, float(np.abs(change).max()))
        changes.append((one, change, scale, largest_shift(change, labels)))
    return changes


def largest_shift(change: np.ndarray, labels: Sequence[str]) -> str:
    """Names the cell off the diagonal of a (K, K) matrix that has changed most."""
    off = np.where(np.eye(len(labels), dtype=bool), 0, np.abs(change)).round(6)
    if not off.any():
        return "no difference"
    i, j = np.unravel_index(off.argmax(), off.shape)
    return f"{labels[i]} → {labels[j]} {points(change[i, j])}"


def _members(results: Results) -> list[tuple[str, list[str]]]:
    """Each run with its weight in each ensemble."""
    each = zip(*(one.members for one in results.ensembles), strict=True)
    return [(own[0][0], [f"{weight:.3f}" for _, weight in own]) for own in each]


def _descriptions(results: Results) -> list[str]:
    """Who scored what, as the runs' own reports say it; with the rows' names if they differ."""
    rows = {}
    for result in results.rows:
        for run in result.row.runs:
            for one in run.report.get("lists", []):
                if one["name"] == results.listed.name and one.get("description"):
                    rows.setdefault(one["description"], {})[result.name] = None
    if len(rows) == 1:
        return list(rows)
    return [f"Of {', '.join(names)}: {description}" for description, names in rows.items()]
