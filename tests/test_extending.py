"""What docs/extending.md shows runs as it stands there."""

import collections
import pathlib
import re

import numpy as np
from checkout import ROOT
from small import WORDS

from asc_jax import cli
from asc_jax.runs.metrics_log import read_metrics


def test_the_pages_functions_train(scenes, tmp_path, monkeypatch, process_as_it_was, capsys):
    page = (ROOT / "docs" / "extending.md").read_text()
    files = collections.defaultdict(str)
    for code in re.findall(r"```python\n(.*?)```", page, re.S):
        first, rest = code.split("\n", 1)
        files[first.removeprefix("# ")] += rest + "\n\n"
    assert set(files) == {"my_parts.py", "my_config.py", "my_ablation.py"}
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    own = ("augment", "frontend", "model")
    words = [word for word in WORDS if word.split(".")[1] not in own]
    words += ["--config.train.epochs=1", f"--config.data.root={scenes}"]
    assert cli.main(["train", "--config=my_config.py", "--workdir=run", *words]) == 0
    (epoch,) = read_metrics(pathlib.Path("run/metrics.jsonl"))
    assert np.isfinite(epoch["loss"]).all()
    capsys.readouterr()
    command = ["sweep", "--config=my_ablation.py", "--workdir=runs", *words, "--dry_run"]
    assert cli.main(command) == 0
    base, own = (line for line in capsys.readouterr().out.splitlines() if " train " in line)
    assert "focal" in own and "focal" not in base
