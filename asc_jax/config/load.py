"""Configs: reading them, overriding their fields, and refusing values that no run can have."""

import copy
import difflib
import inspect
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import ml_collections
from absl import flags
from ml_collections import config_dict, config_flags
from ml_collections.config_flags.config_path import get_type

from asc_jax.config import format as config_format
from asc_jax.config.choices import FUNCTION_FIELDS
from asc_jax.config.conflicts import Conflict, conflicts, frontend_conflicts, gan_conflicts
from asc_jax.config.files import call
from asc_jax.config.format import flatten
from asc_jax.config.overrides import field_of
from asc_jax.config.rules import (
    AUGMENT_RULES,
    FRONTEND_RULES,
    GAN_RULES,
    MODEL_RULES,
    PATH_FIELDS,
    RULES,
    Rule,
)
from asc_jax.frontend import Frontend, make_frontend
from asc_jax.models.wavegan import map_sizes
from asc_jax.runtime.errors import InputError, shown
from asc_jax.runtime.functions import find, is_own, load
from asc_jax.runtime.paths import expand

# What refuses a config of one kind: of (config, source). A classifier's is `check_config`, a
# GAN's `check_gan_config`.
Check = Callable[[Mapping, str], None]

# A group for fields of a config's author, which mean nothing here.
_OF_USER = "user."

# Types of fields, in words.
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", tuple: "a tuple"}

# In what the models of one program may differ: a step reads these from its model's state.
PER_MODEL_FIELDS = ("seed", "optimizer.lr", "optimizer.weight_decay", "train.label_smoothing")


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
        raise InputError("is the config of a GAN; use it with asc-jax gan", path=source)
    rules, free = dict(RULES), []
    groups = {
        "model": MODEL_RULES,
        "frontend": FRONTEND_RULES,
        "augment": AUGMENT_RULES,
        "optimizer": {},
    }
    for group, known in groups.items():
        name = flat.get(f"{group}.name")
        if is_own(name):  # the function says which fields there are
            free.append(f"{group}.")
        else:
            rules |= known.get(name, {})
    theirs = {f: v for f, v in flat.items() if f in rules or not f.startswith(tuple(free))}
    check_fields(theirs, rules, source)
    frontend = frontend_config(config)  # whose own fields are refused first
    found = itertools.chain(conflicts(flat), frontend_conflicts(flat, frontend))
    _refuse_first(found, flat, source)


def check_gan_config(config: Mapping, source: str = "config") -> None:
    """Refuses a GAN's config that no run can have; as `check_config`."""
    flat = flatten(config)
    if "gan.loss" not in flat:
        raise InputError("is not the config of a GAN; start from configs/wavegan.py", path=source)
    check_fields(flat, GAN_RULES, source)
    _refuse_first(gan_conflicts(flat), flat, source)
    map_sizes(flat["gan.n_samples"], flat["gan.dim"])


def _refuse_first(found: Iterator[Conflict], flat: Mapping, source: str) -> None:
    if first := next(found, None):
        field, problem = first
        raise InputError(problem, path=source, field=field, value=flat[field])


def check_fields(flat: Mapping, rules: Mapping[str, Rule], source: str) -> None:
    """Refuses a field too many or too few, or an impossible value, in a config of any kind.

    Args:
      flat: from `flatten`.
      rules: one per field that the config must have.
      source: where it came from, for the message.

    Raises:
      InputError: naming the field, its value and what it must be.
    """
    for field, rule in rules.items():
        if field not in flat:
            raise InputError("is missing; start from one of configs/*.py", path=source, field=field)
        if not rule.fits(flat[field]):
            raise InputError(
                f"must be {rule.expected}", path=source, field=field, value=flat[field]
            )
    for field in flat:
        if field not in rules and not field.startswith(_OF_USER):
            raise InputError(f"no such field{_near(field, rules)}", path=source, field=field)


def load_config(
    path: str | pathlib.Path, overrides: Sequence[str] = (), *, check: Check = check_config
) -> ml_collections.FrozenConfigDict:
    """Reads a config file's `get_config()`, overrides its fields and checks it.

    Args:
      path: the file, or FILE.py:ARGUMENT for `get_config("ARGUMENT")`.
      overrides: "--config.FIELD=VALUE" each.
      check: the check for this kind of config.

    Returns:
      The config, frozen.

    Raises:
      InputError: the file or a field does not exist, or a value is not allowed.
    """
    config = call(path, "get_config")
    if not isinstance(config, ml_collections.ConfigDict):
        raise InputError("get_config() must return a ConfigDict", path=path)
    return override(config, overrides, path, check=check, typed=True)


def override(
    config: Mapping,
    overrides: Sequence[str],
    source: str,
    *,
    check: Check = check_config,
    typed: bool = False,
) -> ml_collections.FrozenConfigDict:
    """Overrides fields of a config, and checks it.

    Args:
      config: of any kind.
      overrides: "--config.FIELD=VALUE" each; the last one of a field holds. One that names a
        network or an augmentation of the user's own leaves in its group only the fields that this
        function takes, and those that other overrides set.
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
    path, prefix = ("", "--config.") if typed else (source, "")
    for word in overrides:
        field = field_of(word)
        where = {"path": path, "field": prefix + field}
        if field not in fields:
            raise InputError(f"no such field{_near(field, fields)}", **where)
        try:
            _set_field(config, word)
        except (flags.Error, TypeError, ValueError, MemoryError, RecursionError):
            kind = get_type(field, config)
            given = word.partition("=")[2]
            raise InputError(
                f"must be {_KINDS.get(kind, f'of type {kind.__name__}')}", value=given, **where
            ) from None
    given = set(map(field_of, overrides))
    try:
        _resolve(config, source)
        for group in given & {"model.name", "augment.name"}:
            _keep_what_is_taken(config, group.partition(".")[0], given)
        check(config, source)
    except InputError as error:
        if typed and error.field in given and error.path in ("", str(source)):
            raise error.at(path="", field=prefix + error.field) from None
        raise
    return ml_collections.FrozenConfigDict(config)


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
    """Sets a field as `config_flags` does; alone, so that a later tuple replaces an earlier one.

    The flag holds the field's group: `config_flags` writes out all that it holds, twice.
    """
    own = flags.FlagValues()
    if group := field_of(override).rpartition(".")[0]:
        config, override = config[group], override.replace(f"config.{group}.", "config.", 1)
    argv = ["", override]
    config_flags.DEFINE_config_dict(
        "config", config, flag_values=own, lock_config=False, sys_argv=argv
    )
    own(argv)


def _keep_what_is_taken(
    config: ml_collections.ConfigDict, group: str, given: Collection[str]
) -> None:
    """Deletes the fields of the group's former function that the user's own does not take."""
    name = config[group].name
    if not is_own(name):
        return
    takes = inspect.signature(load(name, field=f"{group}.name")).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes):
        return
    kept = {"name"} | {parameter.name for parameter in takes}
    for field in [field for field in config[group] if field not in kept]:
        if f"{group}.{field}" not in given:
            del config[group][field]


def _resolve(config: ml_collections.ConfigDict, source: str) -> None:
    """Expands the paths of a config and finds the user's own functions, in place.

    They are looked for beside `source`, then in the current folder.
    """
    beside = pathlib.Path(source)
    # A run's functions are its copies, and no others.
    folders = [beside.parent] if beside.name == "config.json" else [beside.parent, pathlib.Path()]
    for field, value in flatten(config).items():
        if field in PATH_FIELDS and value and isinstance(value, str):
            try:
                config.update_from_flattened_dict({field: expand(value)})
            except InputError as error:
                raise error.at(path=source, field=field, value=shown(value)) from None
        if field in FUNCTION_FIELDS and is_own(value):
            config.update_from_flattened_dict({field: find(value, folders, field=field)})


def changeable(config: Mapping) -> ml_collections.ConfigDict:
    """Copies a config, so that fields can be set.

    `ConfigDict(config)` alone would share its groups with every other such copy.
    """
    return copy.deepcopy(ml_collections.ConfigDict(config))


def _near(field: str, known: Iterable[str]) -> str:
    """What the writer of a wrong field name may have meant."""
    group, _, name = field.rpartition(".")
    meant = difflib.get_close_matches(field, known, n=1, cutoff=0.75)
    meant += [other for other in known if other.rpartition(".")[2] == name]  # of another group
    if meant:
        return f"; did you mean {meant[0]}?"
    if siblings := [other for other in known if group and other.rpartition(".")[0] == group]:
        return f"; there are {', '.join(siblings)}"
    return f"; there are {', '.join(dict.fromkeys(other.partition('.')[0] for other in known))}"


def frontend_config(config: Mapping) -> Frontend:
    """Returns the config's `frontend` group as the frontend takes it."""
    return make_frontend(config["frontend"])


def to_json(config: ml_collections.FrozenConfigDict) -> str:
    """Writes the config as `config.json` of a run folder holds it.

    Paths are absolute: a run folder outlives the folder in which its command was typed.
    """
    fields = ml_collections.ConfigDict(config).to_dict() | {"format": config_format.FORMAT}
    for group, name in (field.split(".") for field in PATH_FIELDS):
        if folder := fields.get(group, {}).get(name):
            fields[group][name] = os.path.abspath(folder)
    return json.dumps(fields, indent=2, sort_keys=True, allow_nan=False) + "\n"


def from_json(
    text: str, source: str, *, check: Check = check_config
) -> ml_collections.FrozenConfigDict:
    """Reads what `to_json` has written, and checks it.

    Args:
      text: the JSON.
      source: where it came from, for a message.
      check: the check for this kind of config.

    Returns:
      The config, frozen.

    Raises:
      InputError: the text is no config.
    """
    values = config_format.parse(text, source)
    try:
        config = ml_collections.ConfigDict(values)
    except (ValueError, KeyError) as error:  # a name that no field can have
        raise InputError(f"not a config ({error}); restore or delete it", path=source) from None
    _resolve(config, source)
    check(config, source)
    return ml_collections.FrozenConfigDict(config)
