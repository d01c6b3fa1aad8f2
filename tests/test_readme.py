"""What the README shows in Python runs as it stands there."""

import re

import numpy as np
import small
from checkout import ROOT

from asc_jax.data.audio import write_wav
from asc_jax.train.loop import train


def test_the_readmes_python_runs(scenes, tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("## In Python")[2].partition("\n## ")[0]
    trained, parts = re.findall(r"```python\n(.*?)```", section, re.S)
    train(small.config(scenes, "train.epochs=1"), tmp_path / "runs" / "scenes")
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 44_100).astype(np.float32)
    write_wav(tmp_path / "clip.wav", noise, 44_100)
    names = {}
    exec(trained, names)
    assert names["said"].probabilities.shape == (1, 10) and len(names["said"].top(3)) == 3
    exec(parts, names)
    assert names["x"].shape[0] == 1 and names["logits"].shape == (1, 10)
    assert np.isfinite(names["logits"]).all()
