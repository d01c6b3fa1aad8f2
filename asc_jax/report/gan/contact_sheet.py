"""Real above generated clips of one scene, to be compared at a glance: an SVG drawing."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from asc_jax.frontend import FrontendConfig, hz_to_mel, log_mel
from asc_jax.gan.metrics import level_db
from asc_jax.report.figures import BLUE, INK, draw_svg, short
from asc_jax.report.formatting import MINUS
from asc_jax.runtime.files import write_whole

PAPER = "#fdfcfa"
# The page's colours in the dark, by those of the drawing.
DARK = {PAPER: "#161718", INK: "#e7e4de", BLUE: "#7cb2dc"}

_TICKS_HZ = (500, 1000, 2000, 4000, 8000, 16_000)
_ENVELOPE_POINTS = 300
_COLUMNS = 4  # clips of each kind
_compiled_log_mel = jax.jit(log_mel, static_argnums=1)  # once for all scenes of a run


def contact_sheet(
    path: pathlib.Path,
    scene_label: str,
    real: np.ndarray,
    generated: np.ndarray,
    sr: int,
) -> None:
    """Draws waveforms and log-mels of real clips, and below them those of generated ones.

    All waveforms share one scale and all log-mels one range of colours: a wrong level or
    spectrum shows as such. A browser draws the sheet light or dark, as it is set.

    Args:
      path: the SVG file. The same input gives the same bytes.
      scene_label: the title.
      real: (n, T) float, n at least 1; four of them are drawn.
      generated: (m, T) float, m at least 1, T its own; NaN and infinity are drawn as 0, and
        said.
      sr: the sampling rate of both, Hz.

    Raises:
      InputError: the file cannot be written.
    """
    groups = {"real": real[:_COLUMNS], "generated": generated[:_COLUMNS]}
    svg = _draw(scene_label, groups, _frontend(sr))
    # Matplotlib's elements carry their colours; what shows no CSS shows these.
    dark = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{colour}!important}}'
        for light, colour in DARK.items()
        for kind in ("fill", "stroke")
    )
    style = f"@media (prefers-color-scheme: dark){{{dark}}}</style>"
    write_whole(path, svg.replace("</style>", style, 1))


def _frontend(sr: int) -> FrontendConfig:
    """The paper's frames, 40 ms every 20 ms, at another rate, and bands enough to look at."""
    length = round(0.04 * sr)
    return FrontendConfig(
        sr=sr,
        n_fft=2 ** math.ceil(math.log2(length)),
        win_length=length,
        hop_length=length // 2,
        n_mels=64,
    )


def _draw(scene_label: str, groups: Mapping[str, np.ndarray], cfg: FrontendConfig) -> str:
    """The sheet as SVG: per kind of clip a row of waveforms and one of log-mels."""
    shown = {name: np.nan_to_num(g, nan=0, posinf=0, neginf=0) for name, g in groups.items()}
    mels = {name: _mel_db(waveforms, cfg) for name, waveforms in shown.items()}
    loudest = max(mel.max() for mel in mels.values())
    range_db = _range_db(mels["real"])
    peak = max(np.abs(waveforms).max() for waveforms in shown.values()) or 1
    seconds = max(waveforms.shape[1] for waveforms in shown.values()) / cfg.sr
    width = max(map(len, shown.values()))

    def draw(figure: Any) -> None:
        figure.set_facecolor(PAPER)
        figure.suptitle(short([scene_label])[0], x=0.01, ha="left", weight="bold", color=INK)
        panels = figure.subplots(5, width, squeeze=False, height_ratios=(2, 5, 0.4, 2, 5))
        for axes in panels[2]:
            axes.set_visible(False)  # room between the kinds
        panels = np.delete(panels, 2, axis=0)
        for axes in panels.flat:
            _style(axes, seconds)
        pictures = []
        for name, rows in zip(groups, (panels[:2], panels[2:]), strict=True):
            clips = zip(groups[name], shown[name], mels[name], strict=True)
            for i, (waveform, finite, mel) in enumerate(clips):
                rows[0, i].set_title(_title(name, i, waveform), loc="left", fontsize=8, color=INK)
                _plot_waveform(rows[0, i], finite, cfg.sr, peak)
                pictures.append(
                    _plot_mel(rows[1, i], mel - loudest, range_db, len(finite) / cfg.sr)
                )
            for axes in rows[:, len(groups[name]) :].flat:
                axes.set_visible(False)
            _label_frequencies(rows[1, 0], cfg)
        for axes in panels[3]:
            axes.tick_params(bottom=True, labelbottom=True)
            axes.set_xlabel("time (s)", color=INK)
        bar = figure.colorbar(pictures[0], ax=panels[[1, 3]], fraction=0.02, aspect=40, pad=0.01)
        bar.set_label("dB re the loudest band", color=INK)
        bar.ax.tick_params(colors=INK)
        bar.outline.set_visible(False)

    return draw_svg(draw, 1.1 + 1.75 * width, 4.8)


def _mel_db(waveforms: np.ndarray, cfg: FrontendConfig) -> np.ndarray:
    """(n, T) -> (n, N, M): the log-mel in dB, whichever power of the magnitude it is of."""
    log_mels = _compiled_log_mel(waveforms.astype(np.float32), cfg)
    return np.asarray(log_mels) * (20 / cfg.power / math.log(10))


def _range_db(mel: np.ndarray) -> float:
    """How far down the colours reach: to nearly the weakest that the real clips hold."""
    return float(np.clip(10 * np.ceil((mel.max() - np.percentile(mel, 1)) / 10), 40, 80))


def _title(name: str, i: int, waveform: np.ndarray) -> str:
    """What stands above a clip: its number on the page, and its level."""
    if not np.isfinite(waveform).all():
        return f"{name} {i + 1}: not finite"
    level = level_db(waveform[None])[0]
    shown = f"{level:.0f} dB".replace("-", MINUS) if level > -120 else "silence"
    return f"{name} {i + 1}: {shown}"


def _style(axes: Any, seconds: float) -> None:
    axes.set_facecolor("none")
    axes.set_xlim(0, seconds)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=INK, length=2, left=False, bottom=False)
    axes.tick_params(labelleft=False, labelbottom=False)
    axes.locator_params(axis="x", nbins=4)


def _plot_waveform(axes: Any, waveform: np.ndarray, sr: int, peak: float) -> None:
    """The band between the lowest and the highest sample of each short while."""
    block = math.ceil(len(waveform) / _ENVELOPE_POINTS)
    blocks = np.pad(waveform, (0, -len(waveform) % block), mode="edge").reshape(-1, block)
    seconds = (np.arange(len(blocks)) + 0.5) * block / sr
    axes.fill_between(
        seconds, blocks.min(axis=1), blocks.max(axis=1), facecolor=BLUE, edgecolor=BLUE, lw=0.5
    )
    axes.set_ylim(-1.05 * peak, 1.05 * peak)


def _plot_mel(axes: Any, mel: np.ndarray, range_db: float, seconds: float) -> Any:
    return axes.imshow(
        mel.T,
        cmap="magma",
        vmin=-range_db,
        vmax=0,
        aspect="auto",
        origin="lower",
        interpolation="none",  # the picture's own cells, at any size of the page
        extent=(0, seconds, -0.5, mel.shape[1] - 0.5),
    )


def _label_frequencies(axes: Any, cfg: FrontendConfig) -> None:
    """Ticks at round frequencies, where the bands are that have their peaks there."""
    to_mel = lambda hz: hz_to_mel(np.asarray(hz, float), htk=cfg.htk)
    lowest, highest = to_mel(cfg.fmin), to_mel(cfg.highest)
    place = lambda hz: float((to_mel(hz) - lowest) / (highest - lowest) * (cfg.n_mels + 1) - 1)
    ticks: Sequence[int] = [hz for hz in _TICKS_HZ if cfg.fmin < hz < cfg.highest]
    axes.tick_params(left=True, labelleft=True)
    axes.set_yticks([place(hz) for hz in ticks], [f"{hz / 1000:g}" for hz in ticks])
    axes.set_ylabel("kHz", color=INK)
