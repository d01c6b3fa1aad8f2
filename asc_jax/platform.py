"""What the program is traced for, where a CPU wants other code than an accelerator."""

import jax


def on_cpu() -> bool:
    """Whether JAX's default devices are CPUs.

    Asked while tracing. `jax.lax.platform_dependent` asks while compiling, for which both ways
    are traced, differentiated and mapped: a quarter of a deep network's tracing.
    """
    return jax.default_backend() == "cpu"
