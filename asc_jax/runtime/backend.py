"""What the program is traced for, where one platform wants other code than another."""

import contextlib

import jax

PLATFORMS = "cpu", "gpu", "tpu"


def platform_of(device) -> str:
    """The platform of a device, or of an abstract one: "cpu", "gpu" or "tpu"."""
    return "gpu" if device.platform in ("cuda", "rocm") else device.platform


def platform() -> str:
    """The platform of the program that is traced, by the names of `platform_of`.

    The mesh's, and outside of one that of JAX's default devices. Asked while tracing:
    `jax.lax.platform_dependent` asks while compiling, for which both ways are traced,
    differentiated and mapped: a quarter of a deep network's tracing.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return platform_of(device) if device else jax.default_backend()


def any_platform() -> contextlib.AbstractContextManager:
    """What is traced within is for no platform in particular: `platform()` is "any"."""
    device = jax.sharding.AbstractDevice("any", None, "any")
    mesh = jax.sharding.AbstractMesh((1,), ("any",), abstract_device=device)
    return jax.sharding.use_abstract_mesh(mesh)


def on_cpu() -> bool:
    """Whether the program that is traced is for CPUs."""
    return platform() == "cpu"


def materialised(x: jax.Array) -> jax.Array:
    """`x` itself, to be computed once however many use it.

    On a CPU, XLA's fusion computes whatever is elementwise again in each of its users: a sum of
    residual blocks, back to the last convolution that is not, a dozen times over. Programs
    compiled with `mapping.COMPILER_OPTIONS` do not fuse across this; elsewhere it does nothing.
    """
    return jax.lax.optimization_barrier(x) if on_cpu() else x
