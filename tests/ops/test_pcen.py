"""PCEN against librosa's."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from asc_jax.models.pcen import Pcen
from asc_jax.ops.pcen import pcen, smoothing_of


@pytest.mark.parametrize(
    ("seconds", "options"),
    [(0.4, {}), (0.05, {"gain": 0.5, "bias": 10.0, "power": 0.25}), (2.0, {"floor": 1e-3})],
)
def test_equals_librosa(seconds, options):
    mel = np.random.default_rng(0).exponential(1, (2, 60, 5)).astype(np.float32)
    mel[:, 20:30] *= 1e-4
    ours = jax.jit(lambda x: pcen(x, smoothing=smoothing_of(seconds, 16_000, 320), **options))(mel)
    names = {"floor": "eps"}
    theirs = librosa.pcen(
        mel, sr=16_000, hop_length=320, time_constant=seconds, axis=-2,
        **{names.get(name, name): value for name, value in options.items()},
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-6)


def test_gradients_of_silence_are_finite():
    gradient = jax.jit(jax.grad(lambda x: pcen(x, smoothing=0.1).sum()))(np.zeros((10, 3)))
    assert np.isfinite(gradient).all()


def test_the_trained_one_begins_as_the_fixed_one_and_all_its_parameters_learn():
    mel = np.random.default_rng(0).exponential(1, (2, 30, 4)).astype(np.float32)
    variables = Pcen().init(jax.random.key(0), mel)
    trained, fixed = jax.jit(lambda v: (Pcen().apply(v, mel), pcen(mel, smoothing=0.05)))(variables)
    np.testing.assert_allclose(trained, fixed, rtol=1e-4, atol=1e-6)
    loss = lambda v: jnp.square(Pcen().apply(v, mel)).sum()
    gradient = jax.jit(jax.grad(loss))(variables)["params"]
    assert all(np.isfinite(leaf).all() and np.all(leaf != 0) for leaf in gradient.values())
    assert set(gradient) == {"log_smoothing", "log_gain", "log_bias", "log_power"}
