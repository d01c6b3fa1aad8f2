"""A report's scores as text for a terminal."""

from collections.abc import Mapping

_INTERVALS = (
    "Intervals: at least 95 %, over locations, not clips; more than that where locations are few."
)


def render(report: Mapping) -> str:
    """Renders the scores of `report.json` as a table."""
    lines = []
    for one in report["lists"]:
        lines += [*_render_list(one), ""]
    for one in report["unlabelled"]:
        files = ", ".join(one["files"])
        lines += [f"{one['title']}: {one['n_clips']} clips without labels: {files}", ""]
    return "\n".join([*lines, report["training"]["note"], _INTERVALS])


def _render_list(one: Mapping) -> list[str]:
    lines = [
        f"{one['title']}: {one['n_clips']} clips, {one['n_locations']} locations",
        f"  {one['description']}",
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
    lines += ["", f"  {one['systems'][0]['name']}, per class"]
    for row in one["systems"][0]["per_class"]:
        lines.append(f"  {row['scene_label']:24}{_percent(row)}")
    return lines


def _percent(score: Mapping) -> str:
    if score["value"] is None:
        return "     -"
    return f"{score['value']:6.1%} [{score['low']:.1%}, {score['high']:.1%}]"
