"""Initial variables drawn on the host against the network's own `init`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asc_jax.models.baseline import Baseline
from asc_jax.models.initial_values import initial_variables
from asc_jax.models.resnet import ResNet

NETWORKS = {
    "resnet": (
        ResNet(n_classes=5, stage_sizes=(1, 1), stage_strides=(1, 2), width=32, se_ratio=4),
        (1, 32, 24),
    ),
    "baseline": (Baseline(n_classes=10), (1, 500, 40)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def drawn(request):
    """A network's variables: ours, and those of its own `init`."""
    network, shape = NETWORKS[request.param]
    initialise = jax.jit(
        lambda key: network.init(key, jnp.zeros(shape), train=False),
        compiler_options={"xla_backend_optimization_level": 0},
    )
    return initial_variables(network, shape, seed=0, fold=0), initialise(jax.random.key(0))


def kernels(variables) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in leaves
        if path[-1].key == "kernel"
    }


def test_same_structure_shapes_and_types(drawn):
    ours, theirs = drawn
    kind = lambda leaf: (leaf.shape, leaf.dtype)
    assert jax.tree.map(kind, ours) == jax.tree.map(kind, theirs)


def test_kernels_have_the_spread_of_the_networks_own(drawn):
    ours, theirs = (kernels(variables) for variables in drawn)
    assert ours.keys() == theirs.keys()
    for name, kernel in ours.items():
        n = kernel.size
        spread = theirs[name].std()
        # Four standard errors of a normal sample's deviation, of both samples.
        assert abs(kernel.std() / spread - 1) < 4 / np.sqrt(n), name
        assert abs(kernel.mean()) < 4 * spread / np.sqrt(n), name


def test_uniform_kernels_keep_their_limit():
    for kernel in kernels(initial_variables(*NETWORKS["baseline"], seed=0, fold=0)).values():
        taps = np.prod(kernel.shape[:-2])
        limit = np.sqrt(6 / (taps * (kernel.shape[-2] + kernel.shape[-1])))
        assert 0.97 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)


def test_everything_else_is_as_the_networks_own(drawn):
    def compare(path, ours, theirs):
        if path[-1].key != "kernel":
            np.testing.assert_array_equal(ours, theirs, err_msg=jax.tree_util.keystr(path))

    jax.tree_util.tree_map_with_path(compare, *drawn)


def test_values_are_a_function_of_seed_and_fold():
    network, shape = NETWORKS["resnet"]

    def draw(seed, fold, shape=shape):
        return kernels(initial_variables(network, shape, seed=seed, fold=fold))

    first = draw(0, 0)
    for same in (draw(0, 0), draw(0, 0, (4, 64, 24))):  # neither batch nor length matters
        for name, kernel in first.items():
            np.testing.assert_array_equal(kernel, same[name])
    for other in (draw(0, 1), draw(1, 0)):
        for name, kernel in first.items():
            assert abs(np.corrcoef(kernel.ravel(), other[name].ravel())[0, 1]) < 0.5, name
            assert not np.array_equal(kernel, other[name])


def test_layers_of_one_shape_differ():
    network = ResNet(n_classes=5, stage_sizes=(2,), stage_strides=(1,), width=8)
    values = kernels(initial_variables(network, (1, 32, 24), seed=0, fold=0))
    same_shape = [value for value in values.values() if value.shape == (3, 3, 8, 8)]
    assert len(same_shape) == 4
    assert len({value.tobytes() for value in same_shape}) == 4
