"""What the devices do during a training step, for Perfetto."""

import contextlib
import pathlib

import jax

from asc_jax.parallel import hosts
from asc_jax.runtime.errors import InputError
from asc_jax.train.setup import Setup, epoch_indices
from asc_jax.train.state import ClassifierState
from asc_jax.train.watch import Calls, StepTimes

N_CALLS = 5


def trace_steps(setup: Setup, state: ClassifierState, folder: pathlib.Path) -> pathlib.Path | None:
    """Traces some calls of training steps, compiled before, on a copy of the state.

    The training that follows goes as if nothing had been traced.

    Args:
      setup: of the run.
      state: to train on from; kept.
      folder: for the trace.

    Returns:
      The trace, for https://ui.perfetto.dev; what is beside it is for XProf. Of several
      processes the first one has it, the others None.

    Raises:
      InputError: the folder cannot be written.
    """
    n_epochs = -(-setup.steps_per_call // setup.steps_per_epoch)
    clips = epoch_indices(setup, range(n_epochs))[:, : setup.steps_per_call]
    copy = jax.tree.map(lambda leaf: leaf.copy(), state)  # a step consumes its state
    calls = setup.feed.calls([clips] * (1 + N_CALLS))
    tracing = contextlib.nullcontext()
    try:
        if hosts.is_first():
            folder.mkdir(parents=True, exist_ok=True)
            tracing = jax.profiler.trace(str(folder), create_perfetto_trace=True)
        with contextlib.closing(calls):
            copy, _ = jax.block_until_ready(setup.train_steps(copy, *next(calls)))  # compiles
            with tracing:
                under_way = Calls(StepTimes())  # queued as training queues them
                for number, (pool, clips) in enumerate(calls):
                    with jax.profiler.StepTraceAnnotation("train", step_num=number):
                        copy, metrics = setup.train_steps(copy, pool, clips)
                        under_way.add(metrics, clips.shape[1])
                jax.block_until_ready(copy)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror}); train without --profile", path=folder
        ) from None
    traces = folder.rglob("perfetto_trace.json.gz") if hosts.is_first() else ()
    return max(traces, key=lambda path: path.stat().st_mtime, default=None)
