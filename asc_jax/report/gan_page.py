"""The listening page of a GAN run, out of the files in its folder."""

import json
import pathlib

import numpy as np

from asc_jax import gan_metrics
from asc_jax.config import check_gan_config
from asc_jax.data.audio import decode, mono
from asc_jax.report.contact_sheet import contact_sheet
from asc_jax.report.listen import METRICS, Entry, write_listening_page
from asc_jax.run import read_config
from asc_jax.train.metrics_log import read_metrics


def write_gan_page(workdir: pathlib.Path) -> pathlib.Path | None:
    """Draws the contact sheets of a GAN run and writes its page.

    Args:
      workdir: the run folder.

    Returns:
      The page; None where no epoch is finished.

    Raises:
      InputError: the folder is no GAN run, or cannot be written.
    """
    config = read_config(workdir, check=check_gan_config)
    epochs = read_metrics(workdir / "metrics.jsonl")
    if len(epochs) < 2:  # the first line is of untrained generators
        return None
    corpora = json.loads((workdir / "corpora.json").read_text(encoding="utf-8"))
    entries = [_entry(workdir, corpus, gan, epochs) for gan, corpus in enumerate(corpora)]
    last = epochs[-1]
    run_facts = [
        ("GANs", "one for all scenes" if config.gan.conditional else "one per scene"),
        ("epochs", str(last["epoch"])),
        ("updates of each generator", f"{last['step']:,}"),
        ("loss", config.gan.loss),
        ("d", str(config.gan.dim)),
        ("samples per segment", f"{config.gan.n_samples:,} at {config.gan.sr:,} Hz"),
    ]
    return write_listening_page(workdir, entries, title=config.title, run_facts=run_facts)


def _entry(workdir: pathlib.Path, corpus: dict, gan: int, epochs: list[dict]) -> Entry:
    scenes = corpus["scene_labels"]
    name = f"{scenes[0] if len(scenes) == 1 else 'all'}-fold{corpus['fold']}"
    files, clips = {}, {}
    for kind in ("real", "generated"):
        files[kind] = sorted((workdir / "samples").glob(f"{name}-{kind}-*.wav"))
        decoded = [decode(file) for file in files[kind]]
        clips[kind] = np.stack([mono(samples) for samples, _ in decoded])
        sr = decoded[0][1]
    sheet = workdir / "figures" / f"{name}.svg"
    contact_sheet(sheet, name, clips["real"], clips["generated"], sr)
    last = {
        metric: values[gan] for metric, values in epochs[-1].items() if isinstance(values, list)
    }
    metrics = {metric: last[metric] for metric in (*METRICS, "class_score") if metric in last}
    for metric, measure in (
        ("level_db", gan_metrics.level_db),
        ("spectral_flatness", gan_metrics.spectral_flatness),
    ):
        real = float(np.median(measure(clips["real"])))
        metrics[metric] = {"real": real, "generated": last[metric]}
    metrics["Fréchet distance before training"] = epochs[0]["frechet_distance"][gan]
    distances = [(line["frechet_distance"][gan], line["epoch"]) for line in epochs[1:]]
    measured = [pair for pair in distances if pair[0] is not None]
    if measured:
        metrics["smallest Fréchet distance"], metrics["at epoch"] = min(measured)
    reason = "" if last["running"] else _reason(last)
    inside = lambda paths: [path.relative_to(workdir) for path in paths]
    (sheet,) = inside([sheet])
    return Entry(name, sheet, inside(files["real"]), inside(files["generated"]), metrics, reason)


def _reason(figures: dict) -> str:
    """Why a GAN was stopped."""
    names = ("level_db", "spectral_flatness", "diversity_ratio")
    found = {name: figures[name] for name in names if figures[name] is not None}
    return gan_metrics.collapse(**found) or gan_metrics.collapse(finite=False)
