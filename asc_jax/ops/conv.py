"""The one convolution that every network here uses, made for a fold axis on the kernel.

`vmap` over folds gives every fold its own kernel. XLA then has one grouped convolution to
do, which on a CPU costs about twice what the separate convolutions do, and on a GPU has gradients
that cuDNN has no kernels for. This one has the meaning of `jax.lax.conv_general_dilated` and
decides itself what a fold axis becomes: see `_map_over_folds`, `_matrix_products` and the two
tables below.

A convolution is bilinear, so it, its gradient by the input and its gradient by the kernel
are three contractions of one form, and the derivatives of each are the other two. Writing
them so keeps the decision in force in gradients of any order.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from asc_jax.ops import overlap_add, winograd
from asc_jax.ops.conv_gradients import Geometry
from asc_jax.ops.windows import Windows
from asc_jax.runtime import backend
from asc_jax.runtime.backend import materialised, on_cpu

CHANNELS_LAST_1D = jax.lax.ConvDimensionNumbers((0, 2, 1), (2, 1, 0), (0, 2, 1))
CHANNELS_LAST_2D = jax.lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))

# Platforms on which the convolutions of folds are separate ones.
SEPARATE = ("cpu", "gpu")

# Where a convolution is a product of its windows (`ops.windows`): points of the largest map, by
# platform, and taps of the largest kernel.
MOST_POINTS, MOST_TAPS = {"gpu": 400}, 9

# And of maps of so few channels, such as a waveform's, or whose windows are no larger than what
# becomes of them.
FEWEST_CHANNELS = {"gpu": 2}

FEW_CHANNELS = 32  # of maps of many rows: XLA's convolutions are faster than products there


@dataclasses.dataclass(frozen=True)
class Products:
    """A convolution and its gradients as matrix products; None where a convolution does better."""

    forward: Callable | None = None  # (lhs, rhs) -> out
    lhs_gradient: Callable | None = None  # (out, rhs) -> lhs
    rhs_gradient: Callable | None = None  # (lhs, out) -> rhs


POINTWISE = Products(
    lambda lhs, rhs: lhs @ rhs[0, 0],
    lambda out, rhs: out @ rhs[0, 0].T,
    lambda lhs, out: jnp.einsum("bwhc,bwhd->cd", lhs, out)[None, None],
)


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides,
    padding,
    lhs_dilation=None,
    rhs_dilation=None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    precision=None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated`, fast under a `vmap` that maps the kernel too.

    Give it to `flax.linen.Conv` as `conv_general_dilated=`; it takes what that gives it. Reverse
    mode only: forward-mode derivatives are refused by JAX.

    Args:
      lhs: the input, e.g. (B, H, W, C).
      rhs: the kernel, e.g. (h, w, C, C_out).
      window_strides: and all that follow: as in `jax.lax.conv_general_dilated`.
      padding: pairs of ints, or "SAME" or "VALID".
      lhs_dilation: one int per spatial axis.
      rhs_dilation: one int per spatial axis.
      dimension_numbers: the layout of lhs, rhs and output.
      feature_group_count: groups of input channels.
      precision: of the products.

    Returns:
      The output, e.g. (B, H', W', C_out).
    """
    spatial = lhs.ndim - 2
    numbers = jax.lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    rhs_dilation = tuple(rhs_dilation or (1,) * spatial)
    if isinstance(padding, str):
        window = [
            (rhs.shape[axis] - 1) * step + 1
            for axis, step in zip(numbers.rhs_spec[2:], rhs_dilation, strict=True)
        ]
        extent = [lhs.shape[axis] for axis in numbers.lhs_spec[2:]]
        padding = jax.lax.padtype_to_pads(extent, window, window_strides, padding)
    options = {
        "window_strides": tuple(window_strides),
        "padding": tuple(tuple(map(int, pair)) for pair in padding),
        "lhs_dilation": tuple(lhs_dilation or (1,) * spatial),
        "rhs_dilation": rhs_dilation,
        "feature_group_count": feature_group_count,
        "dimension_numbers": numbers,
    }
    convolve = functools.partial(jax.lax.conv_general_dilated, **options, precision=precision)
    if _is_transposed(options):
        return _transposed(lhs, rhs, options, jax.eval_shape(convolve, lhs, rhs), precision)
    lhs, rhs = _varying_alike(materialised(lhs), rhs)
    transposes = _transposes(convolve, jax.typeof(lhs), jax.typeof(rhs), options, precision)
    products = _matrix_products(lhs, rhs, options, precision)
    forward, _, _ = _contractions(convolve, *transposes, products)
    return forward(lhs, rhs)


def _varying_alike(*arrays: jax.Array) -> list[jax.Array]:
    """Arrays marked as varying over every mesh axis that one of them varies over.

    The gradient of one that did not vary is then summed over the axis outside of the contractions,
    by JAX, and within them all gradients are of their arguments' types.
    """
    axes = [jax.typeof(array).manual_axis_type.varying for array in arrays]
    missing = [tuple(frozenset.union(*axes) - own) for own in axes]
    return [
        jax.lax.pcast(array, names, to="varying") if names else array
        for array, names in zip(arrays, missing, strict=True)
    ]


def _transposes(
    convolve: Callable, lhs_type, rhs_type, options: dict, precision
) -> tuple[Callable, Callable]:
    """The transposes of a convolution by either argument, on a CPU those of `conv_gradients`.

    Args:
      convolve: (lhs, rhs) -> out.
      lhs_type: of lhs.
      rhs_type: of rhs.
      options: of the convolution.
      precision: of its products.

    Returns:
      (out, rhs) -> lhs, and (lhs, out) -> rhs.
    """
    channels_last = options["dimension_numbers"] in (CHANNELS_LAST_1D, CHANNELS_LAST_2D)
    plain = options["feature_group_count"] == 1
    if on_cpu() and channels_last and plain and jax.eval_shape(convolve, lhs_type, rhs_type).size:
        geometry = Geometry(
            extent=lhs_type.shape[1:-1],
            taps=rhs_type.shape[:-2],
            strides=options["window_strides"],
            padding=options["padding"],
            lhs_dilation=options["lhs_dilation"],
            rhs_dilation=options["rhs_dilation"],
            precision=precision,
        )
        return geometry.lhs_gradient, geometry.rhs_gradient

    def transpose_lhs(out, rhs):
        (lhs,) = jax.linear_transpose(lambda lhs: convolve(lhs, rhs), lhs_type)(out)
        return lhs

    def transpose_rhs(lhs, out):
        (rhs,) = jax.linear_transpose(lambda rhs: convolve(lhs, rhs), rhs_type)(out)
        return rhs

    return transpose_lhs, transpose_rhs


def _contractions(
    convolve: Callable, transpose_lhs: Callable, transpose_rhs: Callable, products: Products
) -> tuple[Callable, Callable, Callable]:
    """The convolution and its two gradients, each differentiable by means of the others.

    Args:
      convolve: (lhs, rhs) -> out.
      transpose_lhs: (out, rhs) -> lhs.
      transpose_rhs: (lhs, out) -> rhs.
      products: what takes their place.

    Returns:
      forward(lhs, rhs) -> out, lhs_gradient(out, rhs) -> lhs, rhs_gradient(lhs, out) -> rhs.
    """
    forward = jax.custom_vjp(_lower(convolve, products.forward))
    lhs_gradient = jax.custom_vjp(_lower(transpose_lhs, products.lhs_gradient))
    rhs_gradient = jax.custom_vjp(_lower(transpose_rhs, products.rhs_gradient))

    def save_both(contract):
        return lambda a, b: (contract(a, b), (a, b))

    def forward_gradients(saved, ct):
        ct = materialised(ct)  # both gradients share it
        return lhs_gradient(ct, saved[1]), rhs_gradient(saved[0], ct)

    forward.defvjp(save_both(forward), forward_gradients)
    lhs_gradient.defvjp(
        save_both(lhs_gradient),
        lambda saved, ct: (forward(ct, saved[1]), rhs_gradient(ct, saved[0])),
    )
    rhs_gradient.defvjp(
        save_both(rhs_gradient),
        lambda saved, ct: (lhs_gradient(saved[1], ct), forward(saved[0], ct)),
    )
    return forward, lhs_gradient, rhs_gradient


def _is_transposed(options: dict) -> bool:
    """Whether only the input is dilated: the transpose of a strided convolution."""
    plain = options["feature_group_count"] == 1
    steps = (*options["window_strides"], *options["rhs_dilation"])
    return plain and max(options["lhs_dilation"]) > 1 and max(steps) == 1


def _transposed(lhs: jax.Array, rhs: jax.Array, options: dict, out_type, precision) -> jax.Array:
    """A convolution of a dilated input, written as the transpose of a strided convolution.

    On a CPU, XLA takes JAX's gradient by the kernel of the one 10 to 300 times slower than
    that of the other (measured: 25 taps, stride 4, 64 to 1024 channels).
    """
    numbers, strides = options["dimension_numbers"], options["lhs_dilation"]
    taps = [rhs.shape[axis] for axis in numbers.rhs_spec[2:]]
    before = [k - 1 - pair[0] for k, pair in zip(taps, options["padding"], strict=True)]
    after = [
        (lhs.shape[n_axis] - 1) * stride + k - out_type.shape[t_axis] - pad
        for n_axis, t_axis, stride, k, pad in zip(
            numbers.lhs_spec[2:], numbers.out_spec[2:], strides, taps, before, strict=True
        )
    ]
    strided_options = {
        **options,
        "window_strides": strides,
        "padding": tuple(zip(before, after, strict=True)),
        "lhs_dilation": options["window_strides"],
        "dimension_numbers": jax.lax.ConvDimensionNumbers(
            numbers.out_spec, numbers.rhs_spec, numbers.lhs_spec
        ),
    }
    strided = functools.partial(
        jax.lax.conv_general_dilated, **strided_options, precision=precision
    )
    lhs, rhs = _varying_alike(lhs, rhs)
    kernel = jnp.flip(rhs, numbers.rhs_spec[2:]).swapaxes(*numbers.rhs_spec[:2])
    products = _matrix_products(out_type, kernel, strided_options, precision)
    transposes = _transposes(strided, out_type, jax.typeof(kernel), strided_options, precision)
    _, lhs_gradient, _ = _contractions(strided, *transposes, products)
    return lhs_gradient(lhs, kernel)


def _lower(contract: Callable, products: Callable | None) -> Callable:
    """A contraction by matrix products where there are some, else by XLA's convolutions."""
    if products is None:
        return _map_over_folds(contract)
    # A CPU has no products of bfloat16.
    cast = (lambda x: x.astype(jnp.float32)) if on_cpu() else (lambda x: x)

    def multiply(a, b):
        dtype = jax.eval_shape(contract, a, b).dtype
        return products(cast(a), cast(b)).astype(dtype)

    return multiply  # needs no help to map over folds


def _matrix_products(lhs: jax.Array, rhs: jax.Array, options: dict, precision) -> Products:
    """The contractions that are faster as matrix products."""
    plain = options["feature_group_count"] == 1
    dilations = (*options["lhs_dilation"], *options["rhs_dilation"])
    if not plain or max(dilations) > 1 or lhs.dtype not in (jnp.float32, jnp.bfloat16):
        return Products()
    if options["dimension_numbers"] not in (CHANNELS_LAST_1D, CHANNELS_LAST_2D):
        return Products()
    if on_cpu():
        return _products_on_cpu(lhs, rhs, options)
    extent, taps, on = lhs.shape[1:-1], rhs.shape[:-2], backend.platform()
    windows = Windows(extent, taps, options["window_strides"], options["padding"], precision)
    narrow = lhs.shape[-1] <= FEWEST_CHANNELS.get(on, 0)
    if narrow or (on in FEWEST_CHANNELS and math.prod(taps) * lhs.shape[-1] <= rhs.shape[-1]):
        return Products(windows.forward, windows.lhs_gradient_by_sums, windows.rhs_gradient)
    if math.prod(extent) <= MOST_POINTS.get(on, 0) and math.prod(taps) <= MOST_TAPS:
        return Products(windows.forward, windows.lhs_gradient, windows.rhs_gradient)
    return Products()


def _products_on_cpu(lhs: jax.Array, rhs: jax.Array, options: dict) -> Products:
    """Which ones was measured: docs/performance.md."""
    strides, padding = options["window_strides"], options["padding"]
    if options["dimension_numbers"] == CHANNELS_LAST_1D:
        if strides[0] == 1:
            return Products()
        (stride,), ((before, _),) = strides, padding
        gradient = functools.partial(
            overlap_add.lhs_gradient, stride=stride, before=before, n_frames=lhs.shape[1]
        )
        return Products(lhs_gradient=gradient)
    if max(strides) > 1:
        return Products()
    geometry = rhs.shape[:2], padding
    if geometry == ((1, 1), ((0, 0), (0, 0))):
        return POINTWISE
    pays = lhs.shape[2] <= winograd.MOST_ROWS or lhs.shape[-1] > FEW_CHANNELS
    if geometry == ((3, 3), ((1, 1), (1, 1))) and pays:
        return Products(winograd.forward, winograd.lhs_gradient, winograd.rhs_gradient)
    return Products()


def _map_over_folds(contract: Callable) -> Callable:
    """What `vmap` makes of a contraction of two arrays.

    With one of them mapped it is a larger contraction of the same kind, everywhere. With
    both mapped XLA has a grouped convolution. On a CPU that runs far below the speed of
    separate ones, and on a GPU its gradient by the kernel is a convolution with a window as large
    as the map; separate ones take its place there.
    """
    mapped = jax.custom_batching.custom_vmap(contract)

    @mapped.def_vmap
    def _(axis_size, in_batched, a, b):
        in_axes = [0 if batched else None for batched in in_batched]
        together = jax.vmap(contract, in_axes)
        if not all(in_batched):
            return _map_over_folds(together)(a, b), True  # an outer vmap may yet map both

        if backend.platform() not in SEPARATE:
            return together(a, b), True
        return jnp.stack([mapped(a[i], b[i]) for i in range(axis_size)]), True

    return mapped


# The layer of the networks' convolutions, unless they are given another one.
Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)
