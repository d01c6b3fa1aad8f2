"""The record of a folder of runs."""

import json

from asc_jax.runs.sweep_record import RECORD, run_folders


def test_the_runs_of_a_folder_are_those_that_are_not_lost(tmp_path):
    settings = {
        "base": {"fields": {}, "runs": {"0": "base/seed0", "1": "base/seed1"}},
        "a=1": {"fields": {"a": 1}, "runs": {"0": "a=1/seed0"}},
    }
    record = {"base": {}, "settings": settings, "lost": {"base/seed1": "diverged"}}
    (tmp_path / RECORD).write_text(json.dumps(record))
    assert run_folders(tmp_path) == [tmp_path / "base/seed0", tmp_path / "a=1/seed0"]
    run = tmp_path / "base" / "seed0"
    assert run_folders(run) == [run]  # whatever it is, what comes next says so
