"""The loop around WaveGAN's iterations: epochs, looks at what is generated, checkpoints."""

import pathlib
import sys
import time

import jax
import numpy as np
import tqdm

from asc_jax import run
from asc_jax.config import check_gan_config, flatten, to_json
from asc_jax.data.corpora import refuse_other_corpora, write_corpora
from asc_jax.files import write_whole
from asc_jax.train import parallel
from asc_jax.train.checkpoint import Checkpoints
from asc_jax.train.gan_look import (
    embed_real,
    look,
    number,
    or_nan,
    some_real_clips,
    stop_collapsed,
    write_samples,
)
from asc_jax.train.gan_setup import GanSetup, set_up_gan
from asc_jax.train.metrics_log import MetricsLog
from asc_jax.train.stop import StopSignal
from asc_jax.train.watch import StepTimes, peak_memory
from asc_jax.train.wavegan import BestGenerator, WaveGanState


def train(config, workdir: pathlib.Path) -> None:
    """Trains all GANs of a config, from the start or from where the run folder stands.

    Args:
      config: of a GAN; checked, frozen.
      workdir: the run folder; made if need be.

    Raises:
      InputError: whatever is wrong with the classifier, the data, the config or the folder.
    """
    with run.hold(workdir):
        run.refuse_foreign_folder(workdir, config, check=check_gan_config, free=free_fields(config))
        setup = set_up_gan(config, config.train.mesh)
        refuse_other_corpora(workdir / "corpora.json", setup.dataset, setup.corpora)
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


def free_fields(config) -> set[str]:
    """What a GAN's run may change on the way: how long it takes, and what comes after it."""
    later = {field for field in flatten(config) if field.startswith("synthesis.")}
    return run.FREE_FIELDS | later | {"train.epochs"}


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
        real = embed_real(setup, seed=seed, n_clips=n_clips)
        if not done:
            # Untrained generators: what every later distance is to be read against.
            untrained, _ = look(setup, state, real, seed=seed, n_clips=n_clips)
            write_samples(workdir, setup, "real", some_real_clips(setup, seed=seed))
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
                state, metrics, times = run_epoch(setup, state, epoch, steps_per_epoch, bar, stop)
                seconds = time.perf_counter() - started
                seen, waveforms = look(setup, state, real, seed=seed, n_clips=n_clips)
                write_samples(workdir, setup, "generated", waveforms)
                state, suspicion, messages = stop_collapsed(
                    setup, state, was_running, seen, suspicion
                )
                for message in messages:
                    bar.write(message, sys.stderr)
                distances = np.array([or_nan(d) for d in seen["frechet_distance"]], np.float32)
                # A collapsed generator near the middle of the real clips is not the best.
                distances[~np.asarray(state.running) | (suspicion > 0)] = np.nan
                epochs = np.full(distances.shape, epoch, np.int32)
                best = setup.steps.keep_best(best, state.generator, distances, epochs)
                log.write(log_line(setup, epoch, seconds, metrics, was_running, times) | seen)
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
) -> tuple[WaveGanState, dict[str, np.ndarray], StepTimes]:
    """All iterations of an epoch.

    Returns:
      The state, host metrics, (steps, G) each, and the time that the iterations took.

    Raises:
      Stopped: a signal asked for it; the epoch's work is dropped.
    """
    collected, times = [], StepTimes()
    for _ in range(n_steps):
        state, metrics = setup.steps.train(state, setup.pool, setup.source)
        if collected:  # one call ahead of the device is enough, and keeps the bar honest
            jax.block_until_ready(collected[-1])
            times.lap(1)
        collected.append(metrics)
        bar.update()
        stop.leave_if_requested(epoch)
    host = jax.device_get(collected)
    times.lap(1)
    return state, {name: np.stack([m[name] for m in host]) for name in host[0]}, times


def log_line(
    setup: GanSetup,
    epoch: int,
    seconds: float,
    metrics: dict,
    was_running: np.ndarray,
    times: StepTimes,
) -> dict:
    """What `metrics.jsonl` says of an epoch's training; metrics are (steps, G) each.

    A GAN that was stopped before has no figures: null.
    """
    n_steps, n_gans = metrics["wasserstein"].shape
    n_clips = n_steps * n_gans * setup.networks.batch_size
    return {
        "epoch": epoch,
        "step": epoch * n_steps,
        "seconds": seconds,
        "clips_per_second": n_clips / seconds,
        **times.log_fields(),
        "peak_memory_bytes": peak_memory(setup.mesh),
        **{
            name: _numbers(np.where(was_running, values.mean(axis=0), np.nan))
            for name, values in metrics.items()
        },
    }


def _numbers(values: np.ndarray) -> list:
    return [number(float(value)) for value in values]
