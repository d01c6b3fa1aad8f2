"""The precision of a computation: what "auto" stands for, and that float32 is float32."""

import json
import re

import jax
import jax.numpy as jnp
import pytest
import small
from jax.sharding import PartitionSpec as P

from asc_jax.ops.conv import Conv
from asc_jax.runs.inputs import with_named_precision
from asc_jax.runtime import precision
from asc_jax.train.loop import train


@pytest.mark.parametrize(
    ("platform", "name"), [("cpu", "float32"), ("gpu", "bfloat16"), ("tpu", "bfloat16")]
)
def test_auto_is_what_the_devices_are_good_at(monkeypatch, platform, name):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert precision.named("auto") == name
    assert precision.dtype_of("auto") == jnp.dtype(name)
    assert precision.named("tensorfloat32") == "tensorfloat32"


def test_a_run_keeps_the_precision_that_it_began_with(scenes, tmp_path, monkeypatch):
    """So that it is scored, and goes on, by what trained it, on whatever device."""
    config = small.config(scenes, "train.epochs=1")
    assert config.train.precision == "auto"
    train(config, tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert kept["train"]["precision"] == "float32"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    named = lambda workdir: with_named_precision(config, workdir).train.precision
    assert named(tmp_path / "run") == "float32"
    assert named(tmp_path / "another") == "bfloat16"
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.json").write_text("{")
    assert named(tmp_path / "damaged") == "bfloat16"  # and is refused later


def products(platform: str, how: str, size: int) -> str:
    """The program of a layer's gradient and a product, traced for a platform that is not here."""
    layer = Conv(3, (3, 3), use_bias=False)

    def step(kernel, x):
        loss = lambda kernel: jnp.sum(layer.apply({"params": {"kernel": kernel}}, x) ** 2)
        return jax.grad(loss)(kernel) @ jnp.ones((3, 3))

    device = jax.sharding.AbstractDevice("a device", None, platform)
    mesh = jax.sharding.AbstractMesh((1, 1), ("fold", "data"), abstract_device=device)
    step = jax.vmap(precision.multiplying(step, how))
    mapped = jax.shard_map(step, mesh=mesh, in_specs=P("fold"), out_specs=P("fold"))
    shapes = (2, 3, 3, 3, 3), (2, 1, size, size, 3)
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return str(jax.jit(mapped).trace(*arguments).jaxpr)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("size", [64, 4], ids=["convolutions", "windows"])
def test_products_of_float32_are_exact_unless_less_is_asked_for(platform, size):
    """Those of layers and of their gradients; JAX's own default is less."""
    kinds = r"(?:dot_general|conv_general_dilated)\[\s.*?precision=(\S+)"
    exact = re.findall(kinds, products(platform, "float32", size), re.DOTALL)
    faster = re.findall(kinds, products(platform, "tensorfloat32", size), re.DOTALL)
    assert len(exact) == len(faster) >= 3
    assert all("HIGHEST" in one for one in exact), exact
    assert all("HIGH," in one for one in faster), faster
