"""Looks at what GANs generate while they train: figures, samples, and who has collapsed."""

import dataclasses
import itertools
import pathlib

import jax
import numpy as np

from asc_jax.data.audio import write_wav
from asc_jax.gan import metrics, screen
from asc_jax.gan.embedder import CLIPS_PER_CALL
from asc_jax.gan.setup import GanSetup, real_clips
from asc_jax.gan.source import LOOK
from asc_jax.gan.steps import WaveGanState
from asc_jax.parallel import hosts
from asc_jax.parallel.arrays import fetch, put
from asc_jax.parallel.mapping import PER_FOLD

# Looks in a row that must find a GAN collapsed before it is stopped: early ones often do.
_PATIENCE = 3

N_SAMPLES = 4  # clips of each kind, GAN and scene that are kept to look at and listen to


@dataclasses.dataclass(frozen=True)
class RealClips:
    """Of one GAN: the embeddings that generated clips are compared with."""

    train: np.ndarray  # (n, D)
    unseen: np.ndarray  # (m, D), never trained on


def embed_real(setup: GanSetup, *, seed: int, n_clips: int) -> list[RealClips]:
    """The embeddings of each GAN's real clips: all that it trains on, and some others.

    Args:
      setup: of the run.
      seed: of the choice of the others: a table's first clips are often of one place.
      n_clips: most of the others: as many as are generated per evaluation.
    """
    train = _embed(setup, [corpus.train for corpus in setup.corpora])
    unseen = _embed(setup, [_shuffled(corpus.unseen, seed)[:n_clips] for corpus in setup.corpora])
    return [RealClips(*pair) for pair in zip(train, unseen, strict=True)]


def _shuffled(indices: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, LOOK]).permutation(indices)


def _embed(setup: GanSetup, lists: list[np.ndarray]) -> list[np.ndarray]:
    """The embeddings (n, D) of each GAN's list of real clips."""
    longest = max(map(len, lists))
    rows = np.stack([np.resize(indices, longest) for indices in lists])
    embeddings = [
        setup.recognise(setup.folds, real_clips(setup, rows[:, i : i + CLIPS_PER_CALL]))[1]
        for i in range(0, longest, CLIPS_PER_CALL)
    ]
    embeddings = np.concatenate(embeddings, axis=1)
    return [e[: len(indices)] for e, indices in zip(embeddings, lists, strict=True)]


def look(
    setup: GanSetup, state: WaveGanState, real: list[RealClips], *, seed: int, n_clips: int
) -> tuple[dict[str, list], np.ndarray]:
    """Measures what every GAN generates now, from the same latent vectors at each look.

    Returns:
      Figures of the GANs, one per GAN each: see `asc_jax.gan.metrics`; "class_score" is the
      mean probability that the fold's classifier gives to the scene. And the clips themselves,
      (G, n, T) at the GAN's rate.

    A GAN's Frechet distance is that of `n_clips` generated clips to its unseen ones, which may be
    fewer. Both numbers are the same at each look, so that its distances can be compared; with
    those of a GAN that has more of them they cannot be.
    """
    labels = clip_labels(setup, n_clips)
    waveforms = _generate(setup, state, labels, seed)
    logits, embeddings = setup.recognise(setup.folds, waveforms)
    rows = [
        figures(*of_gan) for of_gan in zip(waveforms, labels, logits, embeddings, real, strict=True)
    ]
    seen = {name: [number(row[name]) for row in rows] for name in rows[0]}
    return seen | {"running": fetch(state.running).tolist()}, waveforms


def figures(
    waveforms: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray,
    embeddings: np.ndarray,
    real: RealClips,
) -> dict[str, float]:
    """Measures what one GAN generates; see `look`.

    Args:
      waveforms: (n, T).
      labels: (n,) int, what each was generated for.
      logits: (n, K) of the fold's classifier.
      embeddings: (n, D) of the same.
      real: clips of the GAN.
    """
    return {
        "frechet_distance": metrics.frechet_distance(embeddings, real.unseen),
        "class_score": float(np.mean(screen.probability(logits, labels))),
        "memorisation_ratio": metrics.memorisation_ratio(embeddings, real.train, real.unseen),
        "diversity_ratio": metrics.diversity_ratio(embeddings, real.train),
        "level_db": float(np.median(metrics.level_db(waveforms))),
        "spectral_flatness": float(np.median(metrics.spectral_flatness(waveforms))),
    }


def answer() -> list[float]:
    """Looks at clips that are always the same; see `asc_jax.runs.provenance`."""
    draw = np.random.default_rng(0).standard_normal
    labels = np.arange(8) % 3
    real = RealClips(draw((20, 4)), draw((10, 4)))
    seen = figures(0.1 * draw((8, 4096)), labels, draw((8, 3)), draw((8, 4)), real)
    collapsed = [metrics.collapse(diversity_ratio=ratio) for ratio in (0.05, 0.09, 0.11)]
    return [*seen.values(), *map(bool, collapsed)]


def _generate(setup: GanSetup, state: WaveGanState, labels: np.ndarray, seed: int) -> np.ndarray:
    """(G, n, T) clips of the labels (G, n), a few at a time: memory is bounded by those."""
    n_gans, n_clips = labels.shape
    key = jax.random.fold_in(jax.random.key(seed), LOOK)
    parts = []
    for first in range(0, n_clips, CLIPS_PER_CALL):
        # Whole calls only, so that one program serves: the last one repeats a label.
        place = np.minimum(np.arange(first, first + CLIPS_PER_CALL), n_clips - 1)
        key_data = np.asarray(jax.random.key_data(jax.random.fold_in(key, first)))
        keys = np.stack([key_data] * n_gans)
        given = put((keys, labels[:, place]), setup.mesh, PER_FOLD)
        parts.append(fetch(setup.steps.generate(state.generator, setup.source, *given)))
    return np.concatenate(parts, axis=1)[:, :n_clips]


def some_real_clips(setup: GanSetup, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of what each GAN trains on, to listen to: clips (G, n, T), and their classes (G, n)."""
    n_scenes = max(len(corpus.scene_labels) for corpus in setup.corpora)
    labels = clip_labels(setup, n_scenes * N_SAMPLES)
    scenes = setup.dataset.scene_labels
    targets = np.array([scenes.index(clip.scene_label) for clip in setup.dataset.clips])
    rows = []
    for corpus, wanted in zip(setup.corpora, labels, strict=True):
        clips = _shuffled(corpus.train, seed)
        of_scene = {k: itertools.cycle(clips[targets[clips] == k]) for k in np.unique(wanted)}
        rows.append([next(of_scene[k]) for k in wanted])
    return real_clips(setup, np.array(rows)), labels


def write_samples(
    workdir: pathlib.Path, setup: GanSetup, kind: str, waveforms: np.ndarray, labels: np.ndarray
) -> None:
    """Writes a few clips of each GAN and scene to `samples/`, as `tram-fold1-real-0.wav`.

    Args:
      workdir: the run folder.
      setup: of the run.
      kind: "real" or "generated".
      waveforms: (G, n, T) at the GAN's rate.
      labels: (G, n), their classes.

    Raises:
      InputError: they cannot be written.
    """
    if not hosts.is_first():
        return
    for corpus, clips, classes in zip(setup.corpora, waveforms, labels, strict=True):
        for k in np.unique(classes):
            name = f"{setup.dataset.scene_labels[k]}-fold{corpus.fold}"
            for i, clip in enumerate(clips[classes == k][:N_SAMPLES]):
                path = workdir / "samples" / f"{name}-{kind}-{i}.wav"
                write_wav(path, np.clip(np.nan_to_num(clip), -1, 1), setup.sr)


def clip_labels(setup: GanSetup, n_clips: int) -> np.ndarray:
    """(G, n) int32: the classes of `n_clips` clips of each GAN, in turn where it has several."""
    scenes = setup.dataset.scene_labels
    return np.stack(
        [
            np.resize([scenes.index(label) for label in corpus.scene_labels], n_clips)
            for corpus in setup.corpora
        ]
    ).astype(np.int32)


def stop_collapsed(
    setup: GanSetup, state: WaveGanState, was_running: np.ndarray, seen: dict, suspicion: np.ndarray
) -> tuple[WaveGanState, np.ndarray, list[str]]:
    """Stops the GANs that several evaluations in a row found collapsed; the others continue.

    Args:
      setup: of the run.
      state: of all GANs, after an epoch.
      was_running: (G,) bool, before it.
      seen: from `look`.
      suspicion: (G,) evaluations in a row that found each collapsed, before this one.

    Returns:
      The state, the evaluations in a row after this one, and a line per stopped GAN.
    """
    running = np.array(fetch(state.running))
    suspicion, messages = suspicion.copy(), []
    for gan, corpus in enumerate(setup.corpora):
        reason = metrics.collapse(
            level_db=or_nan(seen["level_db"][gan]),
            spectral_flatness=or_nan(seen["spectral_flatness"][gan]),
            diversity_ratio=or_nan(seen["diversity_ratio"][gan]),
            # A step that was not finite has stopped the GAN by itself, before it did harm.
            finite=bool(running[gan]),
        )
        suspicion[gan] = suspicion[gan] + 1 if reason else 0
        if was_running[gan] and (not running[gan] or suspicion[gan] >= _PATIENCE):
            running[gan] = False
            messages.append(f"{corpus.name}: stopped ({reason}); its best epoch is kept, if any")
    running = put(running, setup.mesh, PER_FOLD)
    return state.replace(running=running), suspicion, messages


def number(value):
    """A value as JSON has it: None, its null, for what is no finite number."""
    return value if np.isfinite(value) else None


def or_nan(value) -> float:
    return float("nan") if value is None else value
