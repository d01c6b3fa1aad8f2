"""The listening page of a GAN run: real and generated clips, side by side.

One HTML file beside the clips it plays. It runs no script, and asks for nothing but the
files of its own folder; players fetch theirs when they are started.
"""

import glob
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from asc_jax.config.load import check_gan_config
from asc_jax.data.audio import decode, mono
from asc_jax.gan import metrics as gan_metrics
from asc_jax.report.formatting import DASH, MINUS
from asc_jax.report.gan.contact_sheet import contact_sheet
from asc_jax.report.rendering import render
from asc_jax.runs.folder import read_config
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runtime.files import parse_json, write_whole

PAGE = "listen.html"

# Name in words, what to read from it, and how many decimals; None for three digits.
METRICS: Mapping[str, tuple[str, str, int | None]] = {
    "level_db": ("level", "dB relative to full scale, median", 1),
    "spectral_flatness": ("spectral flatness", "1 for white noise, near 0 for a tone", None),
    "high_band_share": ("energy in the high band", "dB relative to the clip's energy, median", 1),
    "separability": ("told from recordings by the high band", "0.5: not at all; 1: always", 2),
    "diversity": ("diversity", "mean distance between two clips' embeddings", None),
    "diversity_ratio": ("diversity ratio", "relative to that of real clips; near 0: all alike", 2),
    "frechet_distance": (
        "Fréchet distance",
        "0: the same embeddings as unseen clips; larger with fewer clips: compare equal numbers",
        None,
    ),
    "memorisation_ratio": (
        "memorisation ratio",
        "distance to the nearest training clip relative to unseen clips; well below 1: copies",
        2,
    ),
}

# What clips alone tell, without a classifier.
_MEASURES = {
    "level_db": gan_metrics.level_db,
    "spectral_flatness": gan_metrics.spectral_flatness,
}


def write_gan_page(workdir: pathlib.Path) -> pathlib.Path | None:
    """Draws the contact sheets of a GAN run and writes its page.

    Args:
      workdir: the run folder.

    Returns:
      The path of `listen.html`; None where no epoch is finished. The same input gives the same
      bytes.

    Raises:
      InputError: the folder is no GAN run, or cannot be written.
    """
    config = read_config(workdir, check=check_gan_config)
    epochs = read_metrics(workdir / "metrics.jsonl")
    if len(epochs) < 2:  # the first line is of untrained generators
        return None
    corpora = parse_json((workdir / "corpora.json").read_text(encoding="utf-8"))
    scenes = [
        scene
        for gan, corpus in enumerate(corpora)
        for scene in _scenes(workdir, corpus, gan, epochs, config.train.watch_clips)
    ]
    last = epochs[-1]
    run_facts = [
        ("GANs", "one for all scenes" if config.gan.conditional else "one per scene"),
        ("epochs", last["epoch"]),
        ("updates of each generator", f"{last['step']:,}"),
        ("loss", config.gan.loss),
        ("d", config.gan.dim),
        ("clips generated per evaluation", config.train.watch_clips),
        ("samples per segment", f"{config.gan.n_samples:,} at {config.gan.sr:,} Hz"),
    ]
    measured = {name for one in scenes if one["in_table"] for name in one["metrics"]}
    columns = [name for name in METRICS if name in measured]
    content = {"run_facts": run_facts, "scenes": scenes, "columns": columns}
    content |= {"metric_text": metric_text, "number": number}
    write_whole(workdir / PAGE, render("listen.html", title=config.title, **content))
    return workdir / PAGE


def metric_text(name: str) -> tuple[str, str]:
    """Returns a metric's name in words, and how to read it; "" if that is not known."""
    words, meaning, _ = METRICS.get(name, (name.replace("_", " "), "", None))
    return words, meaning


def number(name: str, value: float | None) -> str:
    """Writes a metric's number; a dash for none or NaN."""
    if value is None or math.isnan(value):
        return DASH
    decimals = METRICS[name][2] if name in METRICS else None
    if decimals is None:
        shown = f"{value:,.0f}" if 1000 <= abs(value) < math.inf else f"{value:.3g}"
    else:
        shown = f"{value:.{decimals}f}"
    return shown.replace("-", MINUS)


def _scenes(
    workdir: pathlib.Path, corpus: Mapping, gan: int, epochs: list[dict], n_clips: int
) -> list[dict[str, Any]]:
    """What a GAN has learnt of each scene; before it, where there are several, of all."""
    scenes = [_scene(workdir, f"{label}-fold{corpus['fold']}") for label in corpus["scene_labels"]]
    last = {
        metric: values[gan] for metric, values in epochs[-1].items() if isinstance(values, list)
    }
    metrics = {metric: last[metric] for metric in (*METRICS, "class_score") if metric in last}
    metrics["Fréchet distance before training"] = epochs[0]["frechet_distance"][gan]
    distances = [(line["frechet_distance"][gan], line["epoch"]) for line in epochs[1:]]
    measured = [pair for pair in distances if pair[0] is not None]
    if measured:
        metrics["smallest Fréchet distance"], metrics["at epoch"] = min(measured)
    metrics["unseen clips compared with"] = min(n_clips, len(corpus["unseen"]))
    # Name -> the number of real clips, where it is one of clips alone, and of generated ones.
    sides = {metric: [None, value] for metric, value in metrics.items()}
    for metric in _MEASURES:
        real = [scene["metrics"][metric][0] for scene in scenes if scene["clips"]["real"]]
        sides[metric][0] = float(np.median(real)) if real else None
    of_gan = {"metrics": sides, "collapse": "" if last["running"] else _reason(last)}
    if len(scenes) == 1:
        return [scenes[0] | of_gan | {"in_table": True}]
    name = f"all scenes, fold {corpus['fold']}"
    return [{"name": name, "sheet": "", "clips": {}, "in_table": True} | of_gan, *scenes]


def _scene(workdir: pathlib.Path, name: str) -> dict[str, Any]:
    """The clips of one scene, with their contact sheet and what can be measured of them alone."""
    files, clips = {}, {}
    for kind in ("real", "generated"):
        paths = sorted((workdir / "samples").glob(f"{glob.escape(name)}-{kind}-*.wav"))
        decoded = [decode(path) for path in paths]
        files[kind] = [path.relative_to(workdir).as_posix() for path in paths]
        clips[kind] = np.array([mono(samples) for samples, _ in decoded])
        sr = decoded[0][1] if decoded else 0
    metrics = {
        metric: [float(np.median(measure(one))) if len(one) else None for one in clips.values()]
        for metric, measure in _MEASURES.items()
    }
    sheet = ""
    if all(map(len, clips.values())):  # fewer clips than scenes may be generated per evaluation
        sheet = f"figures/{name}.svg"
        contact_sheet(workdir / sheet, name, clips["real"], clips["generated"], sr)
    scene = {"name": name, "sheet": sheet, "clips": files, "metrics": metrics}
    return scene | {"collapse": "", "in_table": False}


def _reason(figures: dict) -> str:
    """Why a GAN was stopped."""
    names = ("level_db", "spectral_flatness", "diversity_ratio")
    found = {name: figures[name] for name in names if figures[name] is not None}
    return gan_metrics.collapse(**found) or gan_metrics.collapse(finite=False)
