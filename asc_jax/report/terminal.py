"""A report's scores as text for a terminal."""

from collections.abc import Mapping

_INTERVALS = (
    "Intervals: at least 95 %, over locations, not clips; more than that where locations are few."
)


def render(report: Mapping) -> str:
    """The scores of `report.json` as a table."""
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
    for system in one["systems"]:
        accuracy, class_wise = _percent(system["accuracy"]), _percent(system["class_wise_accuracy"])
        lines.append(f"  {system['name']:24}{accuracy:26}{class_wise}")
    for fold in one["per_fold"]:
        accuracy, class_wise = _percent(fold["accuracy"]), _percent(fold["class_wise_accuracy"])
        lines.append(f"  {'fold ' + str(fold['fold']):24}{accuracy:26}{class_wise}")
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
