"""What a network consists of and what it costs: layers, parameters, MACs, receptive field."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping

import flax.linen as nn
import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Layer:
    """A module of a network, as one clip passes it.

    Attributes:
      name: its path in the network.
      kind: its class.
      output: shape of its output, without the batch.
      parameters: trained parameters of its own, without those of modules within it.
      macs: multiply-accumulates for one clip, of convolutions and dense layers.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    macs: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """A network on inputs of one size.

    Attributes:
      layers: the modules with parameters of their own, in the order of the forward pass.
      modules: those that are called, with or without parameters.
      input: (M, N), mel bands and frames.
      parameters: trained parameters.
      statistics: moving statistics of the normalisations.
      macs: multiply-accumulates for one clip.
      convolutions: as the paper counts them, without those of shortcuts.
      receptive_field: frames; None where the network does not say.
    """

    layers: tuple[Layer, ...]
    modules: tuple[Layer, ...]
    input: tuple[int, int]
    parameters: int
    statistics: int
    macs: int
    convolutions: int
    receptive_field: int | None


def summarise(network: nn.Module, n_frames: int, n_mels: int) -> Summary:
    """Counts a network's layers, parameters and MACs by tracing it; nothing is computed.

    Args:
      network: from `asc_jax.models.build`.
      n_frames: frames of a clip N.
      n_mels: mel bands M.

    Returns:
      The summary.
    """
    modules = []
    loops = {run.name: run.names for run in getattr(network, "loops", ())}

    def record(call, args, kwargs, context):
        module = context.module
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        if len(module.path) == 1 and module.name in loops:
            # A loop's block is traced more than once: the last time counts.
            modules[:] = [layer for layer in modules if _module(layer) != module.name]
        result = call(*args, **kwargs)
        if module.path and (arrays := jax.tree.leaves(result)):
            modules.append(_layer(module, np.shape(arrays[0])))
        return result

    with nn.intercept_methods(record):
        variables = jax.eval_shape(
            lambda key, x: network.init(key, x, train=False),
            jax.random.key(0),
            jax.ShapeDtypeStruct((1, n_frames, n_mels), np.float32),
        )
    modules = tuple(_unrolled(modules, loops))
    layers = tuple(layer for layer in modules if layer.parameters)
    convolutions = [layer for layer in layers if layer.kind == "Conv"]
    return Summary(
        layers=layers,
        modules=modules,
        input=(n_mels, n_frames),
        parameters=_count(variables["params"]),
        statistics=_count(variables.get("batch_stats", {})),
        macs=sum(layer.macs for layer in layers),
        convolutions=sum("projection" not in layer.name for layer in convolutions),
        receptive_field=getattr(network, "receptive_field", None),
    )


def _module(layer: Layer) -> str:
    """The name of the network's module that a layer is in, which may be a loop."""
    return layer.name.partition("/")[0]


def _unrolled(layers: Iterable[Layer], loops: Mapping[str, tuple[str, ...]]) -> Iterator[Layer]:
    """The layers, those of a loop's block once for each block that it stands for."""
    for module, inside in itertools.groupby(layers, _module):
        inside = list(inside)
        for name in loops.get(module, (module,)):
            for layer in inside:
                yield dataclasses.replace(layer, name=name + layer.name.removeprefix(module))


def _count(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _own_parameters(module: nn.Module) -> dict[str, jax.Array]:
    """A module's parameters, without those of modules within it."""
    parameters = module.variables.get("params", {})
    return {name: leaf for name, leaf in parameters.items() if not isinstance(leaf, Mapping)}


def _layer(module: nn.Module, output: tuple[int, ...]) -> Layer:
    own, macs = _own_parameters(module), 0
    if isinstance(module, (nn.Conv, nn.Dense, nn.DenseGeneral)):  # each output, from one kernel
        features = int(np.prod(module.features))
        macs = math.prod(output[1:]) // features * own["kernel"].size
    return Layer("/".join(module.path), type(module).__name__, output[1:], _count(own), macs)


def at_depth(summary: Summary, depth: int) -> tuple[Layer, ...]:
    """Adds up the layers within each module that is `depth` deep; those above it stay as they are.

    Args:
      summary: of the network.
      depth: of the modules; 1 for those that the network itself calls.

    Returns:
      The modules, with all parameters and MACs within them.
    """
    modules, parts = {module.name: module for module in summary.modules}, {}
    for layer in summary.layers:
        name = "/".join(layer.name.split("/")[:depth])
        parts.setdefault(name, []).append(layer)
    return tuple(
        dataclasses.replace(
            modules.get(name, layers[-1]),
            name=name,
            parameters=sum(layer.parameters for layer in layers),
            macs=sum(layer.macs for layer in layers),
        )
        for name, layers in parts.items()
    )


def render(summary: Summary, depth: int | None = None) -> str:
    """Renders the summary as a table for a terminal.

    Args:
      summary: of the network.
      depth: as `at_depth` takes it; None for a row per layer.
    """
    layers = at_depth(summary, depth) if depth else summary.layers
    rows = [("layer", "kind", "output", "parameters", "MACs")]
    rows += [
        (layer.name, layer.kind, "x".join(map(str, layer.output)), f"{layer.parameters:,}",
         f"{layer.macs:,}")
        for layer in layers
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    bands, frames = summary.input
    totals = (
        f"{summary.convolutions} convolutions, {summary.parameters:,} parameters (+ "
        f"{summary.statistics:,} moving statistics), {summary.macs / 1e9:.2f} GMACs per "
        f"clip of {bands} x {frames}"
        + (f", receptive field {summary.receptive_field} frames" if summary.receptive_field else "")
    )
    return "\n".join([*lines, "", totals])
