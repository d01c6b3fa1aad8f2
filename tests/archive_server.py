"""A file server on loopback that can fail in the ways that servers do."""

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import io
import re
import threading
import zipfile
from collections.abc import Callable, Mapping

from asc_jax.data.zenodo import Archive, Record

NUMBER = 7


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, serving, *args):
        self.serving = serving
        super().__init__(*args)

    def do_GET(self):
        self.serving.ranges.append(self.headers.get("Range", ""))
        answer = self.serving.answers.pop(0) if self.serving.answers else right
        with contextlib.suppress(ConnectionError):  # the client has gone
            answer(self, self.serving.files.get(self.path))

    def start(self, status: int, **headers) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_):
        pass


def right(handler, content: bytes | None, *, n_sent: int | None = None) -> None:
    """What was asked for; only the first `n_sent` bytes of it."""
    if content is None:
        handler.start(404, Content_Length=0)
        return
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    first = int(asked[1]) if asked else 0
    rest = content[first:]
    where = {"Content_Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if asked else {}
    handler.start(206 if asked else 200, Content_Length=len(rest), **where)
    handler.wfile.write(rest[:n_sent])


def cut(n_sent: int) -> Callable:
    """The connection ends after so many bytes."""
    return functools.partial(right, n_sent=n_sent)


def stall(n_sent: int) -> Callable:
    """Nothing comes after so many bytes."""

    def answer(handler, content):
        right(handler, content, n_sent=n_sent)
        handler.wfile.flush()
        handler.serving.closing.wait()

    return answer


def without_ranges(handler, content: bytes, *, n_sent: int | None = None) -> None:
    """All of it, whatever was asked for."""
    handler.start(200, Content_Length=len(content))
    handler.wfile.write(content[:n_sent])


def without_length(n_sent: int | None) -> Callable:
    """All of it, or so much, with no word of how much it is."""

    def answer(handler, content):
        handler.start(200)
        handler.wfile.write(content[:n_sent])

    return answer


def wrong(handler, content: bytes) -> None:
    """As many other bytes."""
    right(handler, bytes(byte ^ 1 for byte in content))


def longer(handler, content: bytes) -> None:
    """More than there should be."""
    right(handler, content + b"more")


def longer_unannounced(handler, content: bytes) -> None:
    """The same, with no word of how much it is."""
    without_length(None)(handler, content + b"more")


def page(handler, _) -> None:
    """A page in place of the file, as of a network that asks for a login."""
    handler.start(200, Content_Length=5)
    handler.wfile.write(b"login")


def status(number: int, **headers) -> Callable:
    """An error."""
    return lambda handler, _: handler.start(number, Content_Length=0, **headers)


@dataclasses.dataclass
class Serving:
    """What is served.

    Attributes:
      address: before "/records/".
      files: contents by path.
      answers: how the next requests are answered; `right` afterwards.
      ranges: the header of each request so far.
      closing: set at the end.
    """

    address: str = ""
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    answers: list[Callable] = dataclasses.field(default_factory=list)
    ranges: list[str] = dataclasses.field(default_factory=list)
    closing: threading.Event = dataclasses.field(default_factory=threading.Event)

    def add(self, name: str, content: bytes) -> tuple[str, Archive]:
        """Serves a file of the record `NUMBER`; returns its address, and what it must be."""
        path = f"/records/{NUMBER}/files/{name}"
        self.files[path] = content
        return self.address + path, Archive(name, len(content), hashlib.md5(content).hexdigest())

    def publish(self, archives: Mapping[str, bytes]) -> Record:
        """Serves archives as a record."""
        return Record(NUMBER, tuple(self.add(*item)[1] for item in archives.items()))


@contextlib.contextmanager
def serve():
    """Serves files until the block ends."""
    serving = Serving()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Handler, serving)
    ) as server:
        server.daemon_threads = False  # all are joined at the end
        serving.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield serving
        finally:
            serving.closing.set()
            server.shutdown()
            thread.join()


def zipped(files: Mapping[str, bytes], top: str = "") -> bytes:
    """A zip archive of files, below a folder if one is named."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        if top:
            archive.mkdir(top)
        for name, content in files.items():
            archive.writestr(f"{top}/{name}" if top else name, content)
    return buffer.getvalue()
