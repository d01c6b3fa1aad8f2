"""What is in a data set and what is wrong with it, as text for a terminal and as a page."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence

from asc_jax.data.on_disk import first_three
from asc_jax.report.formatting import count, duration
from asc_jax.report.rendering import render as render_template
from asc_jax.runtime.errors import visible
from asc_jax.runtime.files import write_whole

KICKER = "Acoustic scene classification, a data set checked"

# What clips are counted by, and the field that names one.
_COUNTED = {"classes": "scene_label", "cities": "city", "devices": "device"}


def render(found: Mapping) -> str:
    """Renders what `check_dataset` has found, but for its faults, as text."""
    lines = [f"{found['root']}: {', '.join(_size(found))}"]
    for kind, field in _COUNTED.items():
        if kind == "classes" or len(found[kind]) > 1:
            lines += [] if kind == "classes" else [f"  {kind}:"]
            lines += _table(found[kind], field)
    for one in found["folds"]:
        lines.append(f"  fold {one['fold']}: {one['train']} train, {one['evaluate']} evaluate")
    lines += [f"  {', '.join(filter(None, _format(one)))}" for one in found["formats"]]
    lines += [f"  {note}" for note in found["notes"]]
    if not found["faults"]:
        if found["fields"]:
            lines.append(f"  for any other config add {found['fields']}")
        if found["command"]:
            lines.append(f"next: {found['command']}")
    return "\n".join(visible(line.replace("\N{NO-BREAK SPACE}", " ")) for line in lines)


def write_page(path: pathlib.Path, found: Mapping) -> None:
    """Writes the same and the faults as a page.

    Args:
      path: of the page.
      found: by `check_dataset`.

    Raises:
      InputError: it cannot be written.
    """
    counts = {kind: [list(row.values()) for row in found[kind]] for kind in _COUNTED}
    page = render_template(
        "dataset.html",
        kicker=KICKER,
        title=pathlib.Path(found["root"]).resolve().name,
        origin=_size(found),
        counts={kind: rows for kind, rows in counts.items() if rows},
        formats=[_format(one) for one in found["formats"]],
        **{
            name: found[name]
            for name in ("folds", "faults", "notes", "unreadable", "fields", "command")
        },
    )
    write_whole(path, page)


def _size(found: Mapping) -> list[str]:
    clips, places = count(found["n_clips"], "clip"), count(found["n_locations"], "location")
    return [clips, places, duration(found["seconds"])]


def _table(rows: Sequence[Mapping], field: str) -> Iterator[str]:
    width = max((len(row[field]) for row in rows), default=0)
    for row in rows:
        clips, places = count(row["n_clips"], "clip"), count(row["n_locations"], "location")
        yield f"  {row[field]:{width}}{clips:>14}{places:>18}"


def _format(one: Mapping) -> tuple[str, str, str, str, str]:
    """Files, their length, rate and channels, and examples of all but the commonest format."""
    lengths = dict.fromkeys(f"{one[field]:.3g}" for field in ("shortest", "longest"))
    examples = first_three(one["files"]) + (", ..." if one["n_files"] > 3 and one["files"] else "")
    return (
        f"{count(one['n_files'], 'file')} {one['ending']}",
        f"{' to '.join(lengths)} s",
        f"{one['sr']}\N{NO-BREAK SPACE}Hz",
        count(one["channels"], "channel"),
        examples,
    )
