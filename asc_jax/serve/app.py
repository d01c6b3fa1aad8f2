"""The page and its answers over HTTP: for browsers of this computer alone, and nothing is kept."""

import asyncio
import dataclasses
import pathlib
import tempfile
import threading
import time
from typing import BinaryIO

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from asc_jax.runtime.errors import InputError, visible
from asc_jax.serve.listener import Listener
from asc_jax.serve.page import make_page

HOSTS = ["127.0.0.1", "localhost"]
SCRIPTS = sorted(pathlib.Path(__file__).parent.glob("*.js"))
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; img-src data:; "
    "media-src blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Cache-Control": "no-store",
}
_LONGEST_NAME = 120
_CLOSE = {"Connection": "close"}  # after which nothing of an upload is taken for a request


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
      n_bytes: of an upload.
      stall: seconds without a byte of it.
      seconds: of the whole request, its wait for others included.
      n_windows: that are asked for; what follows in the recording is left out, which is said.
    """

    n_bytes: int = 200_000_000
    stall: float = 20.0
    seconds: float = 600.0
    n_windows: int = 300


USUAL = Limits()


class _GivenUp(Exception):
    """Nobody waits for the answer any more."""


def make_app(
    listener: Listener, name: str, stopping: threading.Event, limits: Limits = USUAL
) -> Starlette:
    """Makes the app: the page, its scripts, and POST /predict?name=NAME with a file as the body.

    What is refused has a status of 400 or above and `{"error": LINE}`.

    Args:
      listener: that answers.
      name: of its model.
      stopping: once it is set, requests under way are given up.
      limits: of a request.
    """
    page = make_page(listener, name, n_bytes=limits.n_bytes)
    answers = _Answers(listener, stopping, limits)
    routes = [
        Route("/", lambda _: HTMLResponse(page)),
        Route("/predict", answers.predict, methods=["POST"]),
        *(Route(f"/{path.name}", _script(path.read_bytes())) for path in SCRIPTS),
    ]
    guards = [Middleware(_Guard), Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)]
    return Starlette(
        routes=routes, middleware=guards, exception_handlers={HTTPException: _say_refused}
    )


def _script(content: bytes):
    return lambda _: Response(content, media_type="text/javascript")


def _say_refused(_, error: HTTPException) -> JSONResponse:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


class _Guard:
    """Refuses what pages of other origins ask for, and adds headers to what is answered."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        app = self._app
        if headers.get("origin", own := f"http://{headers.get('host')}") != own:
            app = JSONResponse({"error": "another origin; use the page of this server"}, 403)
        await app(scope, receive, send_with_headers)


class _Answers:
    """Uploads: received side by side, answered one after the other."""

    def __init__(self, listener: Listener, stopping: threading.Event, limits: Limits):
        self._listener, self._stopping, self._limits = listener, stopping, limits
        self._turn = asyncio.Lock()

    async def predict(self, request: Request) -> Response:
        """Answers for the recording that is the body."""
        name = _shown(request.query_params.get("name", ""))
        deadline = time.monotonic() + self._limits.seconds
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise HTTPException(
                415, "is a form; send the file itself as the body (curl --data-binary @FILE)"
            )
        try:
            with tempfile.NamedTemporaryFile(prefix="asc_jax-") as file:
                await self._receive(request, file, name, deadline)
                return JSONResponse(await self._answer(request, file.name, name, deadline))
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        except (ClientDisconnect, _GivenUp):
            raise HTTPException(503, "the request was cancelled; send it again") from None
        except TimeoutError:
            raise HTTPException(
                503,
                f"{name}: takes longer than {self._limits.seconds:g} s; use asc-jax predict",
            ) from None
        except OSError as error:
            raise HTTPException(
                507,
                f"{name}: no space to store it while it is read ({error.strerror}); free some "
                "space",
            ) from None

    async def _receive(self, request: Request, file: BinaryIO, name: str, deadline: float) -> None:
        """Writes the body into a file, as far as it is not too large."""
        most, stall = self._limits.n_bytes, self._limits.stall
        n_bytes = int(request.headers.get("content-length", 0))
        chunks = request.stream()
        while n_bytes <= most:
            try:
                # asyncio's clock is `time.monotonic`.
                async with asyncio.timeout_at(min(deadline, time.monotonic() + stall)):
                    chunk = await anext(chunks, b"")
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise
                raise HTTPException(
                    408, f"{name}: no more data for {stall:g} s; send it again", _CLOSE
                ) from None
            if not chunk:
                file.flush()
                return
            file.write(chunk)
            n_bytes = max(n_bytes, file.tell())
        raise HTTPException(
            413,
            f"{name}: is larger than {most / 1e6:g} MB; use asc-jax predict, or send a part",
            _CLOSE,
        )

    async def _answer(self, request: Request, path: str, name: str, deadline: float) -> dict:
        """Waits for its turn, and for the model."""
        gone = asyncio.create_task(_gone(request))

        def go_on() -> None:
            if self._stopping.is_set() or gone.done():
                raise _GivenUp
            if time.monotonic() > deadline:
                raise TimeoutError

        try:
            async with asyncio.timeout_at(deadline):
                await self._turn.acquire()
            try:
                how = {"n_windows": self._limits.n_windows, "go_on": go_on}
                return await run_in_threadpool(
                    self._listener.answer, pathlib.Path(path), name, **how
                )
            finally:
                self._turn.release()
        finally:
            gone.cancel()


async def _gone(request: Request) -> None:
    """Returns once whoever asked has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _shown(name: str) -> str:
    """A name for a line: in one, of letters that can be seen, and not too long."""
    name = visible(name)
    name = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return name or "the recording"
