"""The log of a run: whole lines of whole epochs."""

import json

from refusals import refused

from asc_jax.runs.metrics_log import MetricsLog, non_finite_policy, read_metrics


def test_goes_on_after_the_epochs_that_are_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, n_epochs_done=0)
    for epoch in (1, 2, 3):
        log.write({"epoch": epoch, "seconds": 1.5 * epoch, "clips_per_second": 9})
    again = MetricsLog(path, n_epochs_done=2)
    again.write({"epoch": 3, "seconds": 9.0, "clips_per_second": 9})
    assert [line["seconds"] for line in read_metrics(path)] == [1.5, 3.0, 9.0]


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        json.dumps({"epoch": 1, "seconds": 1, "clips_per_second": 2}) + '\n{"epoch": 2, "sec'
    )
    assert [line["epoch"] for line in read_metrics(path)] == [1]
    MetricsLog(path, n_epochs_done=2)
    assert path.read_text().endswith("}\n")


def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    with refused(path=tmp_path / "run" / "metrics.jsonl"):
        MetricsLog(tmp_path / "run" / "metrics.jsonl", n_epochs_done=0)


def test_a_line_that_is_no_epoch_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\n')
    with refused(path="metrics.jsonl:1"):
        read_metrics(path)


def test_the_policy_of_each_epoch_is_said_once():
    lines = lambda *policies: [{"epoch": 1, "non_finite": policy} for policy in policies]
    assert non_finite_policy(lines("stop", "stop")) == "stop"
    assert non_finite_policy(lines("skip", "stop", "stop")) == "skip and stop"
    assert non_finite_policy([{"epoch": 1}, *lines("skip")]) == "skip"
    assert non_finite_policy([{"epoch": 1}]) == ""  # of an older version
