"""A small slice of the fault run; `python -m benchmarks faults` is the whole of it."""

import json
import subprocess
import sys

from checkout import ROOT


def test_kills_and_damaged_files_change_no_result(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "faults", "--quick", "--out"]
    done = subprocess.run(
        [*command, tmp_path / "faults.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *kinds, total = json.loads((tmp_path / "faults.json").read_text())["rows"]
    assert (total["faults"], total["survived"], total["wrong results"]) == (2, 2, 0)
    assert {kind["fault"] for kind in kinds} == {"kill -9", "flipped bit or cut file"}
