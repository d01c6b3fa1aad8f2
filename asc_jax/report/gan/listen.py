"""The listening page of a GAN's run folder: real and generated clips, side by side.

One HTML file beside the clips it plays. It runs no script, and asks for nothing but the
files of its own folder; players fetch theirs when they are started.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from asc_jax.report.formatting import DASH, MINUS
from asc_jax.report.rendering import here, render
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole

PAGE = "listen.html"

# Name in words, what to read from it, and how many decimals; None for three digits.
METRICS: Mapping[str, tuple[str, str, int | None]] = {
    "level_db": ("level", "dB re full scale, median", 1),
    "spectral_flatness": ("spectral flatness", "1 for white noise, near 0 for a tone", None),
    "high_band_share": ("energy in the high band", "dB re the clip's energy, median", 1),
    "separability": ("told from real by the high band", "0.5: not at all; 1: always", 2),
    "diversity": ("diversity", "mean distance between two clips' embeddings", None),
    "diversity_ratio": ("diversity ratio", "diversity re the real clips'; near 0: all alike", 2),
    "frechet_distance": (
        "Fréchet distance",
        "0: embeddings as the unseen clips'; higher the fewer clips: compare equal numbers",
        None,
    ),
    "memorisation_ratio": (
        "memorisation ratio",
        "distance to the nearest training clip re that of unseen real clips; well below 1: copies",
        2,
    ),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One scene of the page.

    Attributes:
      scene_label: its heading.
      contact_sheet: path of the picture; "" for none. Paths are relative to the page's folder,
        or absolute within it.
      real: paths of the real clips, in the order of the contact sheet.
      generated: paths of the generated ones.
      metrics: by name, a number that is the generated clips', or both as {"real": ...,
        "generated": ...}. The names of `METRICS` are put in words.
      collapse: what `gan_metrics.collapse` says of the scene; "" if nothing.
      in_table: whether its figures stand in the table at the top; it is linked there anyway.
    """

    scene_label: str
    contact_sheet: str | pathlib.Path = ""
    real: Sequence[str | pathlib.Path] = ()
    generated: Sequence[str | pathlib.Path] = ()
    metrics: Mapping[str, float | Mapping[str, float]] = dataclasses.field(default_factory=dict)
    collapse: str = ""
    in_table: bool = True


def write_listening_page(
    folder: pathlib.Path,
    entries: Sequence[Entry],
    *,
    title: str = "WaveGAN",
    run_facts: Sequence[tuple[str, object]] = (),
) -> pathlib.Path:
    """Writes the page.

    Args:
      folder: where it goes; the clips and pictures lie in it, or in folders of it.
      entries: the scenes, in the order of the page.
      title: of the page.
      run_facts: names and values to stand at the top, such as ("step", 20000).

    Returns:
      The path of `listen.html`. The same input gives the same bytes.

    Raises:
      InputError: a path leads out of the folder, or the page cannot be written.
    """
    page = pathlib.Path(folder) / PAGE
    names = dict.fromkeys(name for one in entries if one.in_table for name in one.metrics)
    scenes = [_scene(page.parent, i, entry, list(names)) for i, entry in enumerate(entries)]
    columns = list(map(_name, names))
    content = {"title": title, "run_facts": run_facts, "columns": columns, "scenes": scenes}
    write_whole(page, render("listen.html", **content))
    return page


def _scene(folder: pathlib.Path, number: int, entry: Entry, columns: list[str]) -> dict[str, Any]:
    """What the page shows of a scene; "row" is its numbers in the table at the top."""
    numbers = [_number(name, _of(entry.metrics.get(name), "generated")) for name in columns]
    return {
        "number": number,
        "name": entry.scene_label,
        "collapse": entry.collapse,
        "fault": entry.collapse.split(":")[0],  # the section says the rest
        "row": numbers if entry.in_table else None,
        "sheet": _source(folder, entry.contact_sheet) if entry.contact_sheet else "",
        "clips": {
            side: [(path, _source(folder, path), (folder / path).is_file()) for path in paths]
            for side, paths in (("real", entry.real), ("generated", entry.generated))
        },
        "metrics": [
            {
                "name": _name(name),
                "meaning": METRICS[name][1] if name in METRICS else "",
                "real": _number(name, _of(value, "real")),
                "generated": _number(name, _of(value, "generated")),
            }
            for name, value in entry.metrics.items()
        ],
    }


def _source(folder: pathlib.Path, path: str | pathlib.Path) -> str:
    """A path as the page may link it: below its folder, and nothing but a path."""
    inside = (folder / path).absolute()
    try:
        relative = inside.relative_to(folder.absolute())
    except ValueError:
        relative = pathlib.Path("..")
    if ".." in relative.parts:
        raise InputError(f"{path}: lies outside of {folder}, where {PAGE} goes; write it there")
    return here(relative.as_posix())


def _name(metric: str) -> str:
    return METRICS[metric][0] if metric in METRICS else metric.replace("_", " ")


def _of(value: float | Mapping[str, float] | None, side: str) -> float | None:
    """One side's number; a number without a side is the generated clips'."""
    if isinstance(value, Mapping):
        return value.get(side)
    return value if side == "generated" else None


def _number(metric: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return DASH
    decimals = METRICS[metric][2] if metric in METRICS else None
    if decimals is None:
        shown = f"{value:,.0f}" if 1000 <= abs(value) < math.inf else f"{value:.3g}"
    else:
        shown = f"{value:.{decimals}f}"
    return shown.replace("-", MINUS)
