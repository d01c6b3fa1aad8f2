"""The commands of `make demo`."""

import re
import shlex
import subprocess

from checkout import ROOT

from asc_jax.config.load import load_config
from asc_jax.data.procedural import write_synthetic_dataset
from asc_jax.flags import build_parser


def test_the_demo_is_made_of_commands_that_fit_together(tmp_path, monkeypatch):
    """As `make` prints them; what each of them does is tested elsewhere."""
    make = ["make", "--no-print-directory", "-n", "demo"]
    printed = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert max(map(len, printed.partition("data synth")[2].splitlines())) <= 80
    commands = re.findall(r"^\.venv/bin/asc-jax (.*)", printed.replace("\\\n", ""), re.M)
    parsed = [build_parser().parse_known_args(shlex.split(command)) for command in commands]
    by_name = {args.command: (args, overrides) for args, overrides in parsed}
    names = ["synth", "train", "evaluate", "predict", "export"]
    assert list(by_name) == names
    synth, train, evaluate, predict, export = (by_name[name][0] for name in names)
    assert len({*map(str, (train.workdir, evaluate.workdir, predict.model, export.model))}) == 1
    monkeypatch.chdir(ROOT)
    config = load_config(train.config, by_name["train"][1])
    assert config.data.root == str(synth.root)
    monkeypatch.chdir(tmp_path)
    sizes = {"locations_per_scene": synth.locations, "clips_per_location": 1}
    write_synthetic_dataset(synth.root, clip_seconds=0.1, **sizes)
    tested = synth.root / "evaluation_setup" / f"fold{config.folds.test_fold}_test.txt"
    for place in predict.places:
        assert (tmp_path / place).exists() and place.removeprefix(
            f"{synth.root}/"
        ) in tested.read_text()
