"""Which platform a program is traced for: its mesh's, whatever JAX would run on."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from asc_jax.runtime.backend import on_cpu


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_the_platform_is_the_meshs_within_a_step_and_its_gradient(platform):
    """As a step is mapped: `jit(shard_map(vmap(step)))`."""
    device = jax.sharding.AbstractDevice("a device", None, platform)
    mesh = jax.sharding.AbstractMesh((1,), ("fold",), abstract_device=device)
    asked = []

    @jax.custom_vjp
    def square(x):
        return x**2

    def backward(x, ct):
        asked.append(on_cpu())
        return (2 * x * ct,)

    square.defvjp(lambda x: (square(x), x), backward)

    def step(x):
        asked.append(on_cpu())
        return jax.grad(square)(x)

    mapped = jax.shard_map(jax.vmap(step), mesh=mesh, in_specs=P("fold"), out_specs=P("fold"))
    jax.jit(mapped).trace(jax.ShapeDtypeStruct((4,), jnp.float32))
    assert asked == [platform == "cpu"] * 2
    assert on_cpu()  # outside of a mesh, of this machine's
