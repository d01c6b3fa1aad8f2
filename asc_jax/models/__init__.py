"""The networks: log-mel spectrograms in, logits out."""

from collections.abc import Mapping

import flax.linen as nn

from asc_jax.models.baseline import Baseline
from asc_jax.models.resnet import ResNet
from asc_jax.runtime.errors import InputError

NETWORKS = {"resnet": ResNet, "baseline": Baseline}


def build(model_config: Mapping, n_classes: int, **options) -> nn.Module:
    """The network that a config names.

    Args:
      model_config: `name`, a key of `NETWORKS`, and that network's attributes.
      n_classes: number of classes K.
      **options: attributes that are no matter of the model's config (`dtype`, `axis_name`).

    Returns:
      A module; `apply(variables, log_mel (B, N, M), train=...)` -> (B, K) logits.

    Raises:
      InputError: no network of that name, or it has no such attribute.
    """
    attributes = dict(model_config)
    name = attributes.pop("name")
    if name not in NETWORKS:
        raise InputError(f"must be one of {', '.join(NETWORKS)}", field="model.name", value=name)
    network = NETWORKS[name]
    known = set(network.__dataclass_fields__) - {"parent", "name"}
    for attribute in attributes:
        if attribute not in known:
            raise InputError(
                f"{name} has no such field; it has {', '.join(sorted(known))}",
                field=f"model.{attribute}",
            )
    return network(n_classes=n_classes, **attributes, **options)
