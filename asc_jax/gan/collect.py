"""Filling a folder with screened clips, wav file first, then its line in `manifest.jsonl`."""

import dataclasses
import math
import pathlib
from collections.abc import Iterator

import numpy as np

from asc_jax.data.audio import write_wav
from asc_jax.data.manifest import Manifest
from asc_jax.gan import screen
from asc_jax.gan.clips import BATCH, Generated
from asc_jax.gan.embedder import Classifier
from asc_jax.gan.monitor import number
from asc_jax.gan.screen import apportion
from asc_jax.gan.setup import GanSetup
from asc_jax.gan.steps import BestGenerator
from asc_jax.parallel.bar import make_bar


@dataclasses.dataclass(frozen=True)
class SceneYield:
    """How many clips one GAN gave of one scene.

    Attributes:
      name: "tram-fold1": the scene and the fold.
      wanted: clips.
      kept: clips, those of earlier calls included.
      tried: clips generated, as many as it takes to come to the last one kept; 0 where the GAN
        has no generator to keep.
    """

    name: str
    wanted: int
    kept: int
    tried: int


def fill(
    out: pathlib.Path, setup: GanSetup, screener: Classifier, best: BestGenerator, config
) -> Iterator[SceneYield]:
    """Brings each scene of each GAN to its number of clips.

    Args:
      out: the folder.
      setup: of one GAN at a time.
      screener: that decides which clips are kept.
      best: each GAN's generator.
      config: the run's.
    """
    manifest = Manifest(out)
    scenes = sorted({label for corpus in setup.corpora for label in corpus.scene_labels})
    quotas = dict(zip(scenes, apportion(config.synthesis.n_clips, len(scenes)), strict=True))
    with make_bar(config.synthesis.n_clips * len(set(setup.folds)), "clip") as bar:
        for gan, corpus in enumerate(setup.corpora):
            source = Generated(setup, screener, best, gan, config)
            for label in corpus.scene_labels:
                if np.asarray(best.epoch)[gan]:
                    yield _fill_scene(source, label, quotas[label], config.synthesis, manifest, bar)
                else:  # it collapsed before any look that could be kept
                    yield SceneYield(f"{label}-fold{corpus.fold}", quotas[label], 0, 0)


def _fill_scene(
    source: Generated, label: str, wanted: int, how, manifest: Manifest, bar
) -> SceneYield:
    """Keeps clips, batch after batch, until there are enough or too many were refused."""
    fold = source.corpus.fold
    lines = manifest.lines(label, fold)
    manifest.refuse_other_maker(lines, source.maker)
    for line in lines:  # a wav file that has been deleted is made again
        if not (manifest.folder / line["path"]).exists():
            waveforms, _ = source.batch(label, line["batch"])
            write_wav(manifest.folder / line["path"], waveforms[line["row"]], source.setup.clip_sr)
    bar.update(min(len(lines), wanted))
    n_kept = len(lines)
    done = {(line["batch"], line["row"]) for line in lines}
    batch = max((line["batch"] for line in lines), default=0)
    n_most = math.ceil(source.most_tries * wanted / BATCH)
    labels = np.full(BATCH, source.setup.dataset.scene_labels.index(label))
    while n_kept < wanted and batch < n_most:
        waveforms, logits = source.batch(label, batch)
        scores = screen.scores(logits, labels)
        fresh = np.array([(batch, row) not in done for row in range(BATCH)])
        passed = screen.passes(logits, labels, how) & fresh
        for row in np.flatnonzero(passed)[: wanted - n_kept]:
            # Named by what it is, not by its place in the list: no other clip ever takes it.
            path = f"audio/{label}-fold{fold}-b{batch:05d}-r{row:02d}.wav"
            write_wav(manifest.folder / path, waveforms[row], source.setup.clip_sr)
            line = {
                "path": path,
                "scene_label": label,
                "fold": fold,
                "seed": source.seed,
                "batch": batch,
                "row": int(row),
                **source.maker,
                **{name: number(round(float(values[row]), 6)) for name, values in scores.items()},
                "reason": "+".join(how.rules) or "all",
            }
            manifest.append(line)
            lines.append(line)
            n_kept += 1
            bar.update()
        batch += 1
    last = max(line["batch"] * BATCH + line["row"] for line in lines) + 1 if lines else 0
    tried = last if n_kept >= wanted else batch * BATCH
    return SceneYield(f"{label}-fold{fold}", wanted, n_kept, tried)
