"""Configs: reading them, overriding their fields, and refusing values that no run can have."""

import copy
import difflib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import ml_collections
from absl import flags
from ml_collections import config_dict, config_flags
from ml_collections.config_flags.config_path import get_type

from asc_jax.config import format as config_format
from asc_jax.config.files import call
from asc_jax.config.format import flatten
from asc_jax.config.overrides import field_of
from asc_jax.config.rules import GAN_RULES, MANY, MODEL_RULES, RULES, Rule
from asc_jax.frontend import FrontendConfig, mel_edges, n_empty_bands
from asc_jax.models.wavegan import map_sizes
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.paths import expand

# What refuses a config of one kind: of (config, source). A classifier's is `check_config`, a
# GAN's `check_gan_config`.
Check = Callable[[Mapping, str], None]

# In what the models of one program may differ: a step reads these from its model's state.
PER_MODEL_FIELDS = (
    "seed",
    "optimizer.lr",
    "optimizer.weight_decay",
    "train.label_smoothing",
)

_LONGEST_SHOWN = 200  # characters of a value in a message

# Fields that name a folder; "" for none.
PATH_FIELDS = (
    "data.root",
    "data.leaderboard_root",
    "data.evaluation_root",
    "data.cache_dir",
    "gan.classifier",
    "synthesis.classifier",
    "synthetic.root",
)


def check_config(config: Mapping, source: str = "config") -> None:
    """Refuses a classifier's config that no run can have.

    Args:
      config: nested mappings.
      source: where it came from, for the message.

    Raises:
      InputError: naming the field, its value and what it must be.
    """
    flat = flatten(config)
    if "gan.loss" in flat:
        raise InputError(f"{source}: is the config of a GAN; use it with asc-jax gan")
    if "model.name" not in flat:
        raise InputError(f"{source}: model.name is missing; start from configs/resnet50.py, say")
    if expected := RULES["model.name"](flat["model.name"]):
        raise InputError(f"{source}: model.name={shown(flat['model.name'])}: must be {expected}")
    model_rules = MODEL_RULES[flat["model.name"]]
    rules = {**RULES, **{f"model.{field}": rule for field, rule in model_rules.items()}}
    check_fields(flat, rules, source)
    _check_together(flat, source)
    _check_frontend(config, source)


def check_gan_config(config: Mapping, source: str = "config") -> None:
    """Refuses a GAN's config that no run can have; as `check_config`."""
    flat = flatten(config)
    if "gan.loss" not in flat:
        raise InputError(f"{source}: is no config of a GAN; start from configs/wavegan.py")
    check_fields(flat, GAN_RULES, source)
    if flat["synthesis.margin_low"] >= flat["synthesis.margin_high"]:
        raise InputError(
            f"{source}: synthesis.margin_low={flat['synthesis.margin_low']:g}: must be below "
            f"synthesis.margin_high={flat['synthesis.margin_high']:g}"
        )
    map_sizes(flat["gan.n_samples"], flat["gan.dim"])
    if flat["train.epochs"] * flat["train.steps_per_epoch"] > MANY:
        raise InputError(
            f"{source}: train.steps_per_epoch={flat['train.steps_per_epoch']}: makes more than "
            f"{MANY} steps of train.epochs={flat['train.epochs']}; lower one of them"
        )


def check_fields(flat: Mapping, rules: Mapping[str, Rule], source: str) -> None:
    """Refuses a field too many or too few, or an impossible value, in a config of any kind.

    Args:
      flat: from `flatten`.
      rules: one per field that the config must have.
      source: where it came from, for the message.

    Raises:
      InputError: naming the field, its value and what it must be.
    """
    for field, value in flat.items():
        if field not in rules:
            raise InputError(f"{source}: {field}: no such field{_near(field, rules)}")
        if expected := rules[field](value):
            raise InputError(f"{source}: {field}={shown(value)}: must be {expected}")
    for field in rules:
        if field not in flat:
            raise InputError(f"{source}: {field} is missing; start from one of configs/*.py")


def shown(value: object) -> str:
    """A value for a message: as Python writes it, cut if it is long."""
    try:
        return _cut(repr(value))
    except ValueError:  # more digits than Python writes
        return "a number of thousands of digits"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _check_frontend(config: Mapping, source: str) -> None:
    """Refuses a frontend that gives nothing: no frame, or bands without a frequency."""
    frontend = frontend_config(config)
    seconds = config["data"]["clip_seconds"]
    if frontend.n_frames(round(seconds * frontend.sr)) < 1 or round(seconds * frontend.sr) < 1:
        raise InputError(f"{source}: data.clip_seconds={seconds:g}: is shorter than one frame")
    empty = n_empty_bands(frontend)
    if empty:
        raise InputError(
            f"{source}: frontend.n_mels={frontend.n_mels}: {empty} bands from "
            f"fmin={frontend.fmin:g} to fmax={frontend.highest:g} Hz lie between two bins of "
            f"n_fft={frontend.n_fft} and would be empty; lower n_mels, raise n_fft, or widen "
            "that range"
        )
    mask_above = config["synthetic"]["mask_above"]
    if 0 < mask_above <= mel_edges(frontend)[0]:
        raise InputError(
            f"{source}: synthetic.mask_above={mask_above:g}: masks every band; raise it, or set "
            "it to 0 for none"
        )


def _check_together(flat: Mapping, source: str) -> None:
    """What one field demands of another."""
    if flat["model.name"] == "resnet":
        sizes, strides = flat["model.stage_sizes"], flat["model.stage_strides"]
        if len(sizes) != len(strides):
            raise InputError(
                f"{source}: model.stage_strides={strides!r}: must be as long as "
                f"model.stage_sizes={sizes!r}"
            )
    for field in ("synthetic.share", "synthetic.per_class"):
        if flat[field] and not flat["synthetic.root"]:
            raise InputError(
                f"{source}: {field}={flat[field]:g}: needs synthetic clips; set synthetic.root to "
                f"their folder, or {field}=0"
            )
    if flat["train.selection"] == "inner" and not flat["folds.inner_fraction"]:
        raise InputError(
            f"{source}: train.selection='inner': needs clips to choose the epoch on; set "
            "folds.inner_fraction (0.3, say), or train.selection='last'"
        )
    if flat["train.select_after"] >= flat["train.epochs"]:
        raise InputError(
            f"{source}: train.select_after={flat['train.select_after']}: must be below "
            f"train.epochs={flat['train.epochs']}"
        )


def load_config(
    path: str, overrides: Sequence[str] = (), *, check: Check = check_config
) -> ml_collections.FrozenConfigDict:
    """A config file's `get_config()`, with fields overridden, checked.

    Args:
      path: the file, or FILE.py:ARGUMENT for `get_config("ARGUMENT")`.
      overrides: "--config.FIELD=VALUE" each.
      check: of the kind of config that is wanted.

    Returns:
      The config, frozen.

    Raises:
      InputError: the file or a field does not exist, or a value cannot be.
    """
    config = call(path, "get_config")
    if not isinstance(config, ml_collections.ConfigDict):
        raise InputError(f"{path}: get_config() must return a ConfigDict")
    return override(config, overrides, path, check=check, typed=True)


def override(
    config: Mapping,
    overrides: Sequence[str],
    source: str,
    *,
    check: Check = check_config,
    typed: bool = False,
) -> ml_collections.FrozenConfigDict:
    """A config with fields overridden, checked.

    Args:
      config: of any kind.
      overrides: "--config.FIELD=VALUE" each; the last one of a field holds.
      source: where the config came from, for a message.
      check: of the kind of config that it is.
      typed: the overrides stand in a command line: what is wrong with one is said of it, and
        not of `source`.

    Returns:
      The config, frozen.

    Raises:
      InputError: a field does not exist, or a value cannot be.
    """
    config = changeable(config)
    _fill_placeholders(config)
    fields = flatten(config)
    place = "--config." if typed else f"{source}: "
    for word in overrides:
        field, given = field_of(word), word.partition("config.")[2]
        if field not in fields:
            raise InputError(f"{place}{field}: no such field{_near(field, fields)}")
        try:
            _set_field(config, word)
        except (flags.Error, TypeError, ValueError, MemoryError, RecursionError):
            kind = get_type(field, config).__name__
            raise InputError(f"{place}{_cut(given)}: give {field} a value of type {kind}") from None
    try:
        return _checked(config, check, source)
    except InputError as error:
        said = str(error).removeprefix(f"{source}: ")
        if typed and said.partition("=")[0] in map(field_of, overrides):
            raise InputError(f"--config.{said}") from None
        raise


def _fill_placeholders(config: ml_collections.ConfigDict) -> None:
    """Makes required placeholders, which `config_flags` cannot set, optional ones, in place.

    The rules refuse one that stays None.
    """
    for name, value in config.items(preserve_field_references=True):
        if isinstance(value, ml_collections.ConfigDict):
            _fill_placeholders(value)
            continue
        try:
            config[name]
        except config_dict.RequiredValueError:
            config[name] = config_dict.placeholder(value.get_type())


def _set_field(config: ml_collections.ConfigDict, override: str) -> None:
    """Sets a field as `config_flags` does; alone, so that a later tuple replaces an earlier one."""
    own = flags.FlagValues()
    argv = ["", override]
    config_flags.DEFINE_config_dict(
        "config", config, flag_values=own, lock_config=False, sys_argv=argv
    )
    own(argv)


def _checked(
    config: ml_collections.ConfigDict, check: Check, source: str
) -> ml_collections.FrozenConfigDict:
    """The config with whole paths, if a run can have it."""
    expand_paths(config, source)
    check(config, source)
    return ml_collections.FrozenConfigDict(config)


def expand_paths(config: ml_collections.ConfigDict, source: str) -> None:
    """Expands the fields that name a folder, in place; see `asc_jax.runtime.paths.expand`.

    Args:
      config: of any kind, not checked.
      source: where it came from, for the message.

    Raises:
      InputError: naming the field and its value.
    """
    fields = flatten(config)
    for field in PATH_FIELDS:
        value = fields.get(field)
        if value and isinstance(value, str):
            try:
                config.update_from_flattened_dict({field: expand(value)})
            except InputError as error:
                raise InputError(f"{source}: {field}={shown(value)}: {error}") from None


def changeable(config: Mapping) -> ml_collections.ConfigDict:
    """A copy of a config whose fields can be set.

    `ConfigDict(config)` alone would share its groups with every other such copy.
    """
    return copy.deepcopy(ml_collections.ConfigDict(config))


def _near(field: str, known: Iterable[str]) -> str:
    """What the writer of a wrong field name may have meant."""
    group, _, name = field.rpartition(".")
    names = {other: other.rpartition(".")[2] for other in known}
    siblings = {names[other]: other for other in known if other.rpartition(".")[0] == group}
    meant = [siblings[near] for near in difflib.get_close_matches(name, siblings, n=1)]
    meant += [other for other in known if names[other] == name]  # the name of another group
    if meant:
        return f"; did you mean {meant[0]}?"
    if group and siblings:
        return f"; {group} has {', '.join(siblings)}"
    return f"; there are {', '.join(dict.fromkeys(other.partition('.')[0] for other in known))}"


def frontend_config(config: Mapping) -> FrontendConfig:
    """The config's `frontend` group as the frontend takes it."""
    return FrontendConfig(**config["frontend"])


def to_json(config: ml_collections.FrozenConfigDict) -> str:
    """The config as `config.json` of a run folder holds it.

    Paths are absolute: a run folder outlives the folder in which its command was typed.
    """
    fields = ml_collections.ConfigDict(config).to_dict() | {"format": config_format.FORMAT}
    for group, name in (field.split(".") for field in PATH_FIELDS):
        if folder := fields.get(group, {}).get(name):
            fields[group][name] = str(pathlib.Path(folder).absolute())
    return json.dumps(fields, indent=2, sort_keys=True, allow_nan=False) + "\n"


def from_json(
    text: str, source: str, *, check: Check = check_config
) -> ml_collections.FrozenConfigDict:
    """The inverse of `to_json`, checked.

    Args:
      text: the JSON.
      source: where it came from, for a message.
      check: of the kind of config that is wanted.

    Returns:
      The config, frozen.

    Raises:
      InputError: the text is no config.
    """
    values = config_format.parse(text, source)
    try:
        config = ml_collections.ConfigDict(values)
    except (ValueError, KeyError) as error:  # a name that no field can have
        raise InputError(f"{source}: not a config ({error}); restore or delete it") from None
    return _checked(config, check, source)
