"""Archives that are damaged, and servers that answer anything at all."""

import contextlib
import hashlib
import io
import os
import pathlib
import socketserver
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Iterator
from typing import NamedTuple
from unittest import mock

import tqdm
from hypothesis import strategies as st

from asc_jax.data import fetching
from asc_jax.data.unpacking import is_unpacked, unpack
from asc_jax.data.zenodo import Archive
from asc_jax.runtime.errors import Stopped
from benchmarks.fuzz import refusal, strike

_FILES = {
    "set/meta.csv": b"audio/1.wav\ttram\n" * 20,
    "set/audio/1.wav": bytes(range(256)) * 8,
    "set/audio/2.wav": bytes(3000),
    "set/evaluation_setup/fold1_train.txt": b"audio/1.wav\ttram\n",
}


class Damaged(NamedTuple):
    """An archive, and what is done to its bytes."""

    method: int
    kind: str
    place: float
    share: float
    octets: bytes


ARCHIVES = st.builds(
    Damaged,
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED,
                     zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.sampled_from(["bit", "bytes", "cut", "front", "inserted", "listing", "listing", "headers",
                     "bomb", "twice"]),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
    st.binary(min_size=1, max_size=8),
)  # fmt: skip


def _damage(damaged: Damaged, content: bytes) -> bytes:
    at = int(damaged.place * len(content))
    match damaged.kind:
        case "twice":
            return content[: at + int(500 * damaged.share)] + content[at:]
        case "listing":  # at the archive's end: names, sizes, places, methods
            first = content.index(b"PK\1\2")
            at = first + int(damaged.place * (len(content) - first))
            return strike(content, "bytes", at, damaged.octets)
        case "headers":  # of one file
            at = content.rindex(b"PK\3\4", 0, at + 4) + int(damaged.share * 50)
            return strike(content, "bytes", at, damaged.octets)
    return strike(content, damaged.kind, at, damaged.octets)


def check_archive(damaged: Damaged) -> str:
    """A damaged archive is refused, or its files are what they were; nothing lies elsewhere."""
    content, files = io.BytesIO(), dict(_FILES)
    if damaged.kind == "bomb":
        files = {"set/audio/1.wav": bytes(int(damaged.place * (1 << 25)))}
    with zipfile.ZipFile(content, "w", damaged.method) as archive:
        for name, part in files.items():
            archive.writestr(name, part)
        if damaged.kind == "bomb":
            archive.filelist[0].file_size = int(4000 * damaged.share)
    made = content.getvalue()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of names twice
        path, root = pathlib.Path(folder, "a.zip"), pathlib.Path(folder, "below/set")
        path.write_bytes(made if damaged.kind == "bomb" else _damage(damaged, made))
        _, said = refusal(unpack, path, root, names=folder)
        found = [one for one in pathlib.Path(folder).rglob("*") if not one.is_dir()]
        assert all(one == path or one.is_relative_to(root) for one in found), found
        meant = list(files.values())
        for one in found:
            if root / ".download" not in one.parents and one != path:
                assert one.read_bytes() in meant or not one.stat().st_size, one
        if said:
            assert not is_unpacked(root, "a.zip")
            return "refused"
        assert is_unpacked(root, "a.zip")
    return "read"


_CONTENT = bytes(range(256)) * 40
_WORD = st.one_of(
    st.sampled_from([b"0", b"-1", b"10240", b"10239", b"99999999999999999999", b"nan", b"\xb2",
                     b"bytes 0-9/10240", b"bytes 5000-10239/10240", b"bytes 9-1/*", b"*", b"bytes",
                     b"9" * 5000, b"chunked", b"gzip", b"deflate, br", b"http://[", b"//", b"/",
                     b"http://127.0.0.1:1/", b"file:///etc/passwd", b"\xff\xfe", b"1e3", b""]),
    st.binary(max_size=6).filter(lambda word: not set(word) & set(b"\r\n")),
)  # fmt: skip


class Answer(NamedTuple):
    """What a server sends; the answers after it are right."""

    status: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: str
    place: float
    have: int  # bytes that an earlier run has left


ANSWERS = st.lists(
    st.builds(
        Answer,
        st.one_of(
            st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 206 Partial", b"HTTP/1.1 302 Found",
                             b"HTTP/1.1 503 Busy", b"HTTP/1.1 404 No", b"HTTP/1.1 416 No",
                             b"HTTP/1.1 304 Same", b"HTTP/1.1 100 Continue", b"HTTP/1.1 999 \xff",
                             b"HTTP/1.1 99999", b"HTTP/9.9 200 OK", b"ICY 200 OK", b""]),
            st.binary(max_size=12),
        ),
        st.lists(
            st.tuples(
                st.sampled_from([b"Content-Length", b"Content-Range", b"Retry-After", b"Location",
                                 b"Transfer-Encoding", b"Content-Encoding", b"Set-Cookie", b":",
                                 b"X" * 70_000]), _WORD), max_size=3).map(tuple),
        st.sampled_from(["right", "right", "cut", "other", "chunks", "none", "gzip"]),
        st.floats(0, 1, exclude_max=True),
        st.sampled_from([0, 0, 5000, 10_239, 20_000]),
    ),
    min_size=1, max_size=2,
)  # fmt: skip


def _written(answer: Answer) -> bytes:
    head = b"".join(b"%b: %b\r\n" % pair for pair in answer.headers)
    cut = _CONTENT[: int(answer.place * len(_CONTENT))]
    bodies = {"right": _CONTENT, "cut": cut, "other": bytes(10_240), "none": b"",
              "chunks": b"%x\r\n%b\r\nffffffffffffffffff\r\n" % (len(cut), cut),
              "gzip": b"\x1f\x8b\x08\0" + cut}  # fmt: skip
    return answer.status + b"\r\n" + head + b"\r\n" + bodies[answer.body]


class _Handler(socketserver.BaseRequestHandler):
    """Sends the next answer, and the right one in the end."""

    def handle(self) -> None:
        request = b""
        while b"\r\n\r\n" not in request and (more := self.request.recv(9000)):
            request += more
        right = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_CONTENT), _CONTENT)
        with contextlib.suppress(OSError):
            self.request.sendall(self.server.answers.pop(0) if self.server.answers else right)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    answers: list[bytes]


@contextlib.contextmanager
def _serving(answers: list[bytes]) -> Iterator[str]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.answers = answers
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/a.zip"
        finally:
            server.shutdown()
            thread.join()


def check_answer(answers: list[Answer]) -> str:
    """Whatever comes, the file is the right one, or there is none and a line says why."""
    archive = Archive("a.zip", len(_CONTENT), hashlib.md5(_CONTENT).hexdigest())
    fast = {"TIMEOUT": 0.5, "PATIENCE": 1.2, "PAUSE": 0.01, "LONGEST_WAIT": 0.05}
    with (
        tempfile.TemporaryDirectory() as folder,
        _serving([_written(answer) for answer in answers]) as url,
        mock.patch.multiple(fetching, **fast),
        mock.patch.dict(os.environ, {"NO_PROXY": "*"}),
        contextlib.redirect_stderr(io.StringIO()) as told,
        tqdm.tqdm(disable=True) as bar,
    ):
        path = pathlib.Path(folder, "a.zip")
        if have := answers[0].have:
            fetching.partial_of(path).write_bytes((_CONTENT * 2)[:have])
        try:
            _, said = refusal(fetching.fetch, url, archive, path, bar)
        except Stopped as stopped:
            said = str(stopped)
            assert 0 < len(said) < 2000, said
        assert not said or said.isprintable(), said
        assert all(map(str.isprintable, told.getvalue().split("\n"))), told.getvalue()
        assert path.exists() == (not said)
        if said:
            return "refused"
        assert path.read_bytes() == _CONTENT and os.listdir(folder) == ["a.zip"]
    return "read"
