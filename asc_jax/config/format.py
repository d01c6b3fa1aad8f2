"""`config.json` from version to version: which fields came when, and what it means that they lack.

A run folder outlives the version that made it. Who adds a field to the configs raises `FORMAT`
and gives the field its line in `LATER_FIELDS`. No JAX.
"""

from collections.abc import Mapping

from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json

FORMAT = 5  # of what is written now; files of format 1 may lack the number

# Fields that have come since format 1, by the kind of config that has them: field -> (the format
# that it came with, the value that means "as before").
LATER_FIELDS: Mapping[str, Mapping[str, tuple[int, object]]] = {
    "gan": {"train.writers": (2, ())},
    "classifier": {
        "train.accumulate": (2, 1),
        "train.init_from": (3, ""),
        "train.writers": (2, ()),
        "data.trim_silence": (4, False),
        "train.crop_seconds": (4, 0.0),
        "train.class_weights": (4, "none"),
        "train.validate_every": (4, 1),
        "train.average": (5, "none"),
        "train.ema_decay": (5, 0.999),
        "train.average_after": (5, 0.75),
        "ensemble.hop_seconds": (4, 0.0),
        "frontend.name": (2, "log_mel"),
        "frontend.pcen_seconds": (2, 0.4),
        "frontend.pcen_gain": (2, 0.98),
        "frontend.pcen_bias": (2, 2.0),
        "frontend.pcen_power": (2, 0.5),
        "train.loss": (2, "cross_entropy"),
        "augment.name": (2, "standard"),
        "optimizer.warmup": (2, 0.0),
        "optimizer.drops": (5, ()),
        "optimizer.drop_factor": (5, 0.1),
        "optimizer.momentum": (5, 0.9),
        "distillation.run": (5, ""),
        "distillation.weight": (5, 0.5),
        "distillation.temperature": (5, 2.0),
    },
    "resnet": {
        "model.pcen": (2, False),
        "model.remat": (2, False),
        "model.drop_path_rate": (5, 0.0),
    },  # of classifiers with this network, as the next
    "baseline": {},
    "standard": {
        "augment.time_scale": (4, 0.0),
        "augment.between_class": (4, False),
        "augment.gain_db": (4, 0.0),
        "augment.impulse_responses": (5, ""),
        "augment.impulse_p": (5, 0.0),
        "augment.noise_level": (5, 0.0),
        "augment.freq_mixstyle_p": (5, 0.0),
        "augment.freq_mixstyle_alpha": (5, 0.4),
        "augment.filter_db": (5, 0.0),
    },  # of classifiers with this augmentation
}


def parse(text: str, source: str) -> dict:
    """The nested fields of a `config.json`, with those that have come later; not checked.

    Args:
      text: its content.
      source: where it came from, for a message.

    Returns:
      {"group": {"field": value}}; lists are tuples, as in the configs.

    Raises:
      InputError: the text is no config, or a newer version's.
    """
    tuples = lambda group: {f: tuple(v) if isinstance(v, list) else v for f, v in group.items()}
    try:
        values = parse_json(text, object_hook=tuples)
        number = values.pop("format", 1)
    except (ValueError, AttributeError, TypeError):
        raise InputError("not a config in JSON; restore or delete it", path=source) from None
    refuse_newer(number, source)
    for field, value in missing_fields(flatten(values), number).items():
        group, _, name = field.rpartition(".")
        place = values.setdefault(group, {}) if group else values
        if isinstance(place, dict):
            place[name] = value
    return values


def refuse_newer(number: object, source: str) -> int:
    """The number of a format, as a file has it, if this version knows it.

    Args:
      number: from the file.
      source: the file, for a message.

    Raises:
      InputError: it does not, or it is no number.
    """
    if isinstance(number, int) and 1 <= number <= FORMAT:
        return number
    raise InputError(
        f"has format {number!r}, but this version reads formats up to {FORMAT}; use the "
        "version of asc_jax that wrote it, or a newer one",
        path=source,
    )


def missing_fields(fields: Mapping[str, object], number: int) -> dict[str, object]:
    """The fields that a config lacks because it is of an older format.

    Args:
      fields: from `flatten`.
      number: of the format in which they were written.

    Returns:
      field -> the value that means "as before".
    """
    later = _later_fields(fields).items()
    return {f: value for f, (came, value) in later if came > number and f not in fields}


def as_before(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields without those that have come later and change nothing: for a lasting digest.

    Args:
      fields: from `flatten`.
    """
    later = _later_fields(fields)
    return {f: v for f, v in fields.items() if f not in later or later[f][1] != v}


def _later_fields(fields: Mapping[str, object]) -> dict[str, tuple[int, object]]:
    """Of `LATER_FIELDS`, those of a config of this kind."""
    names = fields.get("model.name"), fields.get("augment.name", "standard")
    kinds = ("gan",) if "gan.loss" in fields else ("classifier", *names)
    return {f: later for kind in kinds for f, later in LATER_FIELDS.get(kind, {}).items()}


def flatten(config: Mapping, prefix: str = "") -> dict[str, object]:
    """Nested mappings as {"group.field": value}; lists become tuples, as in the configs."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping) or hasattr(value, "items"):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = tuple(value) if isinstance(value, list) else value
    return flat
