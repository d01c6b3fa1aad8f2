"""The server of the page: on this computer alone, until a signal comes."""

import contextlib
import logging
import pathlib
import signal
import socket
import sys
import threading
from collections.abc import Callable

from asc_jax.inference.exported import load
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.interruption import Signals
from asc_jax.serve.listener import Listener

HOST = "127.0.0.1"
_CONNECTIONS = 64  # at most; more get the status 503
_LAST_SECONDS = 1  # for what is under way when a signal comes


class _Ending(Signals):
    """Within it a signal ends the server."""

    def __init__(self, end: Callable[[], None]):
        super().__init__(signal.SIGTERM)
        self._end = end

    def hear(self, number: int, frame) -> None:
        """Handles a signal."""
        super().hear(number, frame)
        self._end()


def serve(place: pathlib.Path, port: int, *, other_functions: bool = False) -> None:
    """Serves the page of a model until a signal comes; prints its address.

    Args:
      place: the model, see `inference.exported.load`, as the last.
      port: of `HOST`; 0 for any that is free.
      other_functions: of a run folder: open it though the functions that trained it have changed.

    Raises:
      InputError: the port cannot be had, packages are missing, or see `load`.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error.name} is not installed; pip install 'asc_jax[serve]'") from None
    from asc_jax.serve.app import make_app

    with listen(port) as listening:
        listener = Listener(load(place, other_functions=other_functions))
        listener.warm_up()
        stopping = threading.Event()
        server = make_server(make_app(listener, place.resolve().name, stopping))

        def end() -> None:
            stopping.set()
            server.should_exit = True
            # An upload that is cut off by the end is no error.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

        with _Ending(end):
            print(f"http://{HOST}:{listening.getsockname()[1]}/", flush=True)
            print("press Ctrl-C to stop", file=sys.stderr)
            server.run(sockets=[listening])


def listen(port: int) -> socket.socket:
    """Opens a port of `HOST`; 0 for any that is free.

    Raises:
      InputError: it is in use, or not for this user.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"cannot be used ({reason}); choose another, or 0 for a free one",
            field="--port",
            value=port,
        ) from None


def make_server(app):
    """Makes the `uvicorn.Server` of an app, quiet but for what goes wrong in it."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_LAST_SECONDS,
        )
    )
    server.capture_signals = contextlib.nullcontext  # they are heard by `_Ending`
    return server
