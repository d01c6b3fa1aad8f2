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

CONFIG = CONFIGS / "demo.py"
SMALL = {
    "data.clip_seconds": 1.0,
    "data.n_frames": 50,
    "frontend.n_mels": 16,
    "model.stage_sizes": (1, 1),
    "model.stage_strides": (1, 2),
    "model.width": 4,
    "folds.n_folds": 2,
    "train.batch_size": 8,
    "train.epochs": 3,
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
    workdir = tmp_path_factory.mktemp("runs") / "augmented"
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(cli, "_start_jax", lambda: None)
        assert train(scenes, generated, workdir) == 0
        assert cli.main(["evaluate", f"--workdir={workdir}"]) == 0
    return workdir


def out_of_fold(workdir) -> tuple[np.ndarray, np.ndarray]:
    """The logits of the held-out clips, and the fold that made each."""
    stored = np.load(workdir / "logits.npz")
    return stored["out_of_fold/logits"], stored["out_of_fold/fold"]


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
    n = PER_CLASS * len(report["scene_labels"])
    assert f"{n} in fold 1, {n} in fold 2" in report["training"]["note"]
    page = (trained / "report.html").read_text()
    assert page.count("ynthetic") == 1


def test_an_epoch_has_room_for_the_share(trained):
    report = json.loads((trained / "report.json").read_text())
    largest = max(split["train_clips"] for split in report["data"]["splits"])
    steps = -(-round(largest / (1 - SMALL["synthetic.share"])) // SMALL["train.batch_size"])
    assert report["training"]["steps"] == SMALL["train.epochs"] * steps
    lines = (trained / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == report["training"]["steps"]


def test_a_fold_does_not_hear_the_others_synthetic_clips(trained, scenes, tmp_path):
    """Other sounds for fold 2 leave fold 1's model as it is, bit for bit."""
    write_generated(tmp_path / "other", scenes, {1: 0, 2: 1})
    assert train(scenes, tmp_path / "other", tmp_path / "run") == 0
    assert cli.main(["evaluate", f"--workdir={tmp_path / 'run'}"]) == 0
    (ours, fold), (theirs, their_fold) = out_of_fold(trained), out_of_fold(tmp_path / "run")
    np.testing.assert_array_equal(fold, their_fold)
    np.testing.assert_array_equal(ours[fold == 1], theirs[fold == 1])
    assert (ours[fold == 2] != theirs[fold == 2]).any(axis=1).all()


def last(workdir) -> pathlib.Path:
    """The folder of the newest checkpoint."""
    folders = [path for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()]
    return max(folders, key=lambda path: int(path.name))


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


def test_scoring_needs_no_synthetic_clip(trained, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    config = json.loads((workdir / "config.json").read_text())
    config["synthetic"]["root"] = str(tmp_path / "deleted")
    (workdir / "config.json").write_text(json.dumps(config))
    assert cli.main(["evaluate", f"--workdir={workdir}"]) == 0
    np.testing.assert_array_equal(out_of_fold(workdir)[0], out_of_fold(trained)[0])


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
    assert "manifest.jsonl: is not the one that" in line and "synthetic.json" in line
    for field, value in {"synthetic.share": 0.5, "synthetic.per_class": 1,
                         "synthetic.mask_above": 8000}.items():  # fmt: skip
        line = refused(capsys, scenes, generated, trained, **{field: value})
        assert f"belongs to another config ({field}=" in line
    line = refused(capsys, scenes, "", trained, **{"synthetic.share": 0.0})
    assert "belongs to another config (synthetic." in line


def test_synthetic_clips_do_not_join_a_run_without(trained, scenes, generated, tmp_path, capsys):
    workdir = tmp_path / "plain"
    shutil.copytree(trained, workdir)
    (workdir / "synthetic.json").unlink()
    config = json.loads((workdir / "config.json").read_text())
    config["synthetic"] |= {"root": "", "share": 0.0}
    (workdir / "config.json").write_text(json.dumps(config))
    line = refused(capsys, scenes, generated, workdir, **{"synthetic.share": 0.0})
    assert "(synthetic.root='' there, 'a folder' now)" in line


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
    ("spoil", "expected"),
    [
        (lambda root: (root / "manifest.jsonl").unlink(), "manifest.jsonl: not found"),
        (lambda root: append(root, "no JSON"), "not JSON"),
        (lambda root: alter_line(root, fold=None), "line 2: has no fold"),
        (lambda root: alter_line(root, path="../outside.wav"), "must name a file below"),
        (
            lambda root: append(root, (root / "manifest.jsonl").read_text().splitlines()[0]),
            "is listed twice",
        ),
        (lambda root: next((root / "audio").iterdir()).unlink(), "are not there"),
        (lambda root: alter_line(root, scene_label="beach"), "scene_label 'beach' is not one of"),
        (lambda root: alter_line(root, fold=3), "fold 3: the run has only folds 1, 2"),
        (keep_fold_1, "has no clip for fold 2"),
        (shorten, "lasts 0.50 s"),
    ],
)
def test_a_spoilt_folder_is_one_line(scenes, generated, tmp_path, capsys, spoil, expected):
    spoilt = tmp_path / "spoilt"
    shutil.copytree(generated, spoilt)
    spoil(spoilt)
    line = refused(capsys, scenes, spoilt, tmp_path / "run")
    assert line.startswith(str(spoilt)) and expected in line
    assert not (tmp_path / "run").exists()
