"""Sound is part of a data set: of what a run learnt from, and of what it may be scored on."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import small
import soundfile
from refusals import refused

from asc_jax.data import read_dataset
from asc_jax.data.splits import refuse_other_audio
from asc_jax.gan.embedder import open_classifier
from asc_jax.runs.folder import SYNTHETIC
from asc_jax.runs.inputs import decode, read_data, told_of_silence
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train.loop import train


def write_set(root: pathlib.Path, *, seed: int = 0, prefix: str = "") -> pathlib.Path:
    """Two classes of four places of two clips."""
    (root / "audio").mkdir(parents=True)
    rng, rows = np.random.default_rng(seed), ["filename\tscene_label\tidentifier\n"]
    for label in ("bus", "tram"):
        for place in range(4):
            for take in range(2):
                path = f"audio/{prefix}{label}{place}{take}.wav"
                soundfile.write(root / path, rng.uniform(-0.1, 0.1, (24_000, 2)), 48_000)
                rows.append(f"{path}\t{label}\t{prefix}{label}{place}\n")
    (root / "meta.csv").write_text("".join(rows))
    return root


def config_of(root: pathlib.Path):
    fields = ("data.clip_seconds=0.5", "data.n_frames=0", "train.batch_size=4", "train.epochs=1")
    return small.config(root, *fields)


@pytest.mark.parametrize("pool", ["log_mel", "waveform"])
def test_silence_is_named(tmp_path, pool):
    root = write_set(tmp_path / "set")
    config = small.config(root, "data.clip_seconds=0.5", "data.n_frames=0", f"data.pool={pool}")
    assert told_of_silence(decode(config, *read_data(config))) == ""
    for name, others in (("bus00", ""), ("tram31", " and 1 more")):
        soundfile.write(root / f"audio/{name}.wav", np.zeros((24_000, 2)), 48_000)
        told = told_of_silence(decode(config, *read_data(config)))
        assert told.startswith(f"audio/bus00.wav{others}: ")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[pathlib.Path, pathlib.Path]:
    """A run, and the data set that it learnt from."""
    folder = tmp_path_factory.mktemp("trained")
    root = write_set(folder / "set")
    train(config_of(root), folder / "run")
    return folder / "run", root


@pytest.fixture
def changed(trained, tmp_path) -> tuple[pathlib.Path, pathlib.Path]:
    """The run, and its data set with one clip silenced."""
    workdir = shutil.copytree(trained[0], tmp_path / "run")
    root = shutil.copytree(trained[1], tmp_path / "set")
    config = json.loads((workdir / "config.json").read_text())
    config["data"]["root"] = str(root)
    (workdir / "config.json").write_text(json.dumps(config))
    soundfile.write(root / "audio" / "tram21.wav", np.zeros((24_000, 2)), 48_000)
    return workdir, root


def test_a_run_records_the_sound_of_every_clip(trained):
    described = json.loads((trained[0] / "splits.json").read_text())
    assert described["audio"].keys() == described["clips"].keys()
    assert len(set(described["audio"].values())) == 16


def test_other_sound_under_the_same_names_is_refused(changed):
    workdir, root = changed
    before = sorted(workdir.rglob("*"))
    for use in (
        lambda: train(config_of(root), workdir),
        lambda: evaluate(workdir),
        lambda: open_classifier(str(workdir), config_of(root).data),
    ):
        with refused(path=root / "audio" / "tram21.wav"):
            use()
    assert sorted(workdir.rglob("*")) == before


def test_training_clips_under_other_names_are_not_scored(trained, tmp_path):
    """By a run without a record of its sound, too."""
    workdir = shutil.copytree(trained[0], tmp_path / "run")
    described = json.loads((workdir / "splits.json").read_text())
    del described["audio"]
    (workdir / "splits.json").write_text(json.dumps(described))
    other = write_set(tmp_path / "other", seed=1, prefix="other-")
    assert [one["name"] for one in evaluate(workdir, [str(other)])["lists"]][-1] == "other"
    logits = (workdir / "logits.npz").read_bytes()
    clip = shutil.copy(trained[1] / "audio" / "bus30.wav", other / "audio" / "other-tram00.wav")
    with refused(path=clip) as caught:
        evaluate(workdir, [str(other)])
    assert "/audio/bus30.wav" in str(caught.value)
    assert (workdir / "logits.npz").read_bytes() == logits


def test_synthetic_clips_are_compared_as_well(tmp_path):
    dataset = read_dataset(write_set(tmp_path / "set"))
    digests = [str(number) for number in range(len(dataset.clips))]
    record = tmp_path / SYNTHETIC
    refuse_other_audio(record, dataset, digests)  # the run has not begun
    audio = {clip.path: digest for clip, digest in zip(dataset.clips, digests, strict=True)}
    record.write_text(json.dumps({"audio": audio}))
    refuse_other_audio(record, dataset, digests)
    with refused(path=dataset.audio_path(dataset.clips[3])):
        refuse_other_audio(record, dataset, [*digests[:3], "x", *digests[4:]])
    record.write_text(json.dumps({"audio": [1]}))
    with refused(path=record):
        refuse_other_audio(record, dataset, digests)
