"""The trace of --profile: a file for Perfetto, and a training that goes on as if without it."""

import gzip
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkout import CONFIGS
from refusals import refused

from asc_jax.config.load import load_config
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED, map_folds
from asc_jax.parallel.mesh import make_mesh
from asc_jax.train.trace import N_CALLS, trace_steps


@pytest.fixture(scope="module")
def setup(small_splits) -> types.SimpleNamespace:
    """As much of a `Setup` as a trace needs: a step multiplies matrices and consumes its state."""

    def step(state, pool, clips):
        return jnp.tanh(state @ state) + pool[clips].sum(), {"loss": state.sum()}

    train = map_folds(
        step,
        make_mesh(4, 8, shape=(2, 1)),
        in_specs=(PER_FOLD, SHARED, PER_FOLD),
        out_specs=(PER_FOLD, PER_FOLD),
        donate=(0,),
    )
    words = ["--config.train.batch_size=8"]
    calls = lambda indices: ((jnp.zeros(40), clips) for clips in indices)
    return types.SimpleNamespace(
        config=load_config(CONFIGS / "demo.py", words),
        model=types.SimpleNamespace(partners=False),
        splits=small_splits,
        seeds=0,
        steps_per_epoch=3,
        steps_per_call=2,
        train_steps=train,
        feed=types.SimpleNamespace(calls=calls),
    )


def make_state() -> jax.Array:
    return put(np.ones((4, 64, 64)), make_mesh(4, 8, shape=(2, 1)), PER_FOLD)


def test_a_trace_of_the_steps_opens_in_perfetto(setup, tmp_path):
    state = make_state()
    trace = trace_steps(setup, state, tmp_path / "profile")
    assert trace.is_relative_to(tmp_path / "profile")
    assert trace.name == "perfetto_trace.json.gz"
    np.testing.assert_array_equal(state, 1)  # neither changed nor consumed
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    steps = [event for event in events if event.get("name") == "train"]
    assert len(steps) == N_CALLS
    assert all(event["ph"] == "X" and event["dur"] > 0 for event in steps)
    names = {event.get("name", "") for event in events}
    assert any("dot" in name for name in names)  # what the device did
    assert not any("backend_compile" in name for name in names)  # compiled before


def test_a_folder_that_cannot_be_written_is_a_line(setup, tmp_path):
    (tmp_path / "profile").write_text("")
    with refused(path=tmp_path / "profile"):
        trace_steps(setup, make_state(), tmp_path / "profile")
