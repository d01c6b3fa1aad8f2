"""Augmentations in the step: alike on every mesh, and of the impulse responses of the run alone."""

import functools
import shutil

import jax
import numpy as np
import pytest
import small
import soundfile
from refusals import refused

from asc_jax.parallel.mesh import DATA
from asc_jax.runs.identity import identify
from asc_jax.runs.inputs import read_data
from asc_jax.scoring.evaluate import evaluate
from asc_jax.train.examples import training_examples
from asc_jax.train.loop import train
from asc_jax.train.setup import epoch_indices, set_up

ON_WAVEFORMS = ("data.pool=waveform", "train.crop_seconds=0.2", "augment.noise_level=0.3")
ON_BANDS = ("augment.freq_mixstyle_p=1.0", "augment.filter_db=12.0")


@pytest.fixture
def responses(tmp_path):
    """A folder of two impulse responses of 8 ms."""
    folder = tmp_path / "responses"
    folder.mkdir()
    for number, response in enumerate(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 400))):
        soundfile.write(folder / f"{number}.wav", response, 48_000)
    return folder


def by(responses) -> list[str]:
    return [f"augment.impulse_responses={responses}", "augment.impulse_p=0.5"]


def losses_of(config, mesh_shape=(1, 1)) -> np.ndarray:
    """(F, 2) of the first two steps."""
    setup = set_up(config, *read_data(config), mesh_shape=mesh_shape)
    ((pool, clips),) = setup.feed.calls([epoch_indices(setup, [0])[:, :2]])
    return np.asarray(setup.train_steps(setup.init(), pool, clips)[1]["loss"])


def test_the_mesh_changes_nothing(scenes, responses):
    mixed = ("augment.time_scale=1.25", "augment.between_class=True", "augment.gain_db=6.0")
    config = small.config(scenes, *ON_WAVEFORMS, *by(responses), *mixed, *ON_BANDS)
    np.testing.assert_allclose(losses_of(config), losses_of(config, (2, 4)), rtol=2e-4)


def test_log_mels_of_a_pool_are_augmented_as_well(scenes):
    given = []
    for fields in ((), ON_BANDS):
        config = small.config(scenes, *fields)
        setup = set_up(config, *read_data(config), mesh_shape=(1, 1))
        ((pool, clips),) = setup.feed.calls([epoch_indices(setup, [0])[:1, 0]])
        draw = functools.partial(training_examples, setup.model, lambda x: x, pool)
        inputs, _ = jax.vmap(functools.partial(draw, key=jax.random.key(0)), axis_name=DATA)(clips)
        given.append(np.asarray(inputs))
    assert np.abs(given[0] - given[1]).max() > 1e-2


def test_a_run_goes_on_by_its_own_responses_and_is_scored_without_them(
    scenes, responses, tmp_path, capfd
):
    run, moved = tmp_path / "run", tmp_path / "moved"

    def config(epochs: int, *fields: str):
        fields = (*ON_WAVEFORMS, "optimizer.schedule=constant", *fields)
        return small.config(scenes, f"train.epochs={epochs}", *fields)

    train(config(1, *by(responses)), run)
    shutil.move(responses, moved)
    evaluate(run)
    goes_on = config(2, *by(moved))
    train(goes_on, run)
    assert "functions" not in capfd.readouterr().err
    before = identify(goes_on)
    samples, sr = soundfile.read(moved / "1.wav")
    soundfile.write(moved / "1.wav", samples[::-1], sr)
    assert identify(goes_on) != before
    with refused(path=run):
        train(config(3, *by(moved)), run)
    with refused(path=run):
        train(config(3), run)


def test_responses_that_are_none_leave_no_run(scenes, responses, tmp_path):
    for path in responses.iterdir():
        path.unlink()
    with refused(path=responses, field="augment.impulse_responses"):
        train(small.config(scenes, *ON_WAVEFORMS, *by(responses)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "others"),
    [
        (
            "augment.noise_level",
            ["augment.noise_level=0.1", "data.pool=log_mel", "train.crop_seconds=0.0"],
        ),
        ("augment.impulse_p", ["augment.impulse_p=0.5"]),
        ("augment.impulse_responses", ["augment.impulse_responses=/responses"]),
        ("augment.filter_db", ["augment.filter_db=6.0", "frontend.name=pcen"]),
        ("augment.freq_mixstyle_alpha", ["augment.freq_mixstyle_alpha=0.0"]),
    ],
)
def test_fields_that_contradict_each_other_are_refused(scenes, field, others):
    with refused(field=f"--config.{field}"):
        small.config(scenes, "data.pool=waveform", *others)
