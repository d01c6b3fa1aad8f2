"""Curves of a run, as TensorBoard, Weights & Biases and a spreadsheet read them."""

import csv
import struct
import sys

import numpy as np
import pytest
from refusals import refused

from asc_jax.runs.curves import Curves, draw_confusion, refuse_missing, scalars

LINE = {
    "epoch": 1, "step": 5, "seconds": 2.0, "peak_memory_bytes": None, "loss": [2.0, None],
    "skipped_steps": [0, 2], "non_finite": "skip", "validation_accuracy": [0.5, 0.25],
}  # fmt: skip
MODELS = ("fold1", "fold2")
EXPECTED = {
    "epoch": 1.0, "seconds": 2.0, "loss/fold1": 2.0, "loss/mean": 2.0,
    "skipped_steps/fold1": 0.0, "skipped_steps/fold2": 2.0, "skipped_steps/mean": 1.0,
    "validation_accuracy/fold1": 0.5, "validation_accuracy/fold2": 0.25,
    "validation_accuracy/mean": 0.375,
}  # fmt: skip


def write(folder, *names) -> None:
    curves = Curves(MODELS, names, {"train.epochs": 2, "train.mesh": ()}, ("bus", "tram"))
    curves.begin(folder, [LINE])
    curves.write(LINE | {"epoch": 2, "step": 10, "confusion": [[[3, 1], [0, 5]], None]})
    curves.close()


def test_models_have_names_and_a_mean_of_those_that_have_a_number():
    assert scalars(LINE, MODELS) == EXPECTED


def test_a_table_has_a_row_per_epoch(tmp_path):
    write(tmp_path)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2]
    assert {name: float(value) for name, value in rows[0].items()} == EXPECTED | {"step": 5}


def test_tensorboard_reads_what_was_written_last(tmp_path, capsys):
    pytest.importorskip("tensorboardX", reason="an extra: pip install 'asc_jax[tensorboard]'")
    from tensorboardX.proto.event_pb2 import Event

    for _ in range(2):  # as a run does that goes on
        write(tmp_path, "tensorboard")
    assert "curves:" not in capsys.readouterr().err
    (file,) = (tmp_path / "tensorboard").iterdir()
    events, rest = [], file.read_bytes()
    while rest:  # a length, its checksum, the event, its checksum
        (length,) = struct.unpack("<Q", rest[:8])
        events.append(Event.FromString(rest[12 : 12 + length]))
        rest = rest[16 + length :]
    seen = {
        (value.tag, event.step): value.simple_value
        for event in events
        for value in event.summary.value
    }
    assert {tag: seen[tag, 5] for tag in EXPECTED} == pytest.approx(EXPECTED)
    assert seen["epoch", 10] == 2
    (drawn,) = (v for event in events for v in event.summary.value if v.HasField("image"))
    assert drawn.tag == "confusion" and drawn.image.width > 100


def test_the_confusions_of_the_models_are_added_and_shaded_by_the_row():
    figure = draw_confusion(np.array([[3, 1], [0, 6]]), ("bus", "tram"))
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    assert [text.get_text() for text in axes.texts] == ["3", "1", "6"]


def test_wandb_keeps_a_run_without_a_network(tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb", reason="an extra: pip install 'asc_jax[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    write(tmp_path, "wandb")
    assert "curves:" not in capsys.readouterr().err
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/confusion*.png"))
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert (tmp_path / "wandb_id").read_text().strip() in kept.name


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with refused(field="train.writers") as caught:
        refuse_missing(["wandb"])
    assert "asc_jax[wandb]" in str(caught.value)
    refuse_missing([])


def test_a_writer_that_fails_ends_no_run(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ConnectionError("no network")

    monkeypatch.setattr("asc_jax.runs.curves.Wandb", fail)
    write(tmp_path, "wandb")
    (line,) = capsys.readouterr().err.splitlines()
    assert "no network" in line
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 3
