"""The residual networks: the paper's sizes, every knob, PyTorch's logits from the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import some_variables, stack, with_statistics
from refusals import refused

from asc_jax import models
from asc_jax.models.resnet import ResNet, max_pool
from asc_jax.models.summary import summarise

DEPTH_50, DEPTH_152 = (3, 4, 6, 3), (3, 8, 36, 3)
REPORT = {
    "ResNet(50)-rev": ResNet(n_classes=10, stage_sizes=DEPTH_50),
    "ResNet(152)-rev": ResNet(n_classes=10, stage_sizes=DEPTH_152),
    "SE-ResNet(152)-rev": ResNet(n_classes=10, stage_sizes=DEPTH_152, se_ratio=16),
}
TINY = {"n_classes": 5, "stage_sizes": (1, 2), "stage_strides": (1, 2), "width": 4}


# The paper's sizes, at 40 bands x 500 frames.


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs", "convolutions", "receptive_field"),
    [
        ("ResNet(50)-rev", 5_326_442, 0.43, 33, 897),
        ("ResNet(152)-rev", 14_485_098, 1.37, 101, 2945),
        ("SE-ResNet(152)-rev", 14_594_240, 1.37, 101, 2945),
    ],
)
def test_sizes_of_the_report(name, parameters, gmacs, convolutions, receptive_field):
    summary = summarise(REPORT[name], n_frames=500, n_mels=40)
    assert summary.parameters == parameters
    assert round(summary.macs / 1e9, 2) == gmacs
    assert summary.convolutions == convolutions
    assert summary.receptive_field == receptive_field


def test_cost_with_stride_1_as_printed():
    network = ResNet(n_classes=10, stage_sizes=DEPTH_152, stage_strides=(1, 1, 1, 1))
    assert round(summarise(network, 500, 40).macs / 1e9, 1) == 18.1


def test_map_sizes_follow_the_report():
    layers = {
        layer.name: layer.output for layer in summarise(REPORT["ResNet(50)-rev"], 500, 40).layers
    }
    assert layers["stem"] == (250, 20, 32)  # time, frequency, channels
    assert jax.eval_shape(max_pool, jnp.zeros((1, *layers["stem"]))).shape == (1, 125, 10, 32)
    assert layers["stage1_block3/conv2"] == (125, 10, 32)
    assert layers["stage2_block4/conv2"] == (63, 5, 64)
    assert layers["stage3_block6/conv2"] == (32, 3, 128)
    assert layers["stage4_block3/conv2"] == (16, 2, 256)
    assert layers["classifier"] == (10,)


# Every knob.


def apply(network: ResNet, x: np.ndarray, variables=None) -> jax.Array:
    if variables is None:
        variables = some_variables(network, x.shape)
    return jax.jit(lambda x: network.apply(variables, x, train=False))(x)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("order", ["post_activation", "pre_activation"])
@pytest.mark.parametrize(
    ("shortcut", "se_ratio", "max_receptive_field", "head"),
    [
        ("projection", 2, 0, "average"),
        ("zero_pad", 0, 30, "max"),
        ("zero_pad", 2, 0, "average_max"),
    ],
)
def test_every_combination_builds(block, order, shortcut, se_ratio, max_receptive_field, head):
    config = {
        "name": "resnet",
        "stage_sizes": (1, 1),
        "stage_strides": (1, 2),
        "width": 4,
        "block": block,
        "order": order,
        "shortcut": shortcut,
        "se_ratio": se_ratio,
        "max_receptive_field": max_receptive_field,
        "head": head,
    }
    network = models.build(config, 5)
    out, _ = jax.eval_shape(
        lambda x: network.init_with_output(jax.random.key(0), x, train=True),
        jax.ShapeDtypeStruct((3, 33, 21), jnp.float32),
    )
    assert (out.shape, out.dtype) == ((3, 5), jnp.float32)


@pytest.mark.parametrize(
    "knobs",
    [
        {"stage_sizes": (1, 1, 1), "stage_strides": (2, 1, 2)},
        {"block": "bottleneck", "shortcut": "zero_pad", "se_ratio": 4},
        {"order": "pre_activation", "head": "average_max", "max_receptive_field": 20},
    ],
)
def test_gives_finite_logits_per_clip(knobs):
    network = ResNet(**{**TINY, **knobs})
    x = normal(2, 33, 21)
    variables = some_variables(network, x.shape)
    out = apply(network, x, variables)
    assert out.shape == (2, 5)
    assert np.isfinite(out).all()
    assert np.std(out) > 1e-3
    x[0] = 7
    np.testing.assert_allclose(apply(network, x, variables)[1], out[1], atol=1e-5)


@pytest.mark.parametrize(
    ("config", "field", "choice"),
    [
        ({"name": "resnext"}, "name", "baseline"),
        ({"name": "resnet", "depth": 50}, "depth", "width"),
    ],
)
def test_an_unknown_network_or_attribute_lists_the_choices(config, field, choice):
    with refused(field=f"model.{field}") as caught:
        models.build(config, 10)
    assert choice in caught.value.message


@pytest.mark.parametrize(
    "field", [{"block": "botleneck"}, {"order": "pre"}, {"shortcut": "none"}, {"head": "mean"},
              {"stage_strides": (1, 2)}],
)  # fmt: skip
def test_a_network_that_is_built_by_hand_refuses_what_it_does_not_know(field):
    with refused(field=next(iter(field))):
        ResNet(n_classes=3, **field)


def test_heads():
    x = normal(2, 3, 4, 5)
    average, highest = x.mean((1, 2)), x.max((1, 2))
    for head, expected in (
        ("average", average),
        ("max", highest),
        ("average_max", average + highest),
    ):
        np.testing.assert_allclose(ResNet(n_classes=5, head=head).pool(x), expected, atol=1e-6)


def test_shortcuts_and_orders_differ_in_the_layers_they_need():
    def names(**knobs) -> set[str]:
        return {layer.name for layer in summarise(ResNet(**TINY, **knobs), 33, 21).layers}

    assert {name for name in names() if "projection" in name} == {
        "stage2_block1/projection",
        "stage2_block1/projection_norm",
    }
    assert not any("projection" in name for name in names(shortcut="zero_pad"))
    pre = names(order="pre_activation")
    assert "last_norm" in pre
    assert "stem_norm" not in pre
    assert "stage2_block1/projection_norm" not in pre


def test_bfloat16_computes_near_float32_and_keeps_float32_variables():
    x = normal(2, 33, 21)
    variables = some_variables(ResNet(**TINY), x.shape)
    out = apply(ResNet(**TINY, se_ratio=2, dtype=jnp.bfloat16), x)
    assert out.dtype == jnp.float32
    shapes = jax.eval_shape(
        lambda: ResNet(**TINY, dtype=jnp.bfloat16).init(jax.random.key(0), x, train=False)
    )
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes))
    near = apply(ResNet(**TINY, dtype=jnp.bfloat16), x, variables)
    np.testing.assert_allclose(near, apply(ResNet(**TINY), x, variables), atol=0.1)


# The receptive field.


def measured_receptive_field(network: ResNet, n_frames: int) -> int:
    """From the first to the last frame that one central position of the last map depends on."""
    x = normal(8, n_frames, 24)
    variables = some_variables(network, x.shape)
    last = f"stage{len(network.stage_sizes)}_block{network.stage_sizes[-1]}"

    def central(x):
        _, state = network.apply(
            variables,
            x,
            train=False,
            mutable="intermediates",
            capture_intermediates=lambda module, _: module.name == last,
        )
        (last_map,) = state["intermediates"][last]["__call__"]  # (B, W, H, C)
        return jnp.sum(last_map[:, last_map.shape[1] // 2])

    gradient = np.abs(jax.jit(jax.grad(central))(x)).sum(axis=(0, 2))
    # Winograd's products reach a tile further, where they cancel but for rounding.
    (frames,) = np.nonzero(gradient > 1e-5 * gradient.max())
    assert frames[0] > 0
    assert frames[-1] < n_frames - 1  # all of it lies inside the clip
    return frames[-1] - frames[0] + 1


@pytest.mark.parametrize(
    "knobs",
    [
        {"max_receptive_field": 60},
        {"max_receptive_field": 20, "block": "bottleneck"},
        {"order": "pre_activation", "stage_strides": (2, 1)},
    ],
)
def test_receptive_field_is_the_measured_one(knobs):
    network = ResNet(**{**TINY, "width": 8, **knobs})
    summary = summarise(network, 300, 24)
    assert summary.receptive_field == network.receptive_field
    assert measured_receptive_field(network, 300) == summary.receptive_field
    if limit := network.max_receptive_field:
        assert summary.receptive_field <= limit


@pytest.mark.parametrize(("limit", "block"), [(25, "basic"), (60, "bottleneck"), (150, "basic")])
def test_limit_of_the_receptive_field_holds_and_keeps_depth_and_channels(limit, block):
    knobs = {"n_classes": 10, "stage_sizes": (2, 2, 2, 2), "block": block}
    limited = summarise(ResNet(**knobs, max_receptive_field=limit), 500, 40)
    free = summarise(ResNet(**knobs), 500, 40)
    assert limited.receptive_field <= limit < free.receptive_field
    assert limited.receptive_field > limit - 2 * 32  # 32: frames per position, at most
    assert limited.parameters < free.parameters
    assert [layer.output for layer in limited.layers] == [layer.output for layer in free.layers]


def test_a_limit_beyond_the_field_changes_nothing():
    network = ResNet(n_classes=10, stage_sizes=DEPTH_50, max_receptive_field=897)
    assert summarise(network, 500, 40).parameters == 5_326_442


# PyTorch twins.


def torch_twin(network: ResNet, variables: dict):
    """The network in PyTorch with the same weights; modules have the same names."""
    torch = pytest.importorskip("torch")
    from benchmarks.torch_resnet import ResNet as TorchResNet

    torch.set_num_threads(1)
    attributes = ("n_classes", "stage_sizes", "stage_strides", "width", "se_ratio")
    twin = TorchResNet(**{name: getattr(network, name) for name in attributes}).eval()
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    state = {}
    for (_, *path), leaf in jax.tree_util.tree_leaves_with_path(variables):
        *module, name = (key.key for key in path)
        if name == "kernel":
            leaf = np.transpose(leaf, (3, 2, 1, 0) if leaf.ndim == 4 else (1, 0))
        state[".".join([*module, names.get(name, name)])] = torch.tensor(np.array(leaf))
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return twin


def random_variables(network: ResNet) -> dict:
    """Initial kernels, with statistics that are not trivial and maps that neither grow nor fade."""
    variables = with_statistics(some_variables(network, (1, 64, 40)))
    for block in variables["params"].values():  # a residual branch adds little to what passes by it
        if "norm2" in block:
            block["norm2"]["scale"] *= np.float32(0.1)
    return variables


def test_logits_equal_a_pytorch_twin():
    torch = pytest.importorskip("torch")
    network = REPORT["SE-ResNet(152)-rev"]
    variables = random_variables(network.clone(scan=False))
    x = normal(1, 61, 40, seed=2)
    with torch.no_grad():
        twin = torch_twin(network, variables)(torch.tensor(x)).numpy()
    assert 0.1 < twin.std() < 10
    # Layer by layer: compiling a deep network whole takes longer.
    assert network.loops
    ours = network.apply(stack(variables, network.loops), x, train=False)
    np.testing.assert_allclose(ours, twin, atol=1e-4)


def test_training_mode_equals_a_pytorch_twin():
    torch = pytest.importorskip("torch")
    network = ResNet(**TINY)
    variables = random_variables(network)
    x = normal(3, 35, 21, seed=3)
    step = jax.jit(lambda x: network.apply(variables, x, train=True, mutable=["batch_stats"]))
    logits, updated = step(x)
    twin = torch_twin(network, variables).train()
    with torch.no_grad():
        np.testing.assert_allclose(logits, twin(torch.tensor(x)).numpy(), atol=1e-4)

    outputs = {layer.name: layer.output for layer in summarise(network, 35, 21).layers}
    before, after = variables["batch_stats"], updated["batch_stats"]
    for name, module in twin.named_modules():
        if not isinstance(module, torch.nn.BatchNorm2d):
            continue
        assert module.momentum == pytest.approx(0.1)
        old, new = before, after
        for key in name.split("."):
            old, new = old[key], new[key]
        np.testing.assert_allclose(new["mean"], module.running_mean.numpy(), atol=1e-5)
        # PyTorch's moving variance takes the unbiased one, flax's the biased one.
        height, width, _ = outputs[name.replace(".", "/")]
        n = 3 * height * width
        unbiased = (module.running_var.numpy() - 0.9 * old["var"]) / 0.1
        expected = 0.9 * old["var"] + 0.1 * unbiased * (n - 1) / n
        np.testing.assert_allclose(new["var"], expected, atol=1e-5)
