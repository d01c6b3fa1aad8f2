"""What the README shows in Python runs as it stands there."""

import re

import numpy as np
from checkout import ROOT

from asc_jax.data.audio import write_wav


def test_the_readmes_python_runs(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"## In Python\n\n```python\n(.*?)```", readme, re.S)
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 44_100).astype(np.float32)
    write_wav(tmp_path / "clip.wav", noise, 44_100)
    names = {}
    exec(code, names)
    assert names["x"].shape[0] == 1 and names["logits"].shape == (1, 10)
    assert np.isfinite(names["logits"]).all()
