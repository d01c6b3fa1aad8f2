"""The listening page of a GAN's run folder: real and generated clips, side by side.

One HTML file beside the clips it plays. It runs no script, and asks for nothing but the
files of its own folder; players fetch theirs when they are started.
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from asc_jax.report.gan.contact_sheet import MINUS
from asc_jax.report.page import HEAD, POLICY
from asc_jax.report.style import STYLE
from asc_jax.report.tables import DASH, Markup, facts, table, text
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole

PAGE = "listen.html"

# `file:` for a page opened from a disk, where browsers differ on what 'self' is.
LISTEN_HEAD = HEAD.replace(POLICY, f"{POLICY} 'self' file:; media-src 'self' file:")

LISTEN_STYLE = """
.sheet { overflow-x: auto; margin: 1.2rem 0 1.6rem; }
.sheet img { display: block; width: 100%; min-width: 34rem; height: auto; border-radius: 4px; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr));
  gap: .6rem 2.5rem; }
.sides h3 { margin: 0 0 .5em; }
.clips { list-style: none; margin: 0 0 1rem; padding: 0; }
.clips li { display: flex; align-items: center; gap: .7rem; margin: .35rem 0; }
.clips a { flex: none; min-width: 1.4em; text-align: right; }
audio { flex: 1; min-width: 0; width: 100%; height: 2.4rem; }
.verdict { display: inline-block; margin: .2rem 0 0; padding: .3rem .8rem; max-width: none;
  border-left: 3px solid var(--warm); background: var(--track); border-radius: 0 4px 4px 0; }
.collapsed { color: var(--warm); }
.overview td:nth-child(2), .overview th:nth-child(2) { text-align: left; white-space: nowrap; }
.others { max-width: none; }
.others a { margin-right: 1em; white-space: nowrap; }
.metrics { margin-top: .8rem; }
.metrics th small { display: block; color: var(--muted); }
@media print { audio { display: none; } }
"""

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
    run_facts: Iterable[tuple[str, object]] = (),
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
    folder = pathlib.Path(folder)
    bodies = "\n".join(
        f'<section id="s{i}">\n{_scene(folder, entry)}\n</section>'
        for i, entry in enumerate(entries)
    )
    window = text(title).replace("<wbr>", "")
    page = folder / PAGE
    write_whole(
        page,
        f"{LISTEN_HEAD}<title>{window}: real and generated clips</title>\n"
        f"<style>{STYLE}{LISTEN_STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n"
        '<p class="kicker">Real and generated clips, to be compared by eye and ear</p>\n'
        f"<h1>{text(title)}</h1>\n{facts(run_facts)}\n{_overview(entries)}\n"
        f"</header>\n{bodies}\n</main>\n</body>\n</html>\n",
    )
    return page


def _overview(entries: Sequence[Entry]) -> Markup:
    """The way to the scenes: where there are several, a table with the generated clips' figures."""
    if len(entries) < 2:
        return Markup()
    shown = [entry for entry in entries if entry.in_table]
    names = list(dict.fromkeys(name for entry in shown for name in entry.metrics))
    rows, others = [], []
    for i, entry in enumerate(entries):
        link = Markup(f'<a href="#s{i}">{text(entry.scene_label)}</a>')
        if not entry.in_table:
            others.append(link)
            continue
        fault = entry.collapse.split(":")[0]  # the section says the rest
        verdict = Markup(f'<span class="collapsed">{text(fault)}</span>') if fault else "none"
        numbers = [_number(name, _of(entry.metrics.get(name), "generated")) for name in names]
        rows.append([link, verdict, *numbers])
    links = f'<p class="others">{" ".join(others)}</p>' if others else ""
    overview = table(["scene", "collapse", *map(_name, names)], rows, "overview")
    return Markup(f"{overview}\n{links}")


def _scene(folder: pathlib.Path, entry: Entry) -> str:
    """Heading, picture, players and figures of one scene."""
    parts = [f"<h2>{text(entry.scene_label)}</h2>"]
    if entry.collapse:
        parts.append(f'<p class="verdict">{text(entry.collapse)}</p>')
    if entry.contact_sheet:
        alt = text(f"Waveforms and log-mels of {entry.scene_label}: real above generated")
        alt = alt.replace("<wbr>", "")
        source = _source(folder, entry.contact_sheet)
        parts.append(f'<div class="sheet"><img src="{source}" alt="{alt}"></div>')
    sides = [_players(folder, entry, side) for side in ("real", "generated")]
    parts.append(f'<div class="sides">\n{"".join(sides)}</div>')
    rows = [
        (
            Markup(f"{text(_name(name))}<small>{text(METRICS.get(name, ('', '', 0))[1])}</small>"),
            *(_number(name, _of(value, side)) for side in ("real", "generated")),
        )
        for name, value in entry.metrics.items()
    ]
    if rows:
        parts.append(table(["", "real", "generated"], rows, "metrics"))
    return "\n".join(part for part in parts if part)


def _players(folder: pathlib.Path, entry: Entry, side: str) -> str:
    """One side's clips; a file that is not there is named instead of played."""
    items = []
    for i, path in enumerate(getattr(entry, side), 1):
        source = _source(folder, path)
        label = text(f"{entry.scene_label}, {side} {i}").replace("<wbr>", "")
        player = f'<audio controls preload="none" src="{source}" aria-label="{label}"></audio>'
        if not (folder / path).is_file():
            player = f'<span class="muted">missing: {text(path)}</span>'
        items.append(f'<li><a href="{source}">{i}</a>{player}</li>\n')
    if not items:
        return ""
    return f'<div>\n<h3>{side.capitalize()}</h3>\n<ol class="clips">\n{"".join(items)}</ol></div>\n'


def _source(folder: pathlib.Path, path: str | pathlib.Path) -> str:
    """A path as the page may link it: below its folder, and nothing but a path."""
    inside = (folder / path).absolute()
    try:
        relative = inside.relative_to(folder.absolute())
    except ValueError:
        relative = pathlib.Path("..")
    if ".." in relative.parts:
        raise InputError(f"{path}: lies outside of {folder}, where {PAGE} goes; write it there")
    return f"./{quote(relative.as_posix())}"


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
