"""The networks: log-mel spectrograms in, logits out."""

import inspect
from collections.abc import Mapping

import flax.linen as nn

from asc_jax.models.baseline import Baseline
from asc_jax.models.resnet import ResNet
from asc_jax.ops.conv import Conv
from asc_jax.runtime import functions
from asc_jax.runtime.errors import InputError

__all__ = ["NETWORKS", "Baseline", "Conv", "ResNet", "build"]

NETWORKS = {"resnet": ResNet, "baseline": Baseline}


def build(model_config: Mapping, n_classes: int, **options) -> nn.Module:
    """Builds the network that a config names.

    Args:
      model_config: `name`, a key of `NETWORKS` or a reference to a class or function of the
        user's own (see `asc_jax.runtime.functions`), and that network's attributes.
      n_classes: number of classes K.
      **options: attributes that are not part of the model's config (`dtype`, `axis_name`); a
        network of the user's own gets those that it has.

    Returns:
      A module; `apply(variables, log_mel (B, N, M), train=...)` -> (B, K) logits.

    Raises:
      InputError: there is no network of that name, or it has no such attribute.
    """
    attributes = dict(model_config)
    name = attributes.pop("name")
    if functions.is_own(name):
        network = functions.load(name, field="model.name")
    elif name in NETWORKS:
        network = NETWORKS[name]
    else:
        raise InputError(f"must be one of {', '.join(NETWORKS)}", field="model.name", value=name)
    known = set(inspect.signature(network).parameters) - {"parent", "name"}
    for attribute in attributes:
        if attribute not in known:
            raise InputError(
                f"{name} has no such field; it has {', '.join(sorted(known))}",
                field=f"model.{attribute}",
            )
    options = {name: value for name, value in options.items() if name in known}
    return network(n_classes=n_classes, **attributes, **options)
