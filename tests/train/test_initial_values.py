"""A run begins with what its modules' own initialisers draw, whatever they are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_model import make_model

from asc_jax.data.normalisation import band_moments
from asc_jax.gan import steps as gan_steps
from asc_jax.gan.losses import LOSSES
from asc_jax.models.baseline import Baseline
from asc_jax.models.resnet import ResNet
from asc_jax.models.wavegan import Discriminator, Generator
from asc_jax.parallel.mesh import one_device
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.state import init_state, state_shapes

SHAPE = (24, 16)  # of the small pool's clips


class Unusual(nn.Module):
    """Initialisers that say nothing of their leaf's name, and leaves of one axis."""

    n_classes: int = 3

    @nn.compact
    def __call__(self, log_mel, *, train):
        gate = self.param("gate", nn.initializers.constant(1e-6), (1,))
        weight = self.param("kernel", nn.initializers.normal(0.5), (16,))
        x = log_mel * weight + gate
        x = nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=8)(x, x)
        x = nn.BatchNorm(use_running_average=not train, scale_init=nn.initializers.zeros)(x)
        x = nn.Dense(8, kernel_init=nn.initializers.orthogonal())(x)
        return nn.Dense(
            self.n_classes,
            kernel_init=nn.initializers.zeros,
            bias_init=nn.initializers.constant(-2),
        )(x.mean(axis=1))


NETWORKS = {
    "unusual": Unusual(),
    "resnet": ResNet(n_classes=3, stage_sizes=(1, 5), stage_strides=(1, 2), width=4, se_ratio=4),
}


def initial(network, pool, members, optimizer=lambda own: optax.adam(own.lr)):
    model = make_model(network, optimizer=optimizer)
    moments = band_moments(pool, model.features)
    return jax.device_get(init_state(model, members, moments, one_device()))


def kinds(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def assert_equal(ours, theirs):
    """Leaf by leaf; XLA may round differently where it compiles more in one go."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(theirs), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_leaf_is_drawn_by_its_own_initialiser(small_pool, small_splits, name):
    """Those of the optimizer's too: RMSProp's moving mean square may begin at 1."""
    network, optimizer = NETWORKS[name], lambda own: optax.rmsprop(own.lr, initial_scale=1.0)
    member = (small_splits[1], 5, Hyperparameters(lr=0.1))
    state = jax.tree.map(lambda leaf: leaf[0], initial(network, small_pool, [member], optimizer))
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(5), 2), 2**32 - 1)
    theirs = jax.jit(lambda key: network.init(key, jnp.zeros((1, *SHAPE)), train=False))(key)
    assert_equal({"params": state.params, "batch_stats": state.batch_stats}, dict(theirs))
    assert_equal(state.opt_state, optimizer(member[2]).init(state.params))
    assert kinds(state_shapes(make_model(network, optimizer=optimizer))) == kinds(state)
    if name == "unusual":
        assert state.params["gate"] == np.float32(1e-6)
        assert not state.params["Dense_1"]["kernel"].any()
        assert (state.params["Dense_1"]["bias"] == -2).all()
        assert not state.params["BatchNorm_0"]["scale"].any()


def test_the_baseline_begins_as_keras_does():
    """At its own size: uniform kernels of Glorot and Bengio."""
    network = Baseline(n_classes=10)
    init = jax.jit(lambda key: network.init(key, jnp.zeros((1, 500, 40)), train=False))
    params = init(jax.random.key(0))["params"]
    for kernel in (layer["kernel"] for name, layer in params.items() if "BatchNorm" not in name):
        taps = np.prod(kernel.shape[:-2])
        limit = np.sqrt(6 / (taps * (kernel.shape[-2] + kernel.shape[-1])))
        assert 0.97 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)


def test_models_differ_by_seed_and_fold_and_by_nothing_else(small_pool, small_splits):
    network, recipe = NETWORKS["resnet"], Hyperparameters(lr=0.1)
    models = [(small_splits[0], 0, recipe), (small_splits[1], 0, recipe)]
    models += [(small_splits[0], 1, recipe), (small_splits[0], 0, Hyperparameters(lr=0.2))]
    kernels = initial(network, small_pool, models).params["stem"]["kernel"]
    first, *others, same = (kernel.tobytes() for kernel in kernels)
    assert first == same and len({first, *others}) == 3


def test_layers_of_one_shape_differ(small_pool, small_splits):
    state = initial(NETWORKS["resnet"], small_pool, [(small_splits[0], 0, Hyperparameters(0.1))])
    leaves = jax.tree.leaves(state.params["stage2_block2_to_block5"])
    kernels = [kernel for leaf in leaves for kernel in leaf[0] if kernel.shape == (3, 3, 8, 8)]
    assert len(kernels) == 2 * 4
    assert len({kernel.tobytes() for kernel in kernels}) == 8


def test_gans_begin_with_their_own_initialisers():
    sizes = {"dim": 2, "n_samples": 64, "n_classes": 3}
    networks = gan_steps.Networks(
        Generator(n_latent=8, **sizes), Discriminator(phase_shuffle=0, **sizes), LOSSES["lsgan"], 4
    )
    state = gan_steps.init_state(networks, 2, one_device(), seed=3)
    vectors = state.generator["class_vector"]["embedding"]  # as the latent vectors beside them
    assert vectors.min() >= -1 and vectors.max() <= 1 and vectors.std() > 0.4
    for params in (state.generator, state.discriminator):
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            if path[-1].key == "bias":
                assert not leaf.any()
            else:
                assert not np.array_equal(leaf[0], leaf[1])
            if path[-1].key == "kernel":
                limit = np.sqrt(6 / (np.prod(leaf.shape[1:-2]) * sum(leaf.shape[-2:])))
                assert 0.5 * limit < np.abs(leaf).max() <= limit * (1 + 1e-6), path
    # LSGAN's RMSProp begins with ones.
    begun = networks.optimizer.init(jax.tree.map(lambda leaf: leaf[0], state.generator))
    assert_equal(jax.tree.map(lambda leaf: leaf[0], state.generator_opt_state), begun)
    shapes = gan_steps.state_shapes(networks)
    assert kinds(shapes) == kinds(jax.tree.map(lambda leaf: leaf[0], state))
