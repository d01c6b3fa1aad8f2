"""The sections of the page of several runs, each a heading and its body."""

import pathlib
from statistics import stdev

from asc_jax.report.comparison.export import MARKS, p_value, points, spread
from asc_jax.report.comparison.forest import forest, verdict_class
from asc_jax.report.comparison.multiples import confusions, reliability_diagrams
from asc_jax.report.comparison.results import ALPHA, MEASURES, Results
from asc_jax.report.comparison.shifts import by_group, by_scene
from asc_jax.report.comparison.stacked import stacked_table
from asc_jax.report.comparison.training import cost, curves, settings
from asc_jax.report.tables import DASH, Markup, count, paragraph, percent, score_cell, text
from asc_jax.stats.scores import Score


def all_sections(results: Results, folder: pathlib.Path) -> list[tuple[str, Markup]]:
    """Heading and body of each section; links are relative to `folder`."""
    sections = [
        ("Differences", differences(results)),
        ("Scores", scores(results)),
        ("Where they differ", places(results)),
        ("Confusions", confusions(results)),
        ("Calibration", calibration(results)),
        ("Learning curves", curves(results)),
        ("Ensembles", ensembles(results)),
        ("Settings", settings(results, folder)),
        ("Cost", cost(results)),
        ("How to read this", method(results)),
    ]
    return [(heading, body) for heading, body in sections if body]


def differences(results: Results) -> Markup:
    """The forest plot."""
    if not results.others:
        return Markup()
    note = (
        "Class-wise accuracy on the same clips, less the reference's. Line: 95 % interval. "
        "Pale band: true differences in it would be found less than 80 times of 100. Filled "
        f"square: p < {ALPHA}. Both after correction."
    )
    return Markup(f'{forest(results)}\n<p class="note">{text(note)}</p>\n{exact_tests(results)}')


def exact_tests(results: Results) -> Markup:
    """What tests that assume less, or more, say of single runs; uncorrected."""
    rows = []
    for row in results.others:
        found = row.differences["class_wise_accuracy"].comparison
        if found.mcnemar:
            clips = (str(found.mcnemar.gained), str(found.mcnemar.lost))
            rows.append((row.name, *clips, p_value(found.mcnemar.p), p_value(found.p_flip)))
    if not rows:
        return Markup()
    header = ["", "Only it right", "Only the reference right", "McNemar's p", "Sign-flip p"]
    note = paragraph(
        "McNemar's exact test takes clips as independent, which those of one location are not: "
        "with several clips per location its p is too small. The sign-flip test permutes whole "
        "locations. Neither is corrected."
    )
    table = stacked_table(header, rows)
    return Markup(f"<details><summary>Exact tests</summary>{table}\n{note}</details>")


def scores(results: Results) -> Markup:
    """Every row's scores with their intervals, and its difference from the reference."""
    header = ["", "Class-wise accuracy (%)", "Accuracy (%)", "Seeds, ± s.d."]
    if results.others:
        header += ["Difference (points)", "p, corrected", "Detectable (points)"]
    rows = []
    for i, one in enumerate(results.results):
        cells = [one.name, *(_score(one.scores[measure]) for measure in MEASURES), _seeds(one)]
        if i == results.reference:
            cells += ["reference", "", ""]
        elif results.others:
            difference = one.differences["class_wise_accuracy"]
            found = difference.comparison
            mark = f'<b class="{verdict_class(difference)}">{MARKS[difference.verdict]}</b>'
            cells += [
                Markup(f'{points(found.difference)} <span class="interval">{spread(found)}</span>'),
                Markup(f"{text(p_value(difference.p))} {mark}"),
                f"{100 * difference.detectable:.1f}",
            ]
        rows.append(cells[: len(header)])
    return stacked_table(header, rows, "scores", results.reference)


def _score(score: Score) -> Markup:
    return score_cell({"value": score.value, "low": score.low, "high": score.high})


def _seeds(one) -> str:
    values = one.by_seed["class_wise_accuracy"]
    if one.row is None:
        return DASH
    return f"{len(values)}, ± {percent(stdev(values))}" if len(values) > 1 else "1"


def places(results: Results) -> Markup:
    """Scenes, cities and devices."""
    parts = [Markup("<h3>Accuracy per scene</h3>"), by_scene(results)]
    for field in ("city", "device"):
        if body := by_group(results, field):
            parts += [Markup(f"<h3>Class-wise accuracy by {field}</h3>"), body]
    if results.others:
        parts.insert(
            0,
            Markup(
                "<p>Shaded: the reference, in %. Others: their difference from it, in points; "
                "without a test, to look for what to ask next.</p>"
            ),
        )
    return Markup("\n".join(parts))


def calibration(results: Results) -> Markup:
    """Whether the probabilities are as often right as they say."""
    rows = [
        (
            one.name,
            f"{100 * one.calibration.diagram.expected_calibration_error:.1f}",
            f"{one.calibration.log_loss:.3f}",
            f"{one.calibration.brier_score:.3f}",
        )
        for one in results.results
    ]
    header = ["", "Expected calibration error (points)", "Log loss (nats)", "Brier score"]
    note = (
        "Across: confidence, the probability of the likeliest class, %. Up: how often that class "
        "is the right one, %. On the dashed line a model is as often right as it says; below it "
        "is too sure. Bars at the foot: how many answers, those of all seeds."
    )
    diagrams = reliability_diagrams(results)
    return Markup(f'{stacked_table(header, rows)}\n{diagrams}\n<p class="note">{note}</p>')


def ensembles(results: Results) -> Markup:
    """The weights of each run in each ensemble."""
    if not results.ensembles:
        return Markup()
    members = [name for name, _ in results.ensembles[0].members]
    rows = [
        (name, *(f"{one.members[i][1]:.3f}" for one in results.ensembles))
        for i, name in enumerate(members)
    ]
    parts = [stacked_table(["Weight of", *(one.name for one in results.ensembles)], rows)]
    if any(one.cross_fitted for one in results.ensembles):
        parts.append(
            paragraph(
                "The weights here are those of all clips. For the scores above each clip was "
                "combined by weights that were fitted at other locations."
            )
        )
    return Markup("\n".join(parts))


def method(results: Results) -> Markup:
    """What the numbers are."""
    several = any(len(values) > 1 for one in results.rows for values in one.by_seed.values())
    words = [
        "Class-wise accuracy is the mean over scenes of the share of their clips that is right. "
        "Intervals of scores are Wilson's, for as many independent clips as would vary as the "
        "recording locations do. They hold the true value at least 95 times of 100, and more often "
        "where there are few locations, or few that hold an error"
        + ("; they are of the mean of these seeds' models." if several else "."),
        "Differences are paired: both systems answered the same clips. Their standard error is "
        "a jackknife over locations"
        + (
            " with the variance over seeds, so that they speak of the recipes on this training "
            "data, and not only of the models that happened to be trained. Settings that differ "
            "in the ensemble alone share their models, and are paired by seed; an ensemble of all "
            "runs is compared as it is, without what other seeds would give."
            if several
            else ". With one seed they speak of these trained models, not of what another seed "
            "would give."
        ),
    ]
    if results.others:
        name = {"holm": "Holm's", "benjamini_hochberg": "Benjamini and Hochberg's"}
        words.append(
            "The p values are two-sided and corrected for "
            f"{count(len(results.others), 'comparison')} by {name[results.correction]} method; "
            "intervals are of each comparison alone. Detectable is the true difference that would "
            f"be found 80 times of 100 at {_level(results)}, with these clips, locations and seeds."
        )
    words += _descriptions(results)
    if results.other_lists:
        words.append(f"Other lists of these runs (--list): {', '.join(results.other_lists)}")
    if results.left_out:
        words.append(f"Left out, because not finished: {', '.join(results.left_out)}")
    return Markup("\n".join(paragraph(one) for one in words))


def _level(results: Results) -> str:
    """The level of a single comparison that detectable differences are for."""
    smallest = f"{ALPHA} / {len(results.others)}"
    if results.correction == "holm" or len(results.others) == 1:
        return smallest
    return f"{smallest} or, where other comparisons are significant, at what these leave it"


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
