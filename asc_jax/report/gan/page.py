"""The listening page of a GAN run, out of the files in its folder."""

import dataclasses
import glob
import pathlib

import numpy as np

from asc_jax.config.load import check_gan_config
from asc_jax.data.audio import decode, mono
from asc_jax.gan import metrics as gan_metrics
from asc_jax.report.gan.contact_sheet import contact_sheet
from asc_jax.report.gan.listen import METRICS, Entry, write_listening_page
from asc_jax.runs.folder import read_config
from asc_jax.runs.metrics_log import read_metrics
from asc_jax.runtime.files import parse_json

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
      The page; None where no epoch is finished.

    Raises:
      InputError: the folder is no GAN run, or cannot be written.
    """
    config = read_config(workdir, check=check_gan_config)
    epochs = read_metrics(workdir / "metrics.jsonl")
    if len(epochs) < 2:  # the first line is of untrained generators
        return None
    corpora = parse_json((workdir / "corpora.json").read_text(encoding="utf-8"))
    entries = [
        entry
        for gan, corpus in enumerate(corpora)
        for entry in _entries(workdir, corpus, gan, epochs, config.train.watch_clips)
    ]
    last = epochs[-1]
    run_facts = [
        ("GANs", "one for all scenes" if config.gan.conditional else "one per scene"),
        ("epochs", str(last["epoch"])),
        ("updates of each generator", f"{last['step']:,}"),
        ("loss", config.gan.loss),
        ("d", str(config.gan.dim)),
        ("clips generated at a look", str(config.train.watch_clips)),
        ("samples per segment", f"{config.gan.n_samples:,} at {config.gan.sr:,} Hz"),
    ]
    return write_listening_page(workdir, entries, title=config.title, run_facts=run_facts)


def _entries(
    workdir: pathlib.Path, corpus: dict, gan: int, epochs: list[dict], n_clips: int
) -> list[Entry]:
    """What a GAN has learnt of each scene; before it, where there are several, of all."""
    scenes = [_scene(workdir, f"{label}-fold{corpus['fold']}") for label in corpus["scene_labels"]]
    last = {
        metric: values[gan] for metric, values in epochs[-1].items() if isinstance(values, list)
    }
    metrics = {metric: last[metric] for metric in (*METRICS, "class_score") if metric in last}
    for metric in _MEASURES:
        real = [scene.metrics[metric]["real"] for scene in scenes if scene.real]
        metrics[metric] = {"generated": last[metric]}
        if real:
            metrics[metric]["real"] = float(np.median(real))
    metrics["Fréchet distance before training"] = epochs[0]["frechet_distance"][gan]
    distances = [(line["frechet_distance"][gan], line["epoch"]) for line in epochs[1:]]
    measured = [pair for pair in distances if pair[0] is not None]
    if measured:
        metrics["smallest Fréchet distance"], metrics["at epoch"] = min(measured)
    metrics["unseen clips compared with"] = min(n_clips, len(corpus["unseen"]))
    reason = "" if last["running"] else _reason(last)
    if len(scenes) == 1:
        return [dataclasses.replace(scenes[0], metrics=metrics, collapse=reason)]
    every = Entry(f"all scenes, fold {corpus['fold']}", metrics=metrics, collapse=reason)
    return [every, *(dataclasses.replace(scene, in_table=False) for scene in scenes)]


def _scene(workdir: pathlib.Path, name: str) -> Entry:
    """The clips of one scene, with their contact sheet and what can be measured of them alone."""
    files, clips = {}, {}
    for kind in ("real", "generated"):
        files[kind] = sorted((workdir / "samples").glob(f"{glob.escape(name)}-{kind}-*.wav"))
        decoded = [decode(file) for file in files[kind]]
        clips[kind] = np.array([mono(samples) for samples, _ in decoded])
        sr = decoded[0][1] if decoded else 0
    metrics = {
        metric: {
            kind: float(np.median(measure(waveforms))) if len(waveforms) else None
            for kind, waveforms in clips.items()
        }
        for metric, measure in _MEASURES.items()
    }
    inside = {kind: [path.relative_to(workdir) for path in paths] for kind, paths in files.items()}
    sheet = ""
    if all(map(len, clips.values())):  # at a look, fewer clips than scenes may be generated
        sheet = pathlib.Path("figures") / f"{name}.svg"
        contact_sheet(workdir / sheet, name, clips["real"], clips["generated"], sr)
    return Entry(name, sheet, **inside, metrics=metrics)


def _reason(figures: dict) -> str:
    """Why a GAN was stopped."""
    names = ("level_db", "spectral_flatness", "diversity_ratio")
    found = {name: figures[name] for name in names if figures[name] is not None}
    return gan_metrics.collapse(**found) or gan_metrics.collapse(finite=False)
