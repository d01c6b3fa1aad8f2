"""The server of the page, asked over real connections: good files, bad ones and bad requests."""

import concurrent.futures
import contextlib
import http.client
import io
import json
import pathlib
import socket
import tempfile
import time
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np
import pytest
import soundfile

CHUNK = bytes(50_000)  # of an upload of which 20 are taken


@pytest.fixture(scope="module")
def server(listener, serving):
    with serving(listener, n_bytes=1_000_000, stall=0.3, n_windows=8) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    """Uploads have their files in a folder of the test, which is empty at its end."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def clip(scenes) -> pathlib.Path:
    return sorted((scenes / "audio").glob("tram-*.wav"))[0]


def audio(seconds: float, sr: int = 22_050, loud: float = 0.1, kind: str = "FLAC") -> bytes:
    """A file of noise."""
    content = io.BytesIO()
    noise = loud * np.random.default_rng(0).standard_normal(int(seconds * sr))
    soundfile.write(content, noise, sr, format=kind)
    return content.getvalue()


def ask(server, method="POST", path="/predict?name=a.wav", body=None, **headers):
    """The status of a request, its headers, and its answer."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    kind = answer.headers["Content-Type"] or ""
    return answer.status, answer.headers, json.loads(content) if "json" in kind else content


@contextlib.contextmanager
def upload(server, header: str) -> Iterator[socket.socket]:
    """A connection on which an upload has begun, and whose body is to come."""
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n"
        connection.sendall(head.encode())
        yield connection


def answer_on(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(10_000), b""))


def refused(server, status: int, **how) -> str:
    """The line with which a request is refused."""
    got, _, content = ask(server, **how)
    assert got == status
    (line,) = content["error"].splitlines()
    assert tempfile.tempdir not in line
    return line


def test_an_answer_is_the_models_and_its_folds(server, model, clip):
    status, _, said = ask(server, body=clip.read_bytes())
    assert status == 200
    expected = model.predict(clip)
    assert said["labels"] == list(expected.labels)
    assert said["times"] == expected.times.round(3).tolist()
    assert (said["notes"], said["whole"], said["seconds"]) == ([""], True, 1.0)
    ensemble, *folds = said["systems"]
    np.testing.assert_allclose(ensemble["mean"], expected.mean, atol=1e-4)
    assert [one["name"] for one in folds] == ["Fold 1", "Fold 2"]
    waveform = soundfile.read(clip, dtype="float32", always_2d=True)[0].mean(axis=1)
    logits = np.asarray(model.logits(waveform[None]))[:, 0]
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose([one["mean"] for one in folds], softmax, atol=1e-4)
    assert said["picture"].startswith("data:image/png;base64,")


def test_a_long_recording_is_answered_to_a_limit_and_a_part_of_silence_noted(server):
    _, _, said = ask(server, body=audio(7.5))
    assert said["whole"] and said["times"][-1] == [6.5, 7.5]
    assert all(len(one["probabilities"]) == 8 for one in said["systems"])
    _, _, said = ask(server, body=audio(9.5))
    assert not said["whole"] and said["seconds"] == 8.0 and len(said["times"]) == 8
    _, _, said = ask(server, body=audio(0.2))
    assert said["notes"] == ["80% filled with zeros"]
    _, _, said = ask(server, body=audio(2, loud=0))
    assert said["notes"] == ["silence", "silence"]


def test_formats_are_known_by_their_content(server):
    status, _, said = ask(server, path="/predict", body=audio(1, kind="MP3"))
    assert status == 200 and len(said["systems"]) == 3


@pytest.mark.parametrize("body", [b"", b"no audio at all", audio(1, kind="WAV")[:-500]])
def test_what_is_no_recording_is_a_line_with_its_name(server, body):
    assert refused(server, 422, path="/predict?name=my%20file.m4a", body=body).startswith(
        "my file.m4a"
    )


@pytest.mark.parametrize(
    "name",
    ["\"'><script>alert(1)</script>", "two\nlines\r\x1b[31m", "\u202egpj.exe", "../../etc/passwd",
     "é" * 3000, "\ud800"],
)  # fmt: skip
def test_a_name_is_a_line_of_letters_that_can_be_seen(server, name, capfd):
    name = quote(name.encode("utf-8", "surrogatepass"))
    line = refused(server, 422, path=f"/predict?name={name}", body=b"no audio")
    assert line.isprintable() and len(line) < 300
    out, err = capfd.readouterr()
    assert out == err == ""


def test_too_large_is_said_before_all_of_it_has_come(server):
    with upload(server, "Content-Length: 9999999") as connection:
        assert answer_on(connection).startswith(b"HTTP/1.1 413")
    with upload(server, "Transfer-Encoding: chunked") as connection:
        for chunk in (*[CHUNK] * 20, b"x"):
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        assert answer_on(connection).startswith(b"HTTP/1.1 413")
    assert ask(server, body=audio(1))[0] == 200


def test_an_upload_that_stalls_is_given_up(server):
    with upload(server, "Content-Length: 1000") as connection:
        connection.sendall(b"RIFF")
        answer = answer_on(connection)
    assert answer.startswith(b"HTTP/1.1 408") and b"error" in answer


def test_a_request_that_takes_too_long_is_given_up(listener, serving):
    with serving(listener, seconds=0.0001) as server:
        assert "predict" in refused(server, 503, body=audio(1))
    with serving(Slow(listener), seconds=0.5) as server:
        assert "predict" in refused(server, 503, body=audio(30))


class Slow:
    """A listener that takes 50 ms longer for each window, and counts how many ask it at once."""

    def __init__(self, listener):
        self._listener, self._now, self.most, self.windows = listener, 0, 0, 0

    def __getattr__(self, name):
        return getattr(self._listener, name)

    def answer(self, *args, go_on, **how):
        def slowly():
            go_on()
            self.windows += 1
            time.sleep(0.05)

        self._now += 1
        self.most = max(self.most, self._now)
        try:
            return self._listener.answer(*args, go_on=slowly, **how)
        finally:
            self._now -= 1


def test_several_at_once_take_turns(listener, serving, clip):
    slow = Slow(listener)
    with serving(slow) as server, concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(server, body=clip.read_bytes()), range(4)))
        assert [status for status, _, _ in answers] == [200] * 4
        assert all(said == answers[0][2] for _, _, said in answers)
    assert slow.most == 1


def test_who_leaves_takes_no_more_time(listener, serving):
    slow, body = Slow(listener), audio(60)
    with serving(slow) as server:
        with upload(server, f"Content-Length: {len(body)}") as connection:
            connection.sendall(body)
            while not slow.windows:
                time.sleep(0.01)
        assert ask(server, body=audio(1))[0] == 200
    assert slow.windows < 30


def test_a_server_that_ends_waits_for_no_answer(listener, serving):
    slow = Slow(listener)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        with serving(slow) as server:
            asked = pool.submit(ask, server, body=audio(60))
            while not slow.windows:
                time.sleep(0.01)
            began = time.monotonic()
        assert time.monotonic() - began < 3
        assert asked.result()[0] == 503


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example", ""])
def test_other_hosts_are_refused(server, host):
    assert ask(server, "GET", "/", Host=host)[0] == 400
    own = f"{host}:{server.port}"  # such as a name that leads here: its pages are of one origin
    assert ask(server, body=b"x", Host=own, Origin=f"http://{own}")[0] == 400


@pytest.mark.parametrize("origin", ["null", "http://127.0.0.1:1", "https://localhost"])
def test_other_origins_are_refused(server, clip, origin):
    assert "origin" in refused(server, 403, body=clip.read_bytes(), Origin=origin)


def test_the_own_origin_is_taken(server, clip):
    for name in ("127.0.0.1", "localhost"):
        own = f"{name}:{server.port}"
        assert ask(server, body=clip.read_bytes(), Host=own, Origin=f"http://{own}")[0] == 200


def test_nothing_else_is_served(server):
    status, headers, page = ask(server, "GET", "/")
    assert status == 200 and b"What is this recording?" in page
    for _, headers, _ in (ask(server, "GET", "/"), ask(server, "GET", "/nowhere")):
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Access-Control-Allow-Origin"] is None
    for path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/app.py", "//etc/passwd",
                 "/page.js/../app.py", "/predict/x"):  # fmt: skip
        assert ask(server, "GET", path)[0] == 404
    assert ask(server, "GET", "/predict")[0] == ask(server, "DELETE", "/")[0] == 405
    status, headers, _ = ask(server, "GET", "/page.js")
    assert status == 200 and headers["Content-Type"].startswith("text/javascript")


def test_a_full_disk_is_a_line(server, mount_disk, monkeypatch):
    folder, _ = mount_disk("100k")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert "space" in refused(server, 507, body=audio(20, kind="WAV"))
    assert list(folder.iterdir()) == []
