"""A small trained run, and the server of its page."""

import contextlib
import pathlib
import threading
import time
import types
from collections.abc import Iterator

import pytest
import small

import asc_jax
from asc_jax.train.loop import train


@pytest.fixture(scope="session")
def run(scenes, tmp_path_factory) -> pathlib.Path:
    """The folder of a run of two folds, on clips of 1 s."""
    folder = tmp_path_factory.mktemp("served") / "run"
    train(small.config(scenes, "train.epochs=1"), folder)
    return folder


@pytest.fixture(scope="session")
def model(run):
    """The run, opened."""
    return asc_jax.load(run)


@pytest.fixture(scope="session")
def listener(model):
    """What answers for the page."""
    from asc_jax.serve.listener import Listener

    listener = Listener(model)
    listener.warm_up()
    return listener


@contextlib.contextmanager
def _serving(listener, **limits) -> Iterator[types.SimpleNamespace]:
    from asc_jax.serve.app import Limits, make_app
    from asc_jax.serve.server import HOST, listen, make_server

    stopping = threading.Event()
    with listen(0) as listening:
        server = make_server(make_app(listener, "a run", stopping, Limits(**limits)))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield types.SimpleNamespace(host=HOST, port=listening.getsockname()[1])
        finally:
            stopping.set()
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def serving():
    """Serves a listener on a free port within a block: (listener, fields of `Limits`)."""
    return _serving
