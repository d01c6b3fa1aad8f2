"""asc-jax serve as a process: its address, its end, and models of both kinds."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from checkout import ROOT
from refusals import refused

from asc_jax import cli
from asc_jax.inference.card import FIELDS
from asc_jax.inference.export import describe, export
from asc_jax.inference.exported import load
from asc_jax.serve.listener import Listener
from asc_jax.serve.page import make_page
from asc_jax.serve.server import listen

COMMAND = [sys.executable, "-m", "asc_jax", "serve"]


def test_it_prints_its_address_and_ends_by_a_signal(run, tmp_path):
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([*COMMAND, str(run), "--port=0"], env=env, **how) as process:
        address = process.stdout.readline().strip()
        port = int(address.removeprefix("http://127.0.0.1:").rstrip("/"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")  # and stays connected
        assert b"ensemble of 2 folds" in connection.getresponse().read()
        # An upload is under way.
        upload = socket.create_connection(("127.0.0.1", port))
        upload.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nRIFF"
        )
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - began < 5
        assert process.returncode == 0 and out == ""
        assert "Traceback" not in err
        upload.close()
        connection.close()
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_a_line(run, process_as_it_was, capsys):
    with listen(0) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", str(run), f"--port={port}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "--port" in line and str(port) in line
        with refused(field="--port"):
            listen(port)


@pytest.mark.parametrize("word", ["--port=99999", "--port=-1", "--port=0"])  # which is no model
def test_a_wrong_port_and_what_is_no_model_are_a_line(tmp_path, process_as_it_was, capsys, word):
    assert cli.main(["serve", str(tmp_path), word]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_missing_packages_are_a_line(run, process_as_it_was, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert cli.main(["serve", str(run), "--port=0"]) == 2
    assert "asc_jax[serve]" in capsys.readouterr().err


def test_an_exported_file_answers_by_its_ensemble(model, scenes, listener, tmp_path):
    about = {field: f"{field} of it" for field in FIELDS}
    export(model, tmp_path / "own.stablehlo", describe(model, None, about))
    file = Listener(load(tmp_path / "own.stablehlo"))
    (clip, *_) = sorted((scenes / "audio").glob("*.wav"))
    how = {"n_windows": 9, "go_on": lambda: None}
    said, expected = (one.answer(clip, "a.wav", **how) for one in (file, listener))
    (ensemble,) = said["systems"]
    assert ensemble["mean"] == pytest.approx(expected["systems"][0]["mean"], abs=1e-3)
    json.dumps(said, allow_nan=False)
    page = make_page(file, "own", n_bytes=1)
    assert "default frontend" in page and "ensemble of" not in page
    assert "Trained on data of it. Accuracy: accuracy of it." in page
    assert all(f"<bdi>{label}</bdi>" in page.replace("<wbr>", "") for label in model.labels)
