"""Which GANs a look stops."""

import types

import jax
import numpy as np
import pytest

from asc_jax.gan.corpora import Corpus
from asc_jax.gan.monitor import stop_collapsed
from asc_jax.gan.steps import WaveGanState
from asc_jax.parallel.mesh import make_mesh

HEALTHY = {"level_db": -30.0, "spectral_flatness": 0.1, "diversity_ratio": 0.8}
NOBODY = np.array([], np.int32)


@pytest.fixture
def setup():
    """Of three GANs."""
    corpora = [Corpus(1, (scene,), NOBODY, NOBODY) for scene in ("bus", "park", "tram")]
    return types.SimpleNamespace(corpora=corpora, mesh=make_mesh(3, 1, jax.devices()[:1]))


def state(*running: bool) -> WaveGanState:
    return WaveGanState(None, np.array(running), *[None] * 5)


def figures(**spoiled) -> dict[str, list]:
    """Of three GANs, the second of which has these."""
    return {name: [good, spoiled.get(name, good), good] for name, good in HEALTHY.items()}


@pytest.mark.parametrize(
    "spoiled", [{"level_db": -100.0}, {"spectral_flatness": 1e-8}, {"diversity_ratio": 0.01}]
)
def test_a_collapsed_gan_is_stopped_at_the_third_look(setup, spoiled):
    now, suspicion, everybody = state(True, True, True), np.zeros(3, np.int32), np.full(3, True)
    for _ in range(2):
        now, suspicion, lines = stop_collapsed(setup, now, everybody, figures(**spoiled), suspicion)
        assert np.asarray(now.running).all()
        assert not lines
    now, suspicion, lines = stop_collapsed(setup, now, everybody, figures(**spoiled), suspicion)
    np.testing.assert_array_equal(now.running, [True, False, True])
    (line,) = lines
    assert "park-fold1" in line


def test_a_gan_that_recovers_goes_on(setup):
    now, suspicion, everybody = state(True, True, True), np.zeros(3, np.int32), np.full(3, True)
    for level_db in (-100.0, -100.0, -30.0, -100.0, -100.0):
        now, suspicion, lines = stop_collapsed(
            setup, now, everybody, figures(level_db=level_db), suspicion
        )
        assert not lines
    assert np.asarray(now.running).all()


def test_a_gan_that_has_stopped_itself_is_said_once(setup):
    suspicion = np.zeros(3, np.int32)
    seen = figures(level_db=None)
    now, suspicion, lines = stop_collapsed(
        setup, state(True, False, True), np.full(3, True), seen, suspicion
    )
    (line,) = lines
    assert "park-fold1" in line
    _, _, lines = stop_collapsed(setup, now, np.asarray(now.running), seen, suspicion)
    assert not lines
