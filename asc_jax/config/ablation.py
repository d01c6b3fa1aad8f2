"""An ablation: settings of a few fields each over a base config, from a file that lists them."""

import ast
import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping, Sequence

import ml_collections

from asc_jax.config.choices import FUNCTION_FIELDS
from asc_jax.config.files import call, file_of
from asc_jax.config.load import check_config, check_gan_config, flatten, load_config, override
from asc_jax.config.overrides import as_overrides
from asc_jax.runtime.errors import InputError

# Bytes in the name of a file or folder, on the usual file systems.
LONGEST_NAME = 255


@dataclasses.dataclass(frozen=True)
class Setting:
    """Some fields of a config, set.

    Attributes:
      name: the fields and their values, as a folder may be called; "base" where there are none.
      fields: {"group.field": value}.
      config: the base with these fields, checked.
    """

    name: str
    fields: Mapping[str, object]
    config: ml_collections.FrozenConfigDict

    @property
    def resolved(self) -> dict[str, object]:
        """The fields, with the files of the user's own functions as they were found."""
        values = flatten(self.config)
        return {field: values[field] for field in self.fields}


@dataclasses.dataclass(frozen=True)
class Ablation:
    """The settings of a file over a base.

    Attributes:
      path: the config file of the base.
      overrides: "--config.FIELD=VALUE" each, of the base.
      base: the config with the overrides.
      settings: at least one, each with a name of its own.
      question: what it asks, from the first line of its file; "" where that is no docstring.
    """

    path: str
    overrides: tuple[str, ...]
    base: ml_collections.FrozenConfigDict
    settings: tuple[Setting, ...]
    question: str

    @property
    def of_gan(self) -> bool:
        """Whether GANs are trained, and not a classifier."""
        return is_gan_config(self.base)


def load_ablation(path: str, *, base: str = "", overrides: Sequence[str] = ()) -> Ablation:
    """Reads the settings of a file, and checks each.

    Args:
      path: the file, with a `get_config()` and a `get_settings()`.
      base: another config file, whose `get_config()` takes the place of that one's.
      overrides: "--config.FIELD=VALUE" each, of the base; a setting wins over them.

    Returns:
      The ablation.

    Raises:
      InputError: the file or a field does not exist, a value cannot be, or two settings are one.
    """
    config = load_config(base or path, overrides, check=check_any_config)
    listed = call(path, "get_settings")
    if not (isinstance(listed, list) and listed and all(map(_is_setting, listed))):
        raise InputError("get_settings() must return a list of {'group.field': value}", path=path)
    settings = []
    for fields in listed:
        if "seed" in fields:
            raise InputError(
                "cannot be a field of a setting; use --seeds=0,1,2", path=path, field="seed"
            )
        words = [*overrides, *as_overrides(fields)]  # as the command of a run has them
        with_fields = override(config, words, path, check=check_any_config)
        values = flatten(with_fields)
        # 1 and 1.0 are one setting; a function is called what the file calls it.
        typed = {
            field: fields[field] if field in FUNCTION_FIELDS else values[field] for field in fields
        }
        settings.append(Setting(name_of(typed), typed, with_fields))
    _refuse_like_names(path, settings)
    question = _question(file_of(path).read_bytes())
    return Ablation(base or path, tuple(overrides), config, tuple(settings), question)


def _question(source: bytes) -> str:
    """The first line of a file's docstring, up to its question mark if it has one."""
    docstring = ast.get_docstring(ast.parse(source)) or ""
    first, mark, _ = docstring.partition("\n")[0].partition("?")
    return first + mark if mark else first.removesuffix(".")


def is_gan_config(config: Mapping) -> bool:
    """Tells whether a config is one of a GAN."""
    return "gan.loss" in flatten(config)


def check_any_config(config: Mapping, source: str = "config") -> None:
    """Refuses a config, of a classifier or of a GAN, that no run can have."""
    (check_gan_config if is_gan_config(config) else check_config)(config, source)


def name_of(fields: Mapping[str, object], *, suffix: str = "") -> str:
    """Names a setting: "model.se_ratio=4,train.epochs=30".

    Args:
      fields: {"group.field": value}.
      suffix: of what is to be called so.

    Returns:
      The name without the suffix. One that no folder can have ends early, with a digest of the
      whole.
    """
    name = ",".join(f"{field}={_in_a_name(value)}" for field, value in fields.items()) or "base"
    whole, most = os.fsencode(name), LONGEST_NAME - len(os.fsencode(suffix))
    if len(whole) <= most:
        return name
    digest = f",_{hashlib.sha256(whole).hexdigest()[:16]}"
    return whole[: most - len(digest)].decode(errors="ignore") + digest


def _refuse_like_names(path: str, settings: Sequence[Setting]) -> None:
    """Refuses two settings that are one, or of which names cannot tell the values of a field."""
    seen, named = set(), {}
    for setting in settings:
        fields = frozenset(setting.fields.items())  # in whatever order
        if fields in seen:
            raise InputError(f"two settings are {setting.name}; leave one of them out", path=path)
        seen.add(fields)
        for field, value in setting.fields.items():
            other = named.setdefault((field, name := _in_a_name(value)), value)
            if value != other:
                raise InputError(
                    f"and {field}={other!r} are both called {name} in the name of a folder; change "
                    "one",
                    path=path,
                    field=field,
                    value=value,
                )


def _is_setting(fields: object) -> bool:
    return isinstance(fields, dict) and all(isinstance(field, str) for field in fields)


def _in_a_name(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return "-".join(map(_in_a_name, value)) or "none"
    return re.sub(r"[^\w.+-]+", "_", str(value)) or "none"
