"""The global norm: against float64, in its corners, and what XLA has to compile for it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asc_jax.ops.global_norm import global_norm
from asc_jax.parallel.mapping import COMPILER_OPTIONS

SHAPES = {"kernel": (3, 3, 16, 24), "scale": (24,), "gate": (2,), "classifier": (10,), "step": ()}


def random_tree(shapes: dict, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def in_float64(tree) -> float:
    return np.sqrt(sum(np.sum(np.square(leaf, dtype=float)) for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("names", [["kernel"], ["gate"], ["step"], list(SHAPES)])
def test_is_the_root_of_the_sum_of_squares(names):
    tree = random_tree({name: SHAPES[name] for name in names})
    np.testing.assert_allclose(global_norm(tree), in_float64(tree), rtol=1e-6)
    np.testing.assert_allclose(global_norm(tree), optax.tree.norm(tree), rtol=1e-6)


def test_of_folds_is_each_folds_own():
    trees = [random_tree(SHAPES, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    norms = jax.jit(jax.vmap(global_norm))(stacked)
    np.testing.assert_allclose(norms, [in_float64(tree) for tree in trees], rtol=1e-6)


def test_millions_of_values_lose_no_digit():
    tree = {"kernel": np.full((9, 1024, 1024), 1e-3, np.float32)}
    np.testing.assert_allclose(jax.jit(global_norm)(tree), in_float64(tree), rtol=2e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_is_not_finite_if_a_value_or_a_square_is_not(value):
    tree = random_tree(SHAPES)
    tree["scale"][5] = value
    assert not np.isfinite(global_norm(tree))


def test_of_nothing_but_zeros_is_zero():
    assert global_norm({"kernel": jnp.zeros((3, 8))}) == 0


def test_has_no_kernel_for_every_leaf():
    shapes = {f"leaf{i}": (16 + i, 8) for i in range(20)}
    program = jax.jit(global_norm).lower(random_tree(shapes))
    text = program.compile(compiler_options=COMPILER_OPTIONS.get(jax.default_backend())).as_text()
    if jax.default_backend() == "cpu":
        assert text.count(" fusion(") < len(shapes) / 2
