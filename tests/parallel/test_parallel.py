"""The mesh, and how a step is mapped over it."""

import itertools
import re

import jax
import numpy as np
import pytest
from jax.experimental import mesh_utils
from refusals import refused

from asc_jax.parallel.mapping import PER_EXAMPLE, PER_FOLD, SHARED, map_folds
from asc_jax.parallel.mesh import DATA, describe_mesh, make_mesh
from asc_jax.runtime.backend import materialised


def test_no_mesh_is_larger():
    for n_devices, n_folds, batch_size in itertools.product(range(1, 9), range(1, 9), range(1, 25)):
        mesh = make_mesh(n_folds, batch_size, jax.devices()[:n_devices])
        possible = [
            (f * d, f)
            for f, d in itertools.product(range(1, n_devices + 1), repeat=2)
            if f * d <= n_devices and n_folds % f == 0 and batch_size % d == 0
        ]
        assert (mesh.size, mesh.shape["fold"]) == max(possible)


def test_a_mesh_of_all_devices_lies_as_their_topology_has_it(monkeypatch):
    order = [0, 1, 3, 2, 6, 7, 5, 4]

    def place(shape, devices, **_):
        return np.array(devices)[order].reshape(shape)

    monkeypatch.setattr(mesh_utils, "create_device_mesh", place)
    ids = lambda mesh: [device.id for device in mesh.devices.flat]
    assert ids(make_mesh(4, 8)) == order
    assert ids(make_mesh(4, 8, shape=(2, 2))) == [0, 1, 2, 3]  # of some: as they come


def test_a_mesh_can_be_named():
    mesh = make_mesh(4, 8, shape=(2, 2))
    assert dict(mesh.shape) == {"fold": 2, "data": 2}
    assert re.findall(r"\d+", describe_mesh(mesh)) == ["8", "2", "2", "4"]


@pytest.mark.parametrize(
    ("shape", "named"), [((3, 1), "4 folds"), ((8, 1), "4 folds"), ((2, 3), "train.batch_size=8"),
                         ((4, 4), "16 devices")],
)  # fmt: skip
def test_a_mesh_that_does_not_fit_is_refused(shape, named):
    with refused(field="train.mesh") as caught:
        make_mesh(4, 8, shape=shape)
    assert named in str(caught.value) and str(shape) in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 1), (2, 4)])
def test_folds_in_turn_are_what_they_are_together(shape):
    def step(state, pool, clips):
        total = jax.lax.psum((pool[clips] * state["scale"]).sum(), DATA)
        return {"scale": state["scale"] + total}, total

    mesh, rng = make_mesh(4, 8, shape=shape), np.random.default_rng(0)
    specs = {"in_specs": (PER_FOLD, SHARED, PER_EXAMPLE), "out_specs": (PER_FOLD, PER_FOLD)}
    state = {"scale": np.arange(4, dtype=np.float32)}
    arguments = state, rng.standard_normal(20, np.float32), rng.integers(20, size=(4, 8))
    together = map_folds(step, mesh, **specs)
    in_turn = map_folds(step, mesh, **specs, in_turn=("cpu",))
    assert "while" in in_turn.lower(*arguments).as_text()
    assert "while" not in together.lower(*arguments).as_text()
    jax.tree.map(np.testing.assert_allclose, in_turn(*arguments), together(*arguments))


def test_what_is_to_be_computed_once_is_no_part_of_its_users_loops():
    def products(keep) -> int:
        def step(x):
            product = keep(x * x)
            return product.sum(0), product.T

        mapped = map_folds(
            step,
            make_mesh(1, 1),
            in_specs=(PER_FOLD,),
            out_specs=(PER_FOLD, PER_FOLD),
        )
        return (
            mapped.lower(np.ones((1, 30, 20), np.float32)).compile().as_text().count(" multiply(")
        )

    assert products(materialised) == 1
    assert products(lambda x: x) == 2  # or XLA has learnt better, and the barrier can go
