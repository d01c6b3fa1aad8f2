"""The table of rows for other programs: Markdown, CSV, JSON."""

import csv
import io
import json

from asc_jax.report.comparison.results import ALPHA, MEASURES, Difference, Result, Results
from asc_jax.report.formatting import count, p_value, points, size, spread
from asc_jax.scoring.scores import for_json
from asc_jax.stats.scores import Score

MARKS = {1: "▲", -1: "▼", 0: "·"}
_ONE_SEED = "One seed each: this is about these trained models, not about the recipes."
_TWO_SEEDS = (
    "Two seeds do not show well how much seeds differ: the intervals of differences are wide and "
    "unreliable. Train more seeds."
)


def caveat(results: Results) -> str:
    """What the number of seeds does not allow to say; "" if there are enough."""
    if not results.others:
        return ""
    return _TWO_SEEDS if results.two_seeds else "" if results.about_recipes else _ONE_SEED


def summary_line(results: Results) -> str:
    """What the table is of, in a sentence for below it."""
    listed, reference = results.listed, results.results[results.reference]
    line = f"{listed.title}: {size(len(listed.clips), len(set(listed.locations.tolist())))}."
    if results.others:
        line += (
            f" Differences from {reference.name} on the same clips; intervals and p over locations"
            f"{' and seeds' if results.about_recipes else ''}; p corrected for "
            f"{count(len(results.others), 'comparison', ' ')} "
            f"({results.correction.replace('_', '-')}); ▲ ▼: p < {ALPHA}. Detectable: a true "
            "difference of this size would be found 80 times of 100."
        )
    return f"{line} {caveat(results)}".strip()


def markdown(results: Results) -> str:
    """A table of text, aligned, so that a terminal can show it as well."""
    header = ["", "Class-wise accuracy (%)", "Accuracy (%)"]
    header += ["Difference", "p, corrected", "", "Detectable"]
    rows = []
    for i, one in enumerate(results.results):
        cells = [_cell(one.name), *(_score(one.scores[measure]) for measure in MEASURES)]
        if i == results.reference:
            cells += ["reference", "", "", ""]
        else:
            difference = one.differences["class_wise_accuracy"]
            found = difference.comparison
            cells += [
                f"{points(found.difference)} [{spread(found, ', ')}]",
                p_value(difference.p),
                MARKS[difference.verdict],
                f"{100 * difference.detectable:.1f}",
            ]
        rows.append(cells)
    if not results.others:
        header, rows = header[:3], [row[:3] for row in rows]
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    text = "\n".join(
        f"| {' | '.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))} |"
        for line in lines
    )
    return f"{text}\n\n{summary_line(results)}\n"


def _cell(name: str) -> str:
    return " ".join(name.replace("|", "\\|").splitlines())


def _score(score: Score) -> str:
    return f"{100 * score.value:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"


def as_dict(results: Results) -> dict:
    """Everything that was computed, as JSON has it; fractions, not percent."""
    listed = results.listed
    return {
        "format": 1,
        "list": listed.name,
        "n_clips": len(listed.clips),
        "n_locations": len(set(listed.locations.tolist())),
        "scene_labels": list(listed.scene_labels),
        "reference": results.results[results.reference].name,
        "correction": results.correction,
        "alpha": ALPHA,
        "left_out": list(results.left_out),
        "rows": [_row(one, listed.scene_labels) for one in results.results],
        "ensembles": [
            {
                "name": one.name,
                "cross_fitted": one.cross_fitted,
                "weights": [{"run": run, "weight": weight} for run, weight in one.members],
            }
            for one in results.ensembles
        ],
    }


def _row(one: Result, labels: tuple[str, ...]) -> dict:
    runs = one.row.runs if one.row else ()
    return {
        "name": one.name,
        "runs": [str(run.path) for run in runs],
        "seeds": [run.config.get("seed") for run in runs],
        **{measure: for_json(one.scores[measure]) for measure in MEASURES},
        "by_seed": {measure: list(one.by_seed[measure]) for measure in MEASURES},
        "differences": {k: _difference(one) for k, one in one.differences.items()},
        "per_class": dict(zip(labels, map(for_json, one.per_class), strict=True)),
        "groups": {
            field: {name: for_json(score) for name, score in groups.items()}
            for field, groups in one.groups.items()
        },
        "confusion": one.confusion.tolist(),
        "calibration": {
            "expected_calibration_error": one.calibration.diagram.expected_calibration_error,
            "log_loss": one.calibration.log_loss,
            "brier_score": one.calibration.brier_score,
        },
    }


def _difference(one: Difference) -> dict:
    found = for_json(one.comparison)
    return found | {"p_corrected": one.p, "verdict": one.verdict, "detectable": one.detectable}


def as_json(results: Results) -> str:
    """`as_dict` as text, in ASCII: JSON whatever the encoding of the standard output."""
    return json.dumps(as_dict(results), indent=1, allow_nan=False) + "\n"


def as_csv(results: Results) -> str:
    """A line per row; fractions, not percent."""
    columns = ["name", "seeds"]
    columns += [f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high")]
    columns += ["difference", "difference_low", "difference_high"]
    columns += ["p", "p_corrected", "detectable", "verdict"]
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(columns)
    for one in results.results:
        seeds = " ".join(str(run.config.get("seed")) for run in one.row.runs) if one.row else ""
        cells = [one.name, seeds]
        for measure in MEASURES:
            score = one.scores[measure]
            cells += [score.value, score.low, score.high]
        if difference := one.differences.get("class_wise_accuracy"):
            found = difference.comparison
            cells += [found.difference, found.low, found.high, found.p, difference.p]
            cells += [difference.detectable, difference.verdict]
        else:
            cells += [""] * 7
        writer.writerow(cells)
    return content.getvalue()


FORMATS = {"markdown": markdown, "csv": as_csv, "json": as_json}
