"""The fold-aware convolution against `jax.lax.conv_general_dilated`, under every transformation."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from asc_jax.ops import conv, winograd
from asc_jax.ops.conv import conv_general_dilated
from asc_jax.runtime import backend

LAYOUTS = {1: ("NTC", "TIO", "NTC"), 2: ("NHWC", "HWIO", "NHWC")}
reference = jax.lax.conv_general_dilated


# A case that exercises strides, asymmetric padding and dilation at once.
AWKWARD = {
    "window_strides": (2, 1),
    "padding": [(1, 2), (0, 1)],
    "rhs_dilation": (1, 2),
    "dimension_numbers": LAYOUTS[2],
}
# On top of it: dilated by input and kernel, cut off before and padded beyond the kernel.
DILATED = {"lhs_dilation": (2, 3), "padding": [(-2, 3), (4, -1)]}
# A transposed convolution, as a generator has it: only the input is dilated.
TRANSPOSED = {
    "window_strides": (1,),
    "padding": [(14, 13)],
    "lhs_dilation": (4,),
    "dimension_numbers": LAYOUTS[1],
}
PLAIN = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": LAYOUTS[2]}


def normal(seed: int, *shape: int, dtype=jnp.float32) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def assert_close(ours, expected, dtype=jnp.float32, err_msg="") -> None:
    """Equal to rounding, relative to the largest value."""
    tolerance = 2e-5 if dtype == jnp.float32 else 3e-2
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        one, other = np.asarray(one, np.float32), np.asarray(other, np.float32)
        scale = max(np.abs(other).max(initial=0), 1e-6)
        np.testing.assert_allclose(one / scale, other / scale, atol=tolerance, err_msg=err_msg)


def gradients(conv, lhs, rhs):
    """First order by both arguments, and second order through the first, of a non-linear loss."""

    def loss(lhs, rhs):
        out = conv(lhs, rhs).astype(jnp.float32)
        return jnp.sum(jnp.sin(out)) / out.size

    def penalty(lhs, rhs):
        first = jax.grad(loss, argnums=(0, 1))(lhs, rhs)
        return sum(jnp.sum(jnp.square(g.astype(jnp.float32))) for g in first)

    return jax.grad(loss, argnums=(0, 1))(lhs, rhs), jax.grad(penalty, argnums=(0, 1))(lhs, rhs)


def assert_equals_lax(lhs_shape, rhs_shape, dtype, options) -> None:
    """Values, first and second gradients."""
    lhs, rhs = normal(0, *lhs_shape, dtype=dtype), normal(1, *rhs_shape, dtype=dtype)

    @functools.partial(jax.jit, static_argnums=0)
    def everything(conv, lhs, rhs):
        conv = functools.partial(conv, **options)
        return conv(lhs, rhs), gradients(conv, lhs, rhs)

    assert_close(everything(conv_general_dilated, lhs, rhs), everything(reference, lhs, rhs), dtype)


@st.composite
def convolutions(draw):
    """Shapes, dtype and keyword arguments of a convolution that has an output."""
    spatial = draw(st.sampled_from([1, 2]))
    per_axis = lambda values: draw(st.tuples(*[values] * spatial))
    kernel = per_axis(st.integers(1, 3))
    rhs_dilation = per_axis(st.integers(1, 2))
    groups = draw(st.sampled_from([1, 1, 2]))
    window = [(k - 1) * d + 1 for k, d in zip(kernel, rhs_dilation, strict=True)]
    extent = [draw(st.integers(w, w + 4)) for w in window]
    pair = st.tuples(st.integers(0, 2), st.integers(0, 2))
    padding = draw(st.sampled_from(["SAME", "VALID", "pairs"]))
    lhs_dilation = per_axis(st.integers(1, 2)) if padding == "pairs" else None
    options = {
        "window_strides": per_axis(st.integers(1, 3)),
        "padding": per_axis(pair) if padding == "pairs" else padding,
        "lhs_dilation": lhs_dilation,
        "rhs_dilation": rhs_dilation,
        "dimension_numbers": LAYOUTS[spatial],
        "feature_group_count": groups,
    }
    lhs = (2, *extent, 2 * groups)
    rhs = (*kernel, 2, 2 * groups)
    return lhs, rhs, draw(st.sampled_from([jnp.float32, jnp.bfloat16])), options


@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(case=convolutions())
def test_equals_lax_with_first_and_second_gradients(case):
    assert_equals_lax(*case)


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((25,), TRANSPOSED),
        ((3,), {**TRANSPOSED, "padding": [(4, -1)]}),  # beyond the kernel: zeros at the edges
        (
            (3, 4),
            {
                "window_strides": (1, 1),
                "padding": [(1, 2), (0, 3)],
                "lhs_dilation": (2, 1),
                "dimension_numbers": LAYOUTS[2],
            },
        ),
    ],
)
def test_transposed_convolution_equals_lax_with_first_and_second_gradients(kernel, options):
    lhs = (2, *(6, 5)[: len(kernel)], 3)
    assert_equals_lax(lhs, (*kernel, 3, 2), jnp.float32, options)


@pytest.mark.parametrize(
    ("n_frames", "taps", "stride", "padding", "dtype"),
    [
        (24, 25, 4, (10, 11), jnp.float32),  # a kernel longer than the map
        (24, 25, 4, (10, 11), jnp.bfloat16),
        (7, 5, 4, (0, 0), jnp.float32),  # frames at the end that no output sees
        (9, 2, 3, (0, 0), jnp.float32),  # frames between that no output sees
        (9, 3, 2, (-2, 4), jnp.float32),  # frames that the padding leaves out
    ],
)
def test_strided_convolution_in_time_equals_lax(n_frames, taps, stride, padding, dtype):
    options = {
        "window_strides": (stride,),
        "padding": [padding],
        "dimension_numbers": LAYOUTS[1],
    }
    assert_equals_lax((2, n_frames, 3), (taps, 3, 2), dtype, options)


@pytest.mark.parametrize(
    ("lhs_shape", "rhs_shape", "options"),
    [
        ((2, 9, 3), (3, 3, 4), {"window_strides": (2,), "padding": [(-1, 4)]}),
        ((2, 7, 3), (4, 3, 2), {"window_strides": (3,), "padding": [(5, 0)], "lhs_dilation": (2,)}),
        ((2, 8, 7, 2), (3, 2, 2, 3), {**AWKWARD, **DILATED}),
        ((2, 5, 6, 2), (5, 6, 2, 3), {"window_strides": (2, 2), "padding": "VALID"}),
        ((1, 4, 4, 2), (1, 1, 2, 2), {"window_strides": (3, 2), "padding": [(2, 2), (0, 1)]}),
    ],
)  # fmt: skip
def test_gradients_of_awkward_convolutions_equal_lax(lhs_shape, rhs_shape, options):
    """Strides, dilations and paddings at once, negative ones and ones beyond the kernel."""
    numbers = LAYOUTS[len(lhs_shape) - 2]
    options = {**options, "dimension_numbers": numbers}
    assert_equals_lax(lhs_shape, rhs_shape, jnp.float32, options)


@pytest.mark.parametrize(
    ("kernel", "extent", "channels", "dtype"),
    [
        (3, (9, 11), (3, 2), jnp.float32),  # several blocks of rows
        (3, (5, 6), (1, 2), jnp.bfloat16),  # the most rows that stay whole
        (3, (1, 1), (3, 1), jnp.float32),
        (1, (4, 3), (3, 2), jnp.float32),
    ],
)
def test_matrix_products_equal_lax_with_first_and_second_gradients(
    kernel, extent, channels, dtype, monkeypatch
):
    monkeypatch.setattr(conv, "FEW_CHANNELS", 0)
    options = {**PLAIN, "padding": [(kernel // 2,) * 2] * 2}
    assert_equals_lax((2, *extent, channels[0]), (kernel, kernel, *channels), dtype, options)


@pytest.mark.parametrize("n_rows", [1, 6, 10])
def test_winograd_equals_lax_in_float64(n_rows):
    """Without rounding in the way: the method itself, and that it is transposed rightly."""
    with jax.enable_x64(True):
        lhs, rhs = (np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate(
            [(2, 9, n_rows, 3), (3, 3, 3, 2)]
        ))  # fmt: skip
        options = {**PLAIN, "padding": [(1, 1), (1, 1)]}
        out, transpose = jax.vjp(functools.partial(reference, **options), lhs, rhs)
        cotangent = np.random.default_rng(2).standard_normal(out.shape)
        lhs_gradient, rhs_gradient = transpose(cotangent)
        for ours, expected in (
            (winograd.forward(lhs, rhs), out),
            (winograd.lhs_gradient(cotangent, rhs), lhs_gradient),
            (winograd.rhs_gradient(lhs, cotangent), rhs_gradient),
        ):
            assert ours.dtype == jnp.float64
            np.testing.assert_allclose(ours, expected, atol=1e-11)


@pytest.mark.parametrize("padding", ["SAME", "VALID", "SAME_LOWER"])
def test_padding_by_name(padding):
    options = {**AWKWARD, "padding": padding}
    lhs, rhs = normal(0, 2, 6, 7, 3), normal(1, 3, 3, 3, 4)
    assert_close(conv_general_dilated(lhs, rhs, **options), reference(lhs, rhs, **options))


@pytest.mark.parametrize(("platform", "plain"), [("cpu", AWKWARD), ("gpu", PLAIN)])
def test_precision_is_that_of_the_gradients_too(platform, plain, monkeypatch):
    monkeypatch.setattr(backend, "platform", lambda: platform)
    lhs, rhs = normal(0, 1, 5, 4, 2), normal(1, 3, 3, 2, 2)
    options = {**plain, "precision": "highest"}
    total = lambda *args: conv_general_dilated(*args, **options).sum()
    text = jax.jit(jax.value_and_grad(total, (0, 1))).lower(lhs, rhs).as_text()
    found = re.findall(r"stablehlo\.(?:convolution|dot_general).*", text)
    assert len(found) >= 3
    assert {"HIGHEST" in line for line in found} == {True}


# Where `vmap` maps: the input, the kernel, both, several times over.
MAPS = {
    "input": ([(0, None)], (3, 2, 5, 6, 2), (3, 3, 2, 2)),
    "kernel": ([(None, 0)], (2, 5, 6, 2), (2, 3, 3, 2, 2)),
    "both twice": ([(1, 4), (0, 0)], (2, 2, 2, 5, 6, 2), (2, 3, 3, 2, 2, 2)),
    "both, then the input": ([(0, 0), (0, None)], (2, 3, 2, 5, 6, 2), (2, 3, 3, 2, 2)),
    "the input, then both": ([(0, None), (0, 0)], (2, 3, 2, 5, 6, 2), (3, 3, 3, 2, 2)),
}


def mapped(conv, options, in_axes):
    """vmap of vmap of ..., the first of `in_axes` outermost."""
    conv = functools.partial(conv, **options)
    for axes in reversed(in_axes):
        conv = jax.vmap(conv, axes)
    return conv


def assert_vmap_equals_lax(in_axes, lhs_shape, rhs_shape, options) -> None:
    """Values, first and second gradients, mapped as `MAPS` says."""
    lhs, rhs = normal(0, *lhs_shape), normal(1, *rhs_shape)

    @functools.partial(jax.jit, static_argnums=0)
    def everything(conv, lhs, rhs):
        conv = mapped(conv, options, in_axes)
        return conv(lhs, rhs), gradients(conv, lhs, rhs)

    assert_close(everything(conv_general_dilated, lhs, rhs), everything(reference, lhs, rhs))


@pytest.mark.parametrize("where", MAPS)
def test_vmap_equals_lax_with_gradients(where):
    assert_vmap_equals_lax(*MAPS[where], AWKWARD)


STRIDED = {"window_strides": (4,), "padding": "SAME", "dimension_numbers": LAYOUTS[1]}


@pytest.mark.parametrize(
    ("options", "kernel", "extent"),
    [(PLAIN, (3, 3), (6, 5)), (STRIDED, (25,), (64,)), (TRANSPOSED, (25,), (3,))],
    ids=["plain", "strided", "transposed"],
)
def test_what_networks_have_equals_lax_with_second_gradients_per_fold(options, kernel, extent):
    """Of the input and the kernel, as a gradient penalty takes them of each GAN's critic."""
    assert_vmap_equals_lax([(0, 0)], (2, 2, *extent, 2), (2, *kernel, 2, 2), options)


# What an accelerator runs: windows of small maps, and convolutions where kernels are dilated.
STRIDED_2D = {"window_strides": (2, 2), "padding": [(1, 1)] * 2, "dimension_numbers": LAYOUTS[2]}
CUT = {"window_strides": (2, 3), "padding": [(-1, 2), (3, 1)], "dimension_numbers": LAYOUTS[2]}


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
@pytest.mark.parametrize(
    ("options", "kernel", "extent"),
    [
        (AWKWARD, (3, 3), (5, 6)),
        (PLAIN, (3, 3), (6, 2)),
        (STRIDED_2D, (3, 3), (6, 5)),
        (CUT, (3, 2), (7, 5)),
        (STRIDED, (25,), (64,)),
        (TRANSPOSED, (25,), (3,)),
    ],
)
def test_what_an_accelerator_runs_equals_lax_with_second_gradients(
    platform, options, kernel, extent, monkeypatch
):
    monkeypatch.setattr(backend, "platform", lambda: platform)
    assert_vmap_equals_lax([(0, 0)], (2, 2, *extent, 2), (2, *kernel, 2, 2), options)


@pytest.mark.parametrize(
    ("options", "kernel", "extent", "channels"),
    [
        (STRIDED_2D, (5, 5), (9, 8), (1, 25)),
        (STRIDED_2D, (5, 5), (9, 8), (1, 3)),  # one channel, whatever becomes of it
        (STRIDED_2D | {"padding": "VALID"}, (1, 1), (7, 6), (2, 4)),
        (CUT, (3, 2), (7, 5), (1, 6)),
        (STRIDED, (25,), (64,), (1, 32)),
        (TRANSPOSED, (25,), (16,), (32, 1)),
    ],
)
def test_few_channels_are_products_on_a_gpu_with_second_gradients(
    options, kernel, extent, channels, monkeypatch
):
    monkeypatch.setattr(backend, "platform", lambda: "gpu")
    monkeypatch.setitem(conv.MOST_POINTS, "gpu", 0)
    lhs, rhs = (2, *extent, channels[0]), (*kernel, *channels)
    assert_equals_lax(lhs, rhs, jnp.float32, options)
    shapes = (jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in (lhs, rhs))
    ours = functools.partial(gradients, functools.partial(conv_general_dilated, **options))
    assert "conv_general_dilated[" not in str(jax.make_jaxpr(ours)(*shapes))


@pytest.mark.parametrize(("points", "n_convolutions"), [(30, 0), (29, 6)])
def test_small_maps_are_products_on_a_gpu_and_larger_ones_separate_convolutions(
    points, n_convolutions, monkeypatch
):
    """As it is traced for one, of a kernel per fold, with both gradients."""
    monkeypatch.setitem(conv.MOST_POINTS, "gpu", points)
    device = jax.sharding.AbstractDevice("a device", None, "cuda")
    mesh = jax.sharding.AbstractMesh((1,), ("fold",), abstract_device=device)
    loss = lambda lhs, rhs: (conv_general_dilated(lhs, rhs, **PLAIN) ** 2).sum()
    step = jax.vmap(jax.grad(loss, (0, 1)))
    mapped = jax.shard_map(step, mesh=mesh, in_specs=P("fold"), out_specs=P("fold"))
    shapes = (2, 2, 5, 6, 3), (2, 3, 3, 3, 2)
    jaxpr = jax.make_jaxpr(mapped)(*[jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes])
    text = str(jaxpr)
    assert text.count("conv_general_dilated[") == n_convolutions
    assert text.count("feature_group_count=1") == text.count("batch_group_count=1")
    assert text.count("feature_group_count=1") == n_convolutions


@pytest.mark.parametrize("where", ["both twice", "both, then the input"])
@pytest.mark.parametrize(("options", "has_convolutions"), [(AWKWARD, True), (PLAIN, False)])
def test_no_grouped_convolution_on_a_cpu(where, options, has_convolutions):
    in_axes, lhs_shape, rhs_shape = MAPS[where]
    conv = mapped(conv_general_dilated, options, in_axes)
    text = (
        jax.jit(functools.partial(gradients, conv))
        .lower(
            jax.ShapeDtypeStruct(lhs_shape, jnp.float32),
            jax.ShapeDtypeStruct(rhs_shape, jnp.float32),
        )
        .as_text()
    )
    assert ("stablehlo.convolution" in text) == has_convolutions
    assert "feature_group_count = " not in text.replace("feature_group_count = 1 ", "")
    assert "batch_group_count = " not in text.replace("batch_group_count = 1 ", "")


@pytest.mark.parametrize(
    ("options", "kernel", "extent", "marked"),
    [
        (PLAIN, (3, 3), (6, 5), True),
        (PLAIN, (3, 3), (6, 5), False),
        (AWKWARD, (3, 2), (11, 9), True),
        (TRANSPOSED, (25,), (3,), True),
    ],
)
def test_sharded_batch_equals_the_whole_batch(options, kernel, extent, marked):
    """Whether the kernel is marked as varying over the shards, or JAX has to find out."""
    kernel, x = normal(0, 2, *kernel, 2, 2), normal(1, 2, 8, *extent, 2)  # (F, ...), (F, B, ...)
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    conv = functools.partial(conv_general_dilated, **options)

    def loss(kernel, x):
        return jnp.mean(jnp.square(jnp.tanh(conv(conv(x, kernel), kernel)) - 1))

    def sharded_loss(kernel, x):
        kernel = jax.lax.pcast(kernel, "data", to="varying") if marked else kernel
        return jax.lax.pmean(loss(kernel, x), "data")

    sharded = jax.shard_map(
        jax.vmap(jax.value_and_grad(sharded_loss)),
        mesh=mesh,
        in_specs=(P(), P(None, "data")),
        out_specs=P(),
        check_vma=True,
    )
    whole = jax.vmap(jax.value_and_grad(loss))
    assert_close(jax.jit(sharded)(kernel, x), jax.jit(whole)(kernel, x))


def test_forward_mode_is_refused():
    lhs, rhs = normal(0, 1, 4, 4, 2), normal(1, 3, 3, 2, 2)
    with pytest.raises(TypeError):
        jax.jvp(lambda x: conv_general_dilated(x, rhs, **PLAIN), (lhs,), (lhs,))
