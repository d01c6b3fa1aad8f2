"""Facts about a run: its recipe, as its config says it, its network, its training, its data."""

from collections.abc import Mapping

from asc_jax.config.choices import FUNCTION_FIELDS
from asc_jax.report.formatting import count, duration, quantity

# Pairs of fields of the standard augmentation that do nothing without each other.
_PAIRS = {
    ("augment.time_masks", "augment.time_mask_frames"): "time masks {} (up to {} frames)",
    ("augment.mel_masks", "augment.mel_mask_bands"): "mel masks {} (up to {} bands)",
    ("augment.freq_mixstyle_p", "augment.freq_mixstyle_alpha"): "freq mixstyle p {} (alpha {})",
}
# Fields whose values speak for themselves.
_SPEAKING = (*FUNCTION_FIELDS, "train.precision")
_WORDS = {"optimizer.lr": "learning rate", "model.se_ratio": "SE ratio"}


def recipe(config: Mapping[str, object]) -> list[tuple[str, str]]:
    """Lists what a config says of network and training; what is off is left out.

    Args:
      config: {"group.field": value}, as `report.json` has it; {} of an older one.

    Returns:
      A name and its value each; the value is "" where there is nothing to say.
    """
    schedule = _fields(config, ["optimizer.schedule", "optimizer.drops"])
    if config.get("optimizer.drops"):
        schedule += _fields(config, ["optimizer.drop_factor"])
    if warmup := config.get("optimizer.warmup"):
        schedule.append(f"warm-up over {_value(warmup)} of the steps")
    average = {"ema": ["train.ema_decay"], "swa": ["train.average_after"]}
    crop, kind = config.get("train.crop_seconds"), config.get("train.average")
    of_schedule = ("schedule", "warmup", "drops", "drop_factor")
    others = of_schedule if config.get("optimizer.name") == "sgd" else (*of_schedule, "momentum")
    optimizer = _group(config, "optimizer", *(f"optimizer.{name}" for name in others))
    parts = {
        "Network": _group(config, "model"),
        "Frontend": _fields(config, ["frontend.name"]),
        "Loss": _fields(config, ["train.loss", "train.class_weights", "train.label_smoothing"]),
        "Optimizer": optimizer,
        "Learning rate schedule": schedule,
        "Averaged weights": [kind, *_fields(config, average[kind])] if kind in average else [],
        "Crops": [f"{_value(crop)} s of each clip"] if crop else [],
        "Augmentation": _augmentation(config),
        "Precision": _fields(config, ["train.precision"]),
        "Seed": [_value(config.get("seed", ""))],
    }
    return [(name, ", ".join(said)) for name, said in parts.items()]


def _augmentation(config: Mapping[str, object]) -> list[str]:
    if config.get("augment.name") != "standard":
        return _group(config, "augment")
    fields = [field for pair in _PAIRS for field in pair]
    pairs = [
        words.format(*map(config.get, pair))
        for pair, words in _PAIRS.items()
        if all(map(config.get, pair))
    ]
    return _group(config, "augment", "augment.name", *fields) + pairs


def _group(config: Mapping[str, object], group: str, *apart: str) -> list[str]:
    """A group's fields in words: its function, then numbers, then names; without some."""
    fields = [f for f in config if f.startswith(f"{group}.") and f not in apart]
    place = lambda f: (f != f"{group}.name", isinstance(config[f], str), f)
    return _fields(config, sorted(fields, key=place))


def _fields(config: Mapping[str, object], fields: list[str]) -> list[str]:
    """Those of the fields that are on, in words."""
    on = [field for field in fields if config.get(field) and config[field] != "none"]
    return [_said(field, config[field]) for field in on]


def _said(field: str, value: object) -> str:
    if field in _SPEAKING:
        return _value(value)
    words = _WORDS.get(field, field.partition(".")[2].replace("_", " "))
    return words if value is True else f"{words} {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_value, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def training_facts(network: Mapping, training: Mapping) -> list[tuple[str, str]]:
    """Facts about the network and its training; a dash or nothing where there is no number."""
    size, speed = network.get("input"), training.get("clips_per_second")
    return [
        ("Parameters", quantity(network.get("parameters"))),
        ("Multiply-accumulates per clip", quantity(network.get("macs"))),
        ("Convolutions", quantity(network.get("convolutions"))),
        ("Receptive field", count(network.get("receptive_field"), "frame")),
        ("Input", f"{size[0]} mel bands \N{MULTIPLICATION SIGN} {size[1]} frames" if size else ""),
        ("Folds", quantity(training.get("n_folds"))),
        ("Epochs", quantity(training.get("epochs"))),
        ("Steps", quantity(training.get("steps"))),
        ("Batch size", quantity(training.get("batch_size"))),
        ("Training time", duration(training.get("seconds"))),
        ("Training speed", "" if speed is None else f"{speed:,.1f} clips/s"),
    ]


def data_facts(data: Mapping) -> list[tuple[str, str]]:
    """Facts about the data set."""
    seconds, sr = data.get("clip_seconds"), data.get("sr")
    length = "" if seconds is None else f"{seconds:g} s"
    if crop := data.get("crop_seconds"):
        length = f"up to {length}, in windows of {crop:g} s"
    return [
        ("Data set", data.get("root", "")),
        ("Clips", quantity(data.get("n_clips"))),
        ("Locations", quantity(data.get("n_locations"))),
        ("Clip length", length),
        ("Other lengths", data.get("lengths", "")),
        ("Sampling rate", "" if sr is None else f"{sr / 1000:g} kHz"),
    ]
