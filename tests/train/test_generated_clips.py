"""Training with synthetic clips, by the commands: what they reach, and what is refused."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import soundfile
from checkout import CONFIGS

from asc_jax import cli
from asc_jax.data import read_dataset
from asc_jax.runs.metrics_log import read_metrics

CONFIG = CONFIGS / "demo.py"
SMALL = {
    "data.clip_seconds": 1.0,
    "data.n_frames": 50,
    "frontend.n_mels": 16,
    "model.stage_sizes": (1,),
    "model.stage_strides": (2,),
    "model.width": 2,
    "folds.n_folds": 2,
    "train.batch_size": 8,
    "train.epochs": 2,
    "synthetic.share": 0.25,
}
PER_CLASS = 2

# The commands run in this process.
pytestmark = pytest.mark.usefixtures("process_as_it_was")


def train(scenes, generated, workdir, **changed) -> int:
    fields = {"data.root": scenes, "synthetic.root": generated, **SMALL, **changed}
    words = [f"--config.{field}={value}" for field, value in fields.items()]
    return cli.main(["train", f"--config={CONFIG}", f"--workdir={workdir}", *words])


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
    steps = -(-round(largest / (1 - SMALL["synthetic.share"])) // SMALL["train.batch_size"])
    assert report["training"]["steps"] == SMALL["train.epochs"] * steps
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


def last(workdir) -> pathlib.Path:
    """The folder of the newest checkpoint."""
    return max(workdir.glob("checkpoints/[0-9]*"), key=lambda path: int(path.name))


def checksums(workdir) -> str:
    return (last(workdir) / "about" / "metadata").read_text()


def test_a_run_goes_on_bit_for_bit_where_the_folder_has_moved_to(
    trained, scenes, generated, tmp_path
):
    workdir, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(trained, workdir)
    shutil.rmtree(last(workdir))
    shutil.copytree(generated, moved)
    with (moved / "manifest.jsonl").open("a") as file:
        file.write('{"path": "audio/tr')  # a writer at work
    assert train(scenes, moved, workdir) == 0
    assert checksums(workdir) == checksums(trained)


def refused(capsys, *arguments, **changed) -> str:
    """The one line of a refused `train`."""
    capsys.readouterr()
    assert train(*arguments, **changed) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    lines = [line for line in lines if "clip/s" not in line]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_run_keeps_its_synthetic_clips(trained, scenes, generated, tmp_path, capsys):
    changed = tmp_path / "changed"
    shutil.copytree(generated, changed)
    lines = (changed / "manifest.jsonl").read_text().splitlines(keepends=True)
    (changed / "manifest.jsonl").write_text("".join(lines[:-1]))
    line = refused(capsys, scenes, changed, trained)
    assert line.startswith(str(changed / "manifest.jsonl")) and "synthetic.json" in line
    for field, value in {"synthetic.share": 0.5, "synthetic.per_class": 1,
                         "synthetic.mask_above": 8000}.items():  # fmt: skip
        assert field in refused(capsys, scenes, generated, trained, **{field: value})
    assert "synthetic." in refused(capsys, scenes, "", trained, **{"synthetic.share": 0.0})


def test_synthetic_clips_do_not_join_a_run_without(trained, scenes, generated, tmp_path, capsys):
    workdir = tmp_path / "plain"
    shutil.copytree(trained, workdir)
    (workdir / "synthetic.json").unlink()
    config = json.loads((workdir / "config.json").read_text())
    config["synthetic"] |= {"root": "", "share": 0.0}
    (workdir / "config.json").write_text(json.dumps(config))
    line = refused(capsys, scenes, generated, workdir, **{"synthetic.share": 0.0})
    assert "synthetic.root" in line


def alter_line(root: pathlib.Path, **changed) -> None:
    """Changes the manifest's second line."""
    lines = (root / "manifest.jsonl").read_text().splitlines()
    entry = {k: v for k, v in (json.loads(lines[1]) | changed).items() if v is not None}
    lines[1] = json.dumps(entry)
    (root / "manifest.jsonl").write_text("\n".join(lines) + "\n")


def keep_fold_1(root: pathlib.Path) -> None:
    lines = (root / "manifest.jsonl").read_text().splitlines(keepends=True)
    (root / "manifest.jsonl").write_text("".join(line for line in lines if "-fold1-" in line))


def append(root: pathlib.Path, line: str) -> None:
    with (root / "manifest.jsonl").open("a") as file:
        file.write(line + "\n")


def shorten(root: pathlib.Path) -> None:
    soundfile.write(next((root / "audio").iterdir()), np.zeros(24_000), 48_000)


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda root: (root / "manifest.jsonl").unlink(), "manifest.jsonl"),
        (lambda root: append(root, "no JSON"), "manifest.jsonl"),
        (lambda root: alter_line(root, fold=None), "line 2"),
        (lambda root: alter_line(root, path="../outside.wav"), "../outside.wav"),
        (
            lambda root: append(root, (root / "manifest.jsonl").read_text().splitlines()[0]),
            "00000.wav",
        ),
        (lambda root: next((root / "audio").iterdir()).unlink(), ".wav"),
        (lambda root: alter_line(root, scene_label="beach"), "beach"),
        (lambda root: alter_line(root, fold=3), "fold 3"),
        (keep_fold_1, "fold 2"),
        (shorten, "0.50 s"),
    ],
    ids=["gone", "no JSON", "no fold", "outside", "twice", "no clip", "class", "fold", "folds",
         "short"],
)  # fmt: skip
def test_a_spoilt_folder_is_one_line(scenes, generated, tmp_path, capsys, spoil, where):
    spoilt = tmp_path / "spoilt"
    shutil.copytree(generated, spoilt)
    spoil(spoilt)
    line = refused(capsys, scenes, spoilt, tmp_path / "run")
    assert line.startswith(str(spoilt)) and where in line
    assert not (tmp_path / "run").exists()
