"""The one convolution that every network here uses, made for a fold axis on the kernel.

`vmap` over folds gives every fold its own kernel. XLA then has one grouped convolution to
do, which on a CPU costs many times what the separate convolutions do. This one has the
meaning of `jax.lax.conv_general_dilated` and decides itself what a fold axis becomes:
see `_map_over_folds`.

A convolution is bilinear, so it, its gradient by the input and its gradient by the kernel
are three contractions of one form, and the derivatives of each are the other two. Writing
them so keeps the decision in force in gradients of any order.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides,
    padding,
    lhs_dilation=None,
    rhs_dilation=None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision=None,
    preferred_element_type=None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated`, fast under a `vmap` that maps the kernel too.

    Give it to `flax.linen.Conv` as `conv_general_dilated=`. Reverse mode only: forward-mode
    derivatives are refused by JAX.

    Args:
      lhs: the input, e.g. (B, H, W, C).
      rhs: the kernel, e.g. (h, w, C, C_out).
      window_strides: and all that follow: as in `jax.lax.conv_general_dilated`.
      padding: pairs of ints, or "SAME" or "VALID".
      lhs_dilation: one int per spatial axis.
      rhs_dilation: one int per spatial axis.
      dimension_numbers: the layout of lhs, rhs and output.
      feature_group_count: groups of input channels.
      batch_group_count: groups of the batch.
      precision: of the products.
      preferred_element_type: of the accumulator.

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
    convolve = functools.partial(
        jax.lax.conv_general_dilated,
        window_strides=tuple(window_strides),
        padding=tuple(tuple(map(int, pair)) for pair in padding),
        lhs_dilation=tuple(lhs_dilation or (1,) * spatial),
        rhs_dilation=rhs_dilation,
        dimension_numbers=numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    lhs_type, rhs_type = jax.typeof(lhs), jax.typeof(rhs)
    forward, _, _ = _contractions(convolve, lhs_type, rhs_type)
    return forward(lhs, rhs)


def _contractions(convolve: Callable, lhs_type, rhs_type) -> tuple[Callable, Callable, Callable]:
    """The convolution and its two gradients, each differentiable by means of the others.

    Returns:
      forward(lhs, rhs) -> out, lhs_gradient(out, rhs) -> lhs, rhs_gradient(lhs, out) -> rhs.
    """

    @jax.custom_vjp
    def forward(lhs, rhs):
        return _map_over_folds(convolve)(lhs, rhs)

    @jax.custom_vjp
    def lhs_gradient(out, rhs):
        def transpose(out, rhs):
            (lhs,) = jax.linear_transpose(lambda lhs: convolve(lhs, rhs), lhs_type)(out)
            return lhs

        return _map_over_folds(transpose)(out, rhs)

    @jax.custom_vjp
    def rhs_gradient(lhs, out):
        def transpose(lhs, out):
            (rhs,) = jax.linear_transpose(lambda rhs: convolve(lhs, rhs), rhs_type)(out)
            return rhs

        return _map_over_folds(transpose)(lhs, out)

    def save_both(contract):
        return lambda a, b: (contract(a, b), (a, b))

    forward.defvjp(
        save_both(forward),
        lambda saved, ct: (lhs_gradient(ct, saved[1]), rhs_gradient(saved[0], ct)),
    )
    lhs_gradient.defvjp(
        save_both(lhs_gradient),
        lambda saved, ct: (forward(ct, saved[1]), rhs_gradient(ct, saved[0])),
    )
    rhs_gradient.defvjp(
        save_both(rhs_gradient),
        lambda saved, ct: (lhs_gradient(saved[1], ct), forward(saved[0], ct)),
    )
    return forward, lhs_gradient, rhs_gradient


def _map_over_folds(contract: Callable) -> Callable:
    """What `vmap` makes of a contraction of two arrays.

    With one of them mapped it is a larger contraction of the same kind, everywhere. With
    both mapped XLA has a grouped convolution; on a CPU that runs far below the speed of
    separate ones, which therefore take its place there.
    """
    mapped = jax.custom_batching.custom_vmap(contract)

    @mapped.def_vmap
    def _(axis_size, in_batched, a, b):
        in_axes = [0 if batched else None for batched in in_batched]
        together = jax.vmap(contract, in_axes)
        if not all(in_batched):
            return _map_over_folds(together)(a, b), True  # an outer vmap may yet map both

        def separately(a, b):
            return jnp.stack([mapped(a[i], b[i]) for i in range(axis_size)])

        return jax.lax.platform_dependent(a, b, cpu=separately, default=together), True

    return mapped
