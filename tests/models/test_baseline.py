"""The DCASE 2018 baseline: its count, its quirk, and PyTorch's logits from the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import some_variables, with_statistics
from refusals import refused

from asc_jax import models
from asc_jax.models.baseline import Baseline
from asc_jax.models.summary import summarise


def variables_shapes(n_frames: int, n_mels: int) -> dict:
    return jax.eval_shape(
        lambda x: Baseline(n_classes=10).init(jax.random.key(0), x, train=False),
        jax.ShapeDtypeStruct((1, n_frames, n_mels), jnp.float32),
    )


def test_counts_of_the_published_network():
    summary = summarise(Baseline(n_classes=10), 500, 40)
    assert summary.parameters == 116_022
    assert summary.parameters + summary.statistics == 116_118
    assert summary.convolutions == 2


def test_normalises_over_the_frequency_axis():
    variables = variables_shapes(500, 40)
    for collection, leaves in (("params", ("scale", "bias")), ("batch_stats", ("mean", "var"))):
        for leaf in leaves:
            assert variables[collection]["BatchNorm_0"][leaf].shape == (40,)
            assert variables[collection]["BatchNorm_1"][leaf].shape == (8,)


@pytest.mark.parametrize(
    ("n_frames", "n_mels", "flat"), [(500, 40, 128), (501, 40, 128), (1000, 80, 512)]
)
def test_shapes(n_frames, n_mels, flat):
    network = models.build({"name": "baseline"}, 7)
    x = jax.ShapeDtypeStruct((3, n_frames, n_mels), jnp.float32)
    variables = jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), x)
    assert variables["params"]["Dense_0"]["kernel"].shape == (flat, 100)
    out = jax.eval_shape(lambda v, x: network.apply(v, x, train=False), variables, x)
    assert (out.shape, out.dtype) == ((3, 7), jnp.float32)


@pytest.mark.parametrize(("n_frames", "n_mels"), [(499, 40), (500, 19)])
def test_too_small_an_input_is_refused(n_frames, n_mels):
    with refused(field="model.name") as caught:
        variables_shapes(n_frames, n_mels)
    assert all(str(size) in str(caught.value) for size in (n_frames, n_mels, "frontend.n_mels"))


def test_training_moves_the_statistics_as_keras_does():
    network = Baseline(n_classes=10, dropout_rate=0.0)
    variables = with_statistics(some_variables(network, (1, 500, 20)))
    x = jnp.asarray(np.random.default_rng(2).standard_normal((2, 500, 20)), jnp.float32)
    step = jax.jit(
        lambda x: network.apply(
            variables,
            x,
            train=True,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=lambda module, _: module.name == "Conv_0",
        )
    )
    _, state = step(x)
    (conv,) = state["intermediates"]["Conv_0"]["__call__"]  # (B, W, H, C)
    old, new = variables["batch_stats"]["BatchNorm_0"], state["batch_stats"]["BatchNorm_0"]
    mean, var = np.mean(conv, axis=(0, 1, 3)), np.var(conv, axis=(0, 1, 3))
    np.testing.assert_allclose(new["mean"], 0.99 * old["mean"] + 0.01 * mean, atol=1e-5)
    np.testing.assert_allclose(new["var"], 0.99 * old["var"] + 0.01 * var, atol=1e-5)


def test_logits_equal_a_pytorch_twin():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    F = torch.nn.functional
    variables = with_statistics(some_variables(Baseline(n_classes=10), (1, 500, 40)))
    x = np.random.default_rng(3).standard_normal((2, 500, 40)).astype(np.float32)
    ours = jax.jit(lambda x: Baseline(n_classes=10).apply(variables, x, train=False))(x)

    weights = jax.tree.map(lambda leaf: torch.tensor(np.array(leaf)), variables)
    p, s = weights["params"], weights["batch_stats"]
    y = torch.tensor(x).transpose(1, 2)[:, None]  # (B, 1, M, N)
    for i, window in enumerate(((5, 5), (4, 100))):
        conv, norm, stats = p[f"Conv_{i}"], p[f"BatchNorm_{i}"], s[f"BatchNorm_{i}"]
        y = F.conv2d(y, conv["kernel"].permute(3, 2, 1, 0), conv["bias"], padding="same")
        by_frequency = y.transpose(1, 2)  # torch normalises axis 1
        y = F.batch_norm(
            by_frequency, stats["mean"], stats["var"], norm["scale"], norm["bias"], eps=1e-3
        ).transpose(1, 2)
        y = F.max_pool2d(torch.relu(y), window)
    y = y.permute(0, 2, 3, 1).flatten(1)  # flattened with channels last
    y = torch.relu(y @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"])
    twin = y @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"]
    assert 0.1 < twin.std() < 10
    np.testing.assert_allclose(ours, twin.numpy(), atol=1e-4)
