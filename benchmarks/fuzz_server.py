"""Raw requests to a real `asc-jax serve`, some at once."""

import atexit
import contextlib
import functools
import http.client
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
import soundfile
from hypothesis import strategies as st

from benchmarks.fuzz_models import original

_LONGEST_S = 20  # that an answer takes
_ROOT = pathlib.Path(__file__).parents[1]


class Sent(NamedTuple):
    """A request as bytes, and whether all of it is there, so that it has an answer."""

    head: bytes
    body: bytes
    whole: bool


class Running(NamedTuple):
    """A server, its port, the folder of its temporary files, and what it says."""

    process: subprocess.Popen
    port: int
    folder: pathlib.Path
    said: pathlib.Path


@functools.cache
def _server() -> Running:
    """A server of a small model, until this process ends."""
    place = tempfile.TemporaryDirectory(prefix="asc_jax_fuzz_server_")
    model, spare, said = (pathlib.Path(place.name, name) for name in ("m.stablehlo", "tmp", "said"))
    model.write_bytes(original("stablehlo"))
    spare.mkdir()
    env = os.environ | {"TMPDIR": str(spare), "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-m", "asc_jax", "serve", str(model), "--port=0"]
    with said.open("wb") as err:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err
        )
    address = process.stdout.readline().decode().strip()

    def end() -> None:
        process.terminate()
        process.wait(30)
        place.cleanup()

    atexit.register(end)
    return Running(process, int(address.rstrip("/").rpartition(":")[2]), spare, said)


@functools.cache
def _recording(kind: str) -> bytes:
    content = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).standard_normal(4000)
    soundfile.write(content, noise, 8000, format=kind)
    return content.getvalue()


_METHODS = st.one_of(
    st.sampled_from([b"POST", b"POST", b"POST", b"GET", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT",
                     b"TRACE", b"PRI", b"post", b"G\0T", b"\xff"]),
    st.binary(max_size=6),
)  # fmt: skip
_NAMES = st.one_of(
    st.sampled_from([b"a.wav", b"%00", b"%0a%1b[31m", b"%ff%fe", b"%ed%a0%80", b"%", b"%zz",
                     b"../x", b"\xc3\xa9", b"a" * 9000, b"&name=b", b"%E2%80%AE", b"a.m4a", b"+",
                     b"#"]),
    st.binary(max_size=9),
)  # fmt: skip
_OF_NAMES = _NAMES.map(lambda name: b"/predict?name=" + name)
_TARGETS = st.one_of(
    _OF_NAMES,
    _OF_NAMES,
    st.sampled_from([b"/", b"/predict", b"/predict/", b"//predict", b"*", b"", b"/page.js",
                     b"http://localhost/predict", b"http://[/", b"localhost:80",
                     b"/%2e%2e/etc/passwd", b"/predict?%00=\xff", b"/?" + b"a=b&" * 5000, b"/\0",
                     b"/predict;x"]),
    st.binary(max_size=9),
)  # fmt: skip
_VALUES = st.one_of(
    st.sampled_from([b"", b"0", b"1", b"-1", b"+5", b"5, 5", b"5, 6", b"1e3", b"9" * 20, b"9" * 400,
                     b"0x10", b"chunked", b"gzip", b"gzip, chunked", b"identity",
                     b"chunked, chunked", b"100-continue", b"websocket", b"h2c", b"close",
                     b"upgrade", b"evil.example", b"localhost:x", b"localhost:99999", b"[::1]",
                     b"[", b"127.0.0.1", b"http://localhost", b"null", b"\xff\xfe", b"a\0b",
                     b"\x1b[31m"]),
    st.binary(max_size=9),
)  # fmt: skip
_HEADERS = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from([b"Host", b"Content-Length", b"Transfer-Encoding", b"Expect",
                             b"Upgrade", b"Connection", b"Origin", b"Content-Type", b"Range",
                             b"Cookie", b"TE", b"Content-Encoding", b"X-Forwarded-For", b" Host",
                             b"Host ", b""]),
            st.binary(max_size=9),
        ),
        _VALUES,
    ),
    max_size=3,
)  # fmt: skip
_VERSIONS = st.sampled_from([b"1.0", b"2.0", b"0.9", b"1.1.1", b"x"])
_BODIES = st.one_of(
    st.sampled_from(["WAV", "FLAC", "OGG", "MP3"]).map(_recording),
    st.sampled_from([b"", b"RIFF", b"\0" * 70_000]),
    st.binary(max_size=40),
)
_FRAMINGS = st.sampled_from(["length", "length", "chunks", "odd", "raw"])
_ODD_LENGTHS = st.sampled_from([b"Content-Length", b"Transfer-Encoding"])
_ODD_CHUNKS = st.sampled_from([b"", b"zz\r\n", b"-5\r\nx\r\n", b"f" * 16 + b"\r\nx",
                               b"1;" + b"x" * 9000 + b"\r\na\r\n"])  # fmt: skip
_ODD_PARTS = st.sets(
    st.sampled_from(["method", "target", "headers", "version", "cut"]), max_size=2
)  # fmt: skip


@st.composite
def _requests(draw) -> Sent:
    """One request: as it should be but for a part, or of odd parts alone."""
    body, framing = draw(_BODIES), draw(_FRAMINGS)
    if framing == "raw":
        return Sent(draw(st.binary(max_size=60)), draw(st.sampled_from([b"", b"\r\n\r\n"])), False)
    odd = draw(_ODD_PARTS)
    method = draw(_METHODS) if "method" in odd else b"POST"
    target = draw(_TARGETS) if "target" in odd else b"/predict?name=a.wav"
    more = draw(_HEADERS) if "headers" in odd else []
    version = draw(_VERSIONS) if "version" in odd else b"1.1"
    headers = [(b"Host", b"localhost"), *more]
    if framing == "length":
        headers.append((b"Content-Length", b"%d" % len(body)))
    elif framing == "chunks":
        headers.append((b"Transfer-Encoding", b"chunked"))
        step = draw(st.integers(1, 3000))
        parts = [body[i : i + step] for i in range(0, len(body), step)][:200]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    else:
        headers.append((draw(_ODD_LENGTHS), draw(_VALUES)))
        body = draw(_ODD_CHUNKS) + body
    head = b"%b %b HTTP/%b\r\n" % (method, target, version)
    head += b"".join(b"%b: %b\r\n" % pair for pair in headers) + b"\r\n"
    if "cut" in odd:
        all_of_it = head + body
        return Sent(all_of_it[: draw(st.integers(0, len(all_of_it)))], b"", False)
    return Sent(head, body, whole=not odd and framing != "odd")


REQUESTS = st.lists(_requests(), min_size=1, max_size=4)


def check_requests(sent: list[Sent]) -> str:
    """Each whole request has an answer in a line; the server goes on, and keeps nothing."""
    server, statuses = _server(), []
    n_said = server.said.stat().st_size
    with contextlib.ExitStack() as stack:
        connections = []
        for one in sent:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=_LONGEST_S)
            connections.append(stack.enter_context(connection))
            with contextlib.suppress(OSError):  # it may have closed it
                connection.sendall(one.head + one.body)
        for one, connection in zip(sent, connections, strict=True):
            if not one.whole:  # it may wait for more
                connection.settimeout(0.02)
            statuses.append(_answer_on(connection, one))
    _still_there(server)
    deadline = time.monotonic() + _LONGEST_S
    while (left := os.listdir(server.folder)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, left
    said = server.said.read_bytes()[n_said:].decode(errors="replace")
    assert "Traceback" not in said and all(map(str.isprintable, said.split("\n"))), said
    return "read" if any(status == 200 for status in statuses) else "refused"


def _answer_on(connection: socket.socket, one: Sent) -> int:
    """The status of an answer; 0 where none came, to a request that is not whole."""
    answer = http.client.HTTPResponse(connection, method=one.head.split(b" ")[0].decode("latin-1"))
    try:
        answer.begin()
        content = answer.read()
    except (OSError, http.client.HTTPException):
        assert not one.whole, "no answer"
        return 0
    assert answer.status < 500 or answer.status == 503, (answer.status, content)
    if answer.status >= 400 and "json" in (answer.headers["Content-Type"] or ""):
        line = json.loads(content)["error"] if content else "-"
        assert line.isprintable() and 0 < len(line) < 2000, line
    if answer.status == 200 and "json" in (answer.headers["Content-Type"] or ""):
        assert content or one.head.startswith(b"HEAD"), one
    return answer.status


def _still_there(server: Running) -> None:
    """It answers for a recording as it should."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_LONGEST_S)
    with contextlib.closing(connection):
        connection.request("POST", "/predict?name=a.wav", _recording("WAV"))
        answer = connection.getresponse()
        assert answer.status == 200 and json.loads(answer.read())["labels"], answer.status
