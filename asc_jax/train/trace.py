"""What the devices do during a training step, for Perfetto."""

import pathlib

import jax

from asc_jax.data import batches
from asc_jax.errors import InputError
from asc_jax.train.classifier import ClassifierState
from asc_jax.train.setup import Setup

N_CALLS = 5


def trace_steps(
    setup: Setup, state: ClassifierState, folder: pathlib.Path, *, per_call: int
) -> pathlib.Path:
    """Traces some calls of training steps, compiled before, on a copy of the state.

    The training that follows goes as if nothing had been traced.

    Args:
      setup: of the run.
      state: to train on from; kept.
      folder: for the trace.
      per_call: steps of a call.

    Returns:
      The trace, for https://ui.perfetto.dev; what is beside it is for XProf.

    Raises:
      InputError: the folder cannot be written.
    """
    clips = batches.epoch_indices(
        setup.splits,
        seed=setup.seed,
        epoch=0,
        n_steps=min(per_call, setup.steps_per_epoch),
        batch_size=setup.batch_size,
        share=setup.share,
    )
    copy = jax.tree.map(lambda leaf: leaf.copy(), state)  # a step consumes its state
    copy, _ = jax.block_until_ready(setup.steps.train(copy, setup.pool, clips))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with jax.profiler.trace(str(folder), create_perfetto_trace=True):
            for call in range(N_CALLS):
                with jax.profiler.StepTraceAnnotation("train", step_num=call):
                    copy, _ = jax.block_until_ready(setup.steps.train(copy, setup.pool, clips))
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); train without --profile"
        ) from None
    return max(folder.rglob("perfetto_trace.json.gz"), key=lambda path: path.stat().st_mtime)
