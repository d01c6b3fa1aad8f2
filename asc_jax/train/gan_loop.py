"""The loop around WaveGAN's iterations: epochs, looks at what is generated, checkpoints."""

import dataclasses
import pathlib
import sys
import time

import jax
import numpy as np
import tqdm

from asc_jax import gan_metrics, run, screen
from asc_jax.config import check_gan_config, flatten, to_json
from asc_jax.data.audio import write_wav
from asc_jax.data.corpora import write_corpora
from asc_jax.errors import Stopped
from asc_jax.files import write_whole
from asc_jax.train import parallel
from asc_jax.train.checkpoint import Checkpoints
from asc_jax.train.gan_setup import GanSetup, real_clips, set_up_gan
from asc_jax.train.metrics_log import MetricsLog
from asc_jax.train.stop import StopSignal
from asc_jax.train.wavegan import BestGenerator, WaveGanState

# Looks in a row that must find a GAN collapsed before it is stopped: early ones often do.
_PATIENCE = 3

N_SAMPLES = 4  # clips of each kind and GAN that are kept to look at and listen to


@dataclasses.dataclass(frozen=True)
class RealClips:
    """Of one GAN: the embeddings that generated clips are compared with."""

    train: np.ndarray  # (n, D)
    unseen: np.ndarray  # (m, D), never trained on


def train(config, workdir: pathlib.Path) -> None:
    """Trains all GANs of a config, from the start or from where the run folder stands.

    Args:
      config: of a GAN; checked, frozen.
      workdir: the run folder; made if need be.

    Raises:
      InputError: whatever is wrong with the classifier, the data, the config or the folder.
    """
    with run.hold(workdir):
        later = {field for field in flatten(config) if field.startswith("synthesis.")}
        run.refuse_foreign_folder(
            workdir, config, check=check_gan_config, free=run.FREE_FIELDS | later
        )
        setup = set_up_gan(config)
        # Not before: wrong input leaves no folder behind.
        write_whole(workdir / "config.json", to_json(config))
        write_corpora(workdir / "corpora.json", setup.dataset, setup.corpora)
        _run_epochs(
            setup,
            workdir,
            seed=config.seed,
            n_epochs=config.train.epochs,
            steps_per_epoch=config.train.steps_per_epoch,
            n_clips=config.train.watch_clips,
            keep=config.train.keep_checkpoints,
        )


def _run_epochs(
    setup: GanSetup,
    workdir: pathlib.Path,
    *,
    seed: int,
    n_epochs: int,
    steps_per_epoch: int,
    n_clips: int,
    keep: int,
) -> None:
    """From the newest checkpoint, or the beginning, to the last epoch."""
    with (
        Checkpoints(workdir / "checkpoints", keep=keep) as checkpoints,
        StopSignal() as stop,
    ):
        state, best, suspicion, done = restore(setup, checkpoints)
        if done >= n_epochs or not np.asarray(state.running).any():
            print(f"{workdir}: training is done, {done} of {n_epochs} epochs", file=sys.stderr)
            return
        # Its first line, of epoch 0, is written anew where no epoch was finished.
        log = MetricsLog(workdir / "metrics.jsonl", n_epochs_done=done or -1)
        real = embed_real(setup, n_clips)
        if not done:
            # Untrained generators: what every later distance is to be read against.
            untrained, _ = look(setup, state, real, seed=seed, n_clips=n_clips)
            write_samples(workdir, setup, "real", first_real_clips(setup))
            log.write({"epoch": 0, "seconds": 0.0, "clips_per_second": 0.0} | untrained)
        with tqdm.tqdm(
            total=n_epochs * steps_per_epoch,
            initial=done * steps_per_epoch,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 10,  # s; logs stay readable
        ) as bar:
            for epoch in range(done + 1, n_epochs + 1):
                bar.set_description(f"epoch {epoch}/{n_epochs}")
                started, was_running = time.perf_counter(), np.asarray(state.running)
                state, metrics = run_epoch(setup, state, epoch, steps_per_epoch, bar, stop)
                seconds = time.perf_counter() - started
                seen, waveforms = look(setup, state, real, seed=seed, n_clips=n_clips)
                write_samples(workdir, setup, "generated", waveforms)
                state, suspicion, messages = stop_collapsed(
                    setup, state, was_running, seen, suspicion
                )
                for message in messages:
                    bar.write(message, sys.stderr)
                distances = np.array([_or_nan(d) for d in seen["frechet_distance"]], np.float32)
                epochs = np.full(distances.shape, epoch, np.int32)
                best = setup.steps.keep_best(best, state.generator, distances, epochs)
                log.write(log_line(setup, epoch, seconds, metrics) | seen)
                checkpoints.save(epoch, {"state": state, "best": best, "suspicion": suspicion})
                bar.set_postfix_str(
                    f"wasserstein {np.mean(metrics['wasserstein'][-1]):.3g}, "
                    f"frechet distance {np.mean(distances):.3g}"
                )
                if not np.asarray(state.running).any():
                    bar.write("no GAN is left running: training ends here", sys.stderr)
                    break
        checkpoints.wait()


def restore(
    setup: GanSetup, checkpoints: Checkpoints
) -> tuple[WaveGanState, BestGenerator, np.ndarray, int]:
    """The newest checkpoint, or the beginning.

    Returns:
      The state, each GAN's best generator, how many looks in a row found each collapsed
      (G,), and the epochs done.
    """
    n_gans = len(setup.corpora)
    best = BestGenerator(
        jax.tree.map(np.asarray, setup.state.generator),
        np.full(n_gans, np.inf, np.float32),
        np.zeros(n_gans, np.int32),
    )
    best = parallel.put(best, setup.mesh, parallel.PER_FOLD)
    suspicion = np.zeros(n_gans, np.int32)
    done = checkpoints.latest()
    if done is None:
        return setup.state, best, suspicion, 0
    like = {"state": setup.state, "best": best, "suspicion": suspicion}
    tree = checkpoints.restore(done, like)
    return tree["state"], tree["best"], np.asarray(tree["suspicion"]), done


def run_epoch(
    setup: GanSetup, state: WaveGanState, epoch: int, n_steps: int, bar, stop: StopSignal
) -> tuple[WaveGanState, dict[str, np.ndarray]]:
    """All iterations of an epoch.

    Returns:
      The state, and host metrics, (steps, G) each.

    Raises:
      Stopped: a signal asked for it; the epoch's work is dropped.
    """
    collected = []
    for _ in range(n_steps):
        state, metrics = setup.steps.train(state, setup.pool, setup.source)
        if collected:  # one call ahead of the device is enough, and keeps the bar honest
            jax.block_until_ready(collected[-1])
        collected.append(metrics)
        bar.update()
        if stop.requested:
            kept = f"epoch {epoch - 1} is saved" if epoch > 1 else "no epoch was finished"
            raise Stopped(f"stopped in epoch {epoch}; {kept}; run the same command to go on")
    host = jax.device_get(collected)
    return state, {name: np.stack([m[name] for m in host]) for name in host[0]}


def log_line(setup: GanSetup, epoch: int, seconds: float, metrics: dict) -> dict:
    """What `metrics.jsonl` says of an epoch's training; metrics are (steps, G) each.

    A GAN that has stopped has no figures: null.
    """
    n_steps, n_gans = metrics["wasserstein"].shape
    n_clips = n_steps * n_gans * setup.networks.batch_size
    return {
        "epoch": epoch,
        "step": epoch * n_steps,
        "seconds": seconds,
        "clips_per_second": n_clips / seconds,
        **{name: _numbers(values.mean(axis=0)) for name, values in metrics.items()},
    }


def embed_real(setup: GanSetup, n_clips: int) -> list[RealClips]:
    """The embeddings of each GAN's real clips: up to `n_clips` it trains on, and as many others."""
    parts = {}
    for part in ("train", "unseen"):
        chosen = [getattr(corpus, part)[:n_clips] for corpus in setup.corpora]
        longest = max(map(len, chosen))
        rows = np.stack([np.resize(indices, longest) for indices in chosen])
        _, embeddings = setup.recognise(setup.folds, real_clips(setup, rows))
        parts[part] = [e[: len(indices)] for e, indices in zip(embeddings, chosen, strict=True)]
    return [RealClips(*pair) for pair in zip(parts["train"], parts["unseen"], strict=True)]


def look(
    setup: GanSetup, state: WaveGanState, real: list[RealClips], *, seed: int, n_clips: int
) -> tuple[dict[str, list], np.ndarray]:
    """Measures what every GAN generates now, from the same latent vectors at each look.

    Returns:
      Figures of the GANs, one per GAN each: see `asc_jax.gan_metrics`; "class_score" is the
      mean probability that the fold's classifier gives to the scene. And the clips themselves,
      (G, n, T) at the GAN's rate.
    """
    n_gans = len(setup.corpora)
    key_data = np.asarray(jax.random.key_data(jax.random.key(seed)))
    labels = clip_labels(setup, n_clips)
    waveforms = np.asarray(
        setup.steps.generate(state.generator, setup.source, np.stack([key_data] * n_gans), labels)
    )
    logits, embeddings = setup.recognise(setup.folds, waveforms)
    running = np.asarray(state.running)
    rows = []
    for gan in range(n_gans):
        made, others = embeddings[gan], real[gan]
        rows.append(
            {
                "frechet_distance": gan_metrics.frechet_distance(made, others.unseen),
                "class_score": float(np.mean(screen.probability(logits[gan], labels[gan]))),
                "memorisation_ratio": gan_metrics.memorisation_ratio(
                    made, others.train, others.unseen
                ),
                "diversity_ratio": gan_metrics.diversity_ratio(made, others.train),
                "level_db": float(np.median(gan_metrics.level_db(waveforms[gan]))),
                "spectral_flatness": float(
                    np.median(gan_metrics.spectral_flatness(waveforms[gan]))
                ),
                "running": bool(running[gan]),
            }
        )
    return {name: [_number(row[name]) for row in rows] for name in rows[0]}, waveforms


def first_real_clips(setup: GanSetup) -> np.ndarray:
    """(G, N_SAMPLES, T): of what each GAN trains on, to listen to."""
    return real_clips(setup, np.stack([np.resize(c.train, N_SAMPLES) for c in setup.corpora]))


def write_samples(workdir: pathlib.Path, setup: GanSetup, kind: str, waveforms: np.ndarray) -> None:
    """Writes a few clips of each GAN to `samples/`, as `tram-fold1-real-0.wav`.

    Args:
      workdir: the run folder.
      setup: of the run.
      kind: "real" or "generated".
      waveforms: (G, n, T) at the GAN's rate.

    Raises:
      InputError: they cannot be written.
    """
    for corpus, clips in zip(setup.corpora, waveforms, strict=True):
        for i, clip in enumerate(clips[:N_SAMPLES]):
            path = workdir / "samples" / f"{corpus.name}-{kind}-{i}.wav"
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
    """Stops the GANs that several looks in a row found collapsed; the others go on.

    Args:
      setup: of the run.
      state: of all GANs, after an epoch.
      was_running: (G,) bool, before it.
      seen: from `look`.
      suspicion: (G,) looks in a row that found each collapsed, before this one.

    Returns:
      The state, the looks in a row after this one, and a line for each GAN that has stopped.
    """
    running = np.asarray(state.running).copy()
    suspicion, messages = suspicion.copy(), []
    for gan, corpus in enumerate(setup.corpora):
        reason = gan_metrics.collapse(
            level_db=_or_nan(seen["level_db"][gan]),
            spectral_flatness=_or_nan(seen["spectral_flatness"][gan]),
            diversity_ratio=_or_nan(seen["diversity_ratio"][gan]),
            # A step that was not finite has stopped the GAN by itself, before it did harm.
            finite=bool(running[gan]),
        )
        suspicion[gan] = suspicion[gan] + 1 if reason else 0
        if was_running[gan] and (not running[gan] or suspicion[gan] >= _PATIENCE):
            running[gan] = False
            messages.append(f"{corpus.name}: stopped ({reason}); its best epoch is kept")
    running = parallel.put(running, setup.mesh, parallel.PER_FOLD)
    return state.replace(running=running), suspicion, messages


def _numbers(values: np.ndarray) -> list:
    return [_number(float(value)) for value in values]


def _number(value):
    """A value of JSON's: null for what is no finite number."""
    return value if isinstance(value, bool) or np.isfinite(value) else None


def _or_nan(value) -> float:
    return float("nan") if value is None else value
