"""The mapping of a step over folds and devices: the only place with its `jit`, `vmap`, `shard_map`.

A step is written for one fold and one shard of its batch. `map_folds` maps it over folds
(`vmap`), spreads folds and batches over a ("fold", "data") mesh (`shard_map`) and compiles
it. One device is a mesh of (1, 1): there is no other path.
"""

from collections.abc import Callable, Sequence

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from asc_jax.parallel.mesh import DATA, FOLD

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

# How an argument lies on the mesh.
PER_FOLD = P(FOLD)  # (F, ...): a state, a metric
PER_EXAMPLE = P(FOLD, DATA)  # (F, B, ...): a batch, its logits
SHARED = P()  # the same for all folds: the pool
SPREAD = P((FOLD, DATA))  # (n, ...): rows that lie on one device each


def map_folds(
    step: Callable,
    mesh: Mesh,
    *,
    in_specs: tuple[P, ...],
    out_specs: P | tuple[P, ...],
    donate: tuple[int, ...] = (),
) -> Callable:
    """Compiles a one-fold step for all folds and devices.

    Args:
      step: of one fold; on its shard of the batch it may reduce over the axis "data".
      mesh: from `make_mesh`.
      in_specs: how each argument lies on the mesh; those `PER_FOLD` or `PER_EXAMPLE` lose
        their leading fold axis in `step`.
      out_specs: the same for the results, which gain a leading fold axis.
      donate: arguments whose memory the results may take.

    Returns:
      The compiled function of all folds.
    """
    in_axes = tuple(0 if spec and spec[0] == FOLD else None for spec in in_specs)
    mapped = jax.vmap(step, in_axes)
    sharded = jax.shard_map(mapped, mesh=mesh, in_specs=in_specs, out_specs=out_specs)
    options = COMPILER_OPTIONS.get(mesh.devices.flat[0].platform)
    return jax.jit(sharded, donate_argnums=donate, compiler_options=options)


def compile_once(function: Callable, static: Sequence[str] = ()) -> Callable:
    """Compiles what one device computes once, such as initial values: options as of the steps.

    Args:
      function: traced once for equal shapes, by the result's `eval_shape` too.
      static: names of arguments that are no arrays.
    """
    options = COMPILER_OPTIONS.get(jax.default_backend())
    return jax.jit(function, static_argnames=tuple(static), compiler_options=options)
