"""The precision of a run's computation, as `train.precision` names it.

Whatever it is, parameters, statistics, sums, the loss and the frontend are float32.
"""

import contextlib
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from asc_jax.runtime.backend import on_cpu

# By name: the type of maps and gradients, and how float32 is multiplied. JAX's own default for the
# latter is less than float32: TF32 on a GPU, bfloat16 on a TPU.
PRECISIONS = {
    "float32": (jnp.dtype("float32"), "float32"),
    "tensorfloat32": (jnp.dtype("float32"), "tensorfloat32"),
    "bfloat16": (jnp.dtype("bfloat16"), "float32"),
}


def named(precision: str) -> str:
    """What "auto" stands for on JAX's default devices; any other name itself."""
    if precision != "auto":
        return precision
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def dtype_of(precision: str) -> jnp.dtype:
    """The type of maps and gradients."""
    return PRECISIONS[named(precision)][0]


def products_of(precision: str) -> str:
    """How float32 is multiplied: "float32" or "tensorfloat32"."""
    return PRECISIONS[named(precision)][1]


def multiplying(function: Callable, products: str) -> Callable:
    """A function of which all products of float32 are as named; a CPU knows one way only."""

    @functools.wraps(getattr(function, "func", function))  # its program bears the step's name
    def traced(*args):
        how = contextlib.nullcontext() if on_cpu() else jax.default_matmul_precision(products)
        with how:
            return function(*args)

    return traced
