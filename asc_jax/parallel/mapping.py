"""Mapping of steps over folds and devices: the only place where they are mapped and compiled.

A step is written for one fold and one shard of its batch. `map_folds` maps it over folds
(`vmap`; a loop on a TPU), spreads folds and batches over a ("fold", "data") mesh (`shard_map`)
and compiles it. One device is a mesh of (1, 1): there is no other path.
"""

from collections.abc import Callable, Collection, Sequence

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from asc_jax.parallel.mesh import DATA, FOLD
from asc_jax.runtime.backend import platform_of
from asc_jax.runtime.precision import multiplying

# XLA's compiler, by platform.
COMPILER_OPTIONS = {
    # Measured, docs/performance.md: YNNPACK's convolutions run at half the speed of Eigen's;
    # LLVM's second level of optimisation doubles its time and buys nothing here; the pass drops
    # what `backend.materialised` asks for, before fusion.
    "cpu": {
        "xla_cpu_experimental_ynn_fusion_type": "",
        "xla_backend_optimization_level": 1,
        "xla_disable_hlo_passes": "cse_barrier_expander",
    },
    # cuBLAS for all matrix products: XLA's own, into which it fuses the windows of `ops.windows`,
    # end in a fatal error of the compiler (jax 0.10.2, for an H100).
    "gpu": {"xla_gpu_enable_triton_gemm": False},
}

# Platforms on which the folds of a device go one after the other, and need the memory of one;
# elsewhere they go together. By the compiled programs, docs/performance.md.
IN_TURN = ("tpu",)

# How an argument lies on the mesh.
PER_FOLD = P(FOLD)  # (F, ...): a state, a metric
PER_EXAMPLE = P(FOLD, DATA)  # (F, B, ...): a batch, its logits
PER_STEP = P(FOLD, None, DATA)  # (F, S, B, ...): the batches of several steps
SHARED = P()  # the same for all folds: the pool
SPREAD = P((FOLD, DATA))  # (n, ...): rows that lie on one device each


def map_folds(
    step: Callable,
    mesh: Mesh,
    *,
    in_specs: tuple[P, ...],
    out_specs: P | tuple[P, ...],
    donate: tuple[int, ...] = (),
    in_turn: Collection[str] | None = None,
    products: str = "float32",
) -> Callable:
    """Compiles a one-fold step for all folds and devices.

    Args:
      step: the step of one fold and its shard of the batch; it may reduce over the axis "data".
      mesh: from `make_mesh`.
      in_specs: how each argument is placed on the mesh; those `PER_FOLD` or `PER_EXAMPLE` lose
        their leading fold axis in `step`.
      out_specs: the same for the results, which gain a leading fold axis.
      donate: arguments whose memory the results may take.
      in_turn: replaces `IN_TURN`.
      products: how the step multiplies float32, "float32" or "tensorfloat32".

    Returns:
      The compiled function of all folds.
    """
    in_axes = tuple(0 if spec and spec[0] == FOLD else None for spec in in_specs)
    platform = platform_of(mesh.devices.flat[0])
    apart = platform in (IN_TURN if in_turn is None else in_turn)
    mapped = _map_in_turn if apart else jax.vmap
    mapped = mapped(multiplying(step, products), in_axes)
    sharded = jax.shard_map(mapped, mesh=mesh, in_specs=in_specs, out_specs=out_specs)
    options = COMPILER_OPTIONS.get(platform)
    return jax.jit(sharded, donate_argnums=donate, compiler_options=options)


def _map_in_turn(step: Callable, in_axes: Sequence[int | None]) -> Callable:
    """`jax.vmap` of leading axes, as a loop."""

    def mapped(*arguments):
        pairs = list(zip(arguments, in_axes, strict=True))
        own = [x for x, axis in pairs if axis == 0]

        def one(own):
            own = iter(own)
            return step(*(next(own) if axis == 0 else x for x, axis in pairs))

        return jax.lax.map(one, own)

    return mapped


def compile_once(function: Callable, static: Sequence[str] = ()) -> Callable:
    """Compiles what one device computes once, such as initial values: options as of the steps.

    Args:
      function: traced once for equal shapes, by the result's `eval_shape` too.
      static: names of arguments that are no arrays.
    """
    options = COMPILER_OPTIONS.get(jax.default_backend())
    return jax.jit(function, static_argnames=tuple(static), compiler_options=options)
