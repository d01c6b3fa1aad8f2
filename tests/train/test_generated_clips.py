"""Training with synthetic clips, by the commands: what they reach, and what is refused."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import small
import soundfile
from checkout import CONFIGS

from asc_jax import cli
from asc_jax.data import read_dataset
from asc_jax.runs.metrics_log import read_metrics
from benchmarks.fault_subjects import end_of_training, newest

BATCH_SIZE, EPOCHS, SHARE = 8, 2, 0.25
PER_CLASS = 2

# The commands run in this process.
pytestmark = pytest.mark.usefixtures("process_as_it_was")


def train(scenes, generated, workdir, *fields) -> int:
    fields = (f"synthetic.root={generated}", f"synthetic.share={SHARE}", "folds.test_fold=1",
              f"train.batch_size={BATCH_SIZE}", f"train.epochs={EPOCHS}", *fields)  # fmt: skip
    words = small.words(scenes, *fields)
    return cli.main(["train", f"--config={CONFIGS / 'demo.py'}", f"--workdir={workdir}", *words])


def write_generated(root: pathlib.Path, scenes: pathlib.Path, seeds: dict[int, int]) -> None:
    """Noise as synthetic clips, from a seed per fold: mono, `PER_CLASS` of each class."""
    (root / "audio").mkdir(parents=True)
    lines = []
    for fold, seed in seeds.items():
        rng = np.random.default_rng([seed, fold])
        for label in read_dataset(scenes).scene_labels:
            for row in range(PER_CLASS):
                path = f"audio/{label}-fold{fold}-{row:05d}.wav"
                soundfile.write(root / path, 0.1 * rng.standard_normal(48_000), 48_000)
                lines.append({"path": path, "scene_label": label, "fold": fold, "row": row})
    (root / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def generated(scenes, tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("generated") / "clips"
    write_generated(root, scenes, {1: 0, 2: 0})
    return root


@pytest.fixture(scope="module")
def trained(scenes, generated, tmp_path_factory) -> pathlib.Path:
    """A run, scored when its synthetic clips were gone."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(generated, folder / "clips")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(cli, "_start_jax", lambda: None)
        assert train(scenes, folder / "clips", folder / "augmented") == 0
        shutil.rmtree(folder / "clips")
        assert cli.main(["evaluate", f"--workdir={folder / 'augmented'}"]) == 0
    return folder / "augmented"


def test_only_recorded_clips_are_scored_or_listed(trained, scenes):
    recorded = {clip.path for clip in read_dataset(scenes).clips}
    stored = np.load(trained / "logits.npz")
    scored = [path for name in ("out_of_fold", "test") for path in stored[f"{name}/path"]]
    assert sorted(scored) == sorted(recorded)
    splits = json.loads((trained / "splits.json").read_text())
    assert splits["clips"].keys() == recorded
    for parts in splits["folds"].values():
        assert recorded >= {path for part in parts.values() for path in part}
    report = json.loads((trained / "report.json").read_text())
    assert report["data"]["n_clips"] == len(recorded)
    assert sum(one["n_clips"] for one in report["lists"]) == len(recorded)
    for split in report["data"]["splits"]:
        assert split["train_clips"] + split["held_out_clips"] < len(recorded)


def test_an_epoch_has_room_for_the_share(trained):
    report = json.loads((trained / "report.json").read_text())
    largest = max(split["train_clips"] for split in report["data"]["splits"])
    steps = -(-round(largest / (1 - SHARE)) // BATCH_SIZE)
    assert report["training"]["steps"] == EPOCHS * steps
    assert epochs(trained)[-1]["step"] == report["training"]["steps"]


def test_a_fold_does_not_hear_the_others_synthetic_clips(trained, scenes, tmp_path):
    """Other sounds for fold 2 leave fold 1's model as it is, bit for bit."""
    write_generated(tmp_path / "other", scenes, {1: 0, 2: 1})
    assert train(scenes, tmp_path / "other", tmp_path / "run") == 0
    for ours, theirs in zip(*map(epochs, (trained, tmp_path / "run")), strict=True):
        for name in ("loss", "gradient_norm", "validation_loss"):
            assert ours[name][0] == theirs[name][0] and ours[name][1] != theirs[name][1]


def epochs(workdir) -> list[dict]:
    return read_metrics(workdir / "metrics.jsonl")


def test_a_run_goes_on_bit_for_bit_where_the_folder_has_moved_to(
    trained, scenes, generated, tmp_path
):
    workdir = shutil.copytree(trained, tmp_path / "run")
    moved = shutil.copytree(generated, tmp_path / "moved")
    shutil.rmtree(newest(workdir))
    with (moved / "manifest.jsonl").open("a") as file:
        file.write('{"path": "audio/tr')  # a writer at work
    assert train(scenes, moved, workdir) == 0
    assert end_of_training(workdir) == end_of_training(trained)


def refused(capsys, *arguments) -> str:
    """The one line of a refused `train`."""
    capsys.readouterr()
    assert train(*arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    lines = [line for line in lines if "clip/s" not in line]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_run_keeps_its_synthetic_clips(trained, scenes, generated, tmp_path, capsys):
    changed = shutil.copytree(generated, tmp_path / "changed")
    lines = (changed / "manifest.jsonl").read_text().splitlines(keepends=True)
    (changed / "manifest.jsonl").write_text("".join(lines[:-1]))
    line = refused(capsys, scenes, changed, trained)
    assert line.startswith(str(changed / "manifest.jsonl")) and "synthetic.json" in line
    for field in ("synthetic.share=0.5", "synthetic.per_class=1", "synthetic.mask_above=8000"):
        line = refused(capsys, scenes, generated, trained, field)
        assert field.partition("=")[0] in line
    assert "synthetic." in refused(capsys, scenes, "", trained, "synthetic.share=0.0")


def test_synthetic_clips_do_not_join_a_run_without(trained, scenes, generated, tmp_path, capsys):
    workdir = shutil.copytree(trained, tmp_path / "plain")
    (workdir / "synthetic.json").unlink()
    config = json.loads((workdir / "config.json").read_text())
    config["synthetic"] |= {"root": "", "share": 0.0}
    (workdir / "config.json").write_text(json.dumps(config))
    line = refused(capsys, scenes, generated, workdir, "synthetic.share=0.0")
    assert "synthetic.root" in line


def test_a_folder_that_cannot_be_used_is_one_line(scenes, generated, tmp_path, capsys):
    """What else a manifest may have wrong is asked of its reader."""
    spoilt = shutil.copytree(generated, tmp_path / "spoilt")
    clip = next((spoilt / "audio").iterdir())
    soundfile.write(clip, np.zeros(24_000), 48_000)  # half of what is asked for
    assert refused(capsys, scenes, spoilt, tmp_path / "run").startswith(str(clip))
    (spoilt / "manifest.jsonl").unlink()
    line = refused(capsys, scenes, spoilt, tmp_path / "run")
    assert line.startswith(str(spoilt / "manifest.jsonl"))
    assert not (tmp_path / "run").exists()
