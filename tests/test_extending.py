"""What docs/extending.md shows runs as it stands there."""

import collections
import pathlib
import re

from checkout import ROOT
from small import WORDS

from asc_jax import cli
from asc_jax.runs.metrics_log import read_metrics


def test_the_pages_functions_are_swept(scenes, tmp_path, monkeypatch, process_as_it_was, capsys):
    page = (ROOT / "docs" / "extending.md").read_text()
    files = collections.defaultdict(str)
    for code in re.findall(r"```python\n(.*?)```", page, re.S):
        first, rest = code.split("\n", 1)
        files[first.removeprefix("# ")] += rest + "\n\n"
    assert set(files) == {"my_parts.py", "my_config.py", "my_ablation.py"}
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    words = [*WORDS, "--config.train.epochs=1", f"--config.data.root={scenes}"]
    others = [word for word in words if ".model." not in word and ".frontend." not in word]
    for command in (
        ["train", "--config=my_config.py", "--workdir=all", *others],
        ["sweep", "--config=my_ablation.py", "--workdir=runs", *words],
    ):
        assert cli.main(command) == 0, capsys.readouterr().err
    assert cli.main(["report", "runs"]) == 0
    assert "focal" in capsys.readouterr().out
    logs = {
        run.parts[-3]: read_metrics(run) for run in pathlib.Path().glob("runs/*/*/metrics.jsonl")
    }
    # (1 - p) ** 2 below 1 makes each example's focal loss less than its cross-entropy.
    own, plain = (logs[name][0]["loss"] for name in ("train.loss=my_parts.py_focal", "base"))
    assert all(a < 0.95 * b for a, b in zip(own, plain, strict=True))
