"""Runs of equal blocks as loops against the same blocks one by one, and against plain flax."""

import itertools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from networks import some_variables, stack

from asc_jax.models import resnet
from asc_jax.models.resnet import ResNet

DEEP = {"n_classes": 3, "stage_sizes": (1, 6), "stage_strides": (1, 2), "width": 4, "se_ratio": 2}


def gradients(network: ResNet, variables: dict, x: np.ndarray):
    """Loss, updated statistics and gradients of a training step's forward pass."""

    def loss(params):
        logits, updated = network.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
        )
        return -jnp.mean(jax.nn.log_softmax(logits)[:, 0]), updated

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])


def inputs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((4, 33, 21)).astype(np.float32)


def assert_close(ours, expected) -> None:
    paths = jax.tree_util.tree_leaves_with_path(expected)
    for one, (path, other) in zip(jax.tree.leaves(ours), paths, strict=True):
        scale = max(1e-3, float(np.abs(other).max()))
        np.testing.assert_allclose(
            one / scale, other / scale, atol=2e-4, err_msg=jax.tree_util.keystr(path)
        )


def test_the_axes_of_all_convolutions_lie_as_loops_need_them():
    """XLA's convolutions of other axes are many times slower in a loop on a CPU."""
    network = ResNet(n_classes=3, stage_sizes=(5,), stage_strides=(1,), width=4)
    assert [len(run.names) for run in network.loops] == [5]
    variables = some_variables(network, (2, 33, 48))  # maps of 12 rows
    x = jnp.zeros((2, 33, 48))
    loss = lambda v: network.apply(v, x, train=True, mutable=["batch_stats"])[0].sum()
    text = jax.jit(jax.grad(loss)).lower(variables).as_text()
    axes = re.findall(r"stablehlo\.convolution.* dim_numbers = (.*?), window", text)
    assert len(axes) >= 2 + 6  # of the stem, of the loop
    assert set(axes) == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}


def test_blocks_of_other_kernels_or_shapes_are_runs_of_their_own():
    runs = ResNet(
        n_classes=3, stage_sizes=(3, 8), stage_strides=(1, 2), max_receptive_field=60
    ).runs()
    names = [run.names for run in runs]
    assert sum(names, ()) == tuple(
        [f"stage1_block{i}" for i in (1, 2, 3)] + [f"stage2_block{i}" for i in range(1, 9)]
    )
    for run, following in itertools.pairwise(runs):
        assert run.attributes != following.attributes or run.names[-1].endswith("_block1")
    bottleneck = ResNet(n_classes=3, stage_sizes=(5,), stage_strides=(1,), block="bottleneck")
    # The first block takes fewer channels than it gives.
    assert [len(run.names) for run in bottleneck.runs()] == [1, 4]


def test_every_fast_path_equals_plain_flax(monkeypatch):
    """Loops, matrix products, normalisation and pooling by hand, against flax's own layers."""
    x = inputs()
    single = ResNet(**DEEP, scan=False, conv=nn.Conv)
    variables = some_variables(single, x.shape)
    fast = ResNet(**DEEP)
    assert [run.name for run in fast.loops] == ["stage2_block2_to_block6"]
    (loss, updated), grads = gradients(fast, stack(variables, fast.loops), x)

    monkeypatch.setattr(resnet, "BatchNorm", nn.BatchNorm)
    monkeypatch.setattr(
        resnet, "max_pool", lambda x: nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
    )
    (plain_loss, plain_updated), plain_grads = gradients(single, variables, x)
    np.testing.assert_allclose(loss, plain_loss, rtol=1e-5)
    assert_close(updated, stack(plain_updated, fast.loops))
    assert_close(grads, stack({"params": plain_grads}, fast.loops)["params"])
