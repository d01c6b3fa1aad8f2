"""The summary against counts by hand."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import pytest

from asc_jax.models.resnet import ResidualBlock, ResNet
from asc_jax.models.summary import at_depth, render, summarise


class Small(nn.Module):
    """One layer of each kind that the summary knows."""

    receptive_field: ClassVar[int] = 5
    loops: ClassVar[tuple] = ()

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = nn.Conv(6, (5, 3), strides=(2, 1), name="wide")(x[..., None])
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        x = nn.Conv(12, (3, 3), feature_group_count=3, use_bias=False, name="grouped")(x)
        return nn.Dense(4, name="classifier")(jnp.mean(x, axis=(1, 2)))


def test_layers_of_a_custom_network():
    summary = summarise(Small(), n_frames=20, n_mels=8)
    assert [(layer.name, layer.kind, layer.output) for layer in summary.layers] == [
        ("wide", "Conv", (10, 8, 6)),
        ("norm", "BatchNorm", (10, 8, 6)),
        ("grouped", "Conv", (10, 8, 12)),
        ("classifier", "Dense", (4,)),
    ]
    assert [layer.parameters for layer in summary.layers] == [
        5 * 3 * 6 + 6,
        2 * 6,
        3 * 3 * 2 * 12,
        12 * 4 + 4,
    ]
    assert [layer.macs for layer in summary.layers] == [
        10 * 8 * 6 * 5 * 3,
        0,
        10 * 8 * 12 * 3 * 3 * 2,
        12 * 4,
    ]
    assert summary.input == (8, 20)
    assert summary.statistics == 12
    assert summary.convolutions == 2
    assert summary.receptive_field == 5


def test_totals_are_sums_over_the_layers():
    network = ResNet(
        n_classes=5,
        stage_sizes=(1, 2),
        stage_strides=(1, 2),
        width=4,
        block="bottleneck",
        se_ratio=2,
    )
    summary = summarise(network, 60, 24)
    assert summary.parameters == sum(layer.parameters for layer in summary.layers)
    assert summary.macs == sum(layer.macs for layer in summary.layers)
    assert len({layer.name for layer in summary.layers}) == len(summary.layers)
    # Those of the shortcuts do not count: the stem and three blocks of three.
    assert summary.convolutions == 1 + 3 * 3
    assert sum(layer.kind == "Conv" for layer in summary.layers) == 1 + 3 * 3 + 2
    assert sum(layer.kind == "Dense" for layer in summary.layers) == 1 + 3 * 2


def test_blocks_in_a_loop_are_traced_once_and_counted_each(monkeypatch):
    network = ResNet(5, stage_sizes=(5, 6), stage_strides=(1, 2), width=4, se_ratio=2)
    assert [run.names[0] for run in network.loops] == ["stage1_block1", "stage2_block2"]
    traced = []
    call = ResidualBlock.__call__
    monkeypatch.setattr(ResidualBlock, "__call__", lambda *args: traced.append(1) or call(*args))
    looped = summarise(network, 60, 24)
    n_looped = len(traced)
    unrolled = summarise(network.clone(scan=False), 60, 24)
    assert looped == unrolled
    assert n_looped < len(traced) - n_looped == 11


def test_render_has_a_row_per_layer_and_the_totals():
    summary = summarise(ResNet(n_classes=5, stage_sizes=(1,), stage_strides=(1,), width=4), 60, 24)
    header, *rows, _, totals = render(summary).splitlines()
    for row, layer in zip(rows, summary.layers, strict=True):
        named = layer.name, layer.kind, f"{layer.macs:,}", f"{layer.parameters:,}"
        assert all(name in row for name in (*named, "x".join(map(str, layer.output))))
    assert len({len(row) for row in (header, *rows)}) == 1  # columns line up
    assert f"{summary.parameters:,}" in totals and "24 x 60" in totals
    assert str(summary.receptive_field) in totals


@pytest.mark.parametrize("depth", [1, 2, 9])
def test_a_summary_of_less_depth_adds_up_what_is_within(depth):
    network = ResNet(5, stage_sizes=(5, 6), stage_strides=(1, 2), width=4, se_ratio=2)
    summary = summarise(network, 60, 24)
    rows = at_depth(summary, depth)
    names = ["/".join(layer.name.split("/")[:depth]) for layer in summary.layers]
    assert [row.name for row in rows] == list(dict.fromkeys(names))
    assert sum(row.parameters for row in rows) == summary.parameters
    assert sum(row.macs for row in rows) == summary.macs
    assert all(row.name in render(summary, depth) for row in rows)
    blocks = [row for row in rows if row.kind == "ResidualBlock"]
    shapes = [(15, 6, 4)] * 5 + [(8, 3, 8)] * 6
    assert [row.output for row in blocks] == (shapes if depth == 1 else [])
    assert (rows == summary.layers) == (depth == 9)
