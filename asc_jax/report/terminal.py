"""A report's scores as text for a terminal."""

import textwrap
from collections.abc import Mapping, Sequence

from asc_jax.report.formatting import count, size

_WIDTH = 80  # columns

_INTERVALS = (
    "Intervals: at least 95 %, over locations, not clips; wider if there are few locations."
)


def render(report: Mapping) -> str:
    """Renders the scores of `report.json` as tables."""
    lines = []
    for one in report["lists"]:
        lines += [*_render_list(one), ""]
    lines += _render_classes(report["lists"])
    for one in report["unlabelled"]:
        files = ", ".join(one["files"])
        lines += [
            f"{one['title']}: {count(one['n_clips'], 'clip', ' ')} without labels: {files}",
            "",
        ]
    return "\n".join([*lines, *_wrap(report["training"]["note"]), *_wrap(_INTERVALS)])


def _render_list(one: Mapping) -> list[str]:
    lines = [
        f"{one['title']}: {size(one['n_clips'], one['n_locations'])}",
        *_wrap(one["description"], indent="  "),
        "",
        f"  {'':24}{'accuracy':26}class-wise accuracy",
    ]
    scored = [(system["name"], system) for system in one["systems"]]
    scored += [(f"fold {fold['fold']}", fold) for fold in one["per_fold"]]
    for name, scores in scored:
        accuracy, class_wise = _percent(scores["accuracy"]), _percent(scores["class_wise_accuracy"])
        lines.append(f"  {name:24}{accuracy:26}{class_wise}")
    if mean := one["mean_of_folds"]:
        accuracy, class_wise = f"{mean['accuracy']:6.1%}", f"{mean['class_wise_accuracy']:6.1%}"
        lines.append(f"  {'mean of the folds':24}{accuracy:26}{class_wise}")
    return lines


def _render_classes(lists: Sequence[Mapping]) -> list[str]:
    """The accuracy in each class, a column for each list; intervals are on the page."""
    if not lists:
        return []
    columns = [
        (one["title"], {row["scene_label"]: row["value"] for row in one["systems"][0]["per_class"]})
        for one in lists
    ]
    widths = [max(len(title), 6) + 3 for title, _ in columns]
    places = list(zip(columns, widths, strict=True))
    lines = [f"{'Per class':26}" + "".join(f"{title:>{n}}" for (title, _), n in places)]
    for label in dict.fromkeys(label for _, values in columns for label in values):
        values = [(values.get(label), n) for (_, values), n in places]
        cells = (f"{'-' if value is None else f'{value:.1%}':>{n}}" for value, n in values)
        lines.append(f"  {label:24}" + "".join(cells))
    return [*lines, ""]


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _percent(score: Mapping) -> str:
    if score["value"] is None:
        return "     -"
    return f"{score['value']:6.1%} [{score['low']:.1%}, {score['high']:.1%}]"
