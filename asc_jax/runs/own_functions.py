"""Functions of the user's own in a run's folder: copies that the run is scored and reported by.

`functions/1/`, `functions/2/` and so on hold the files that fields of the config name, and those
that they import from beside them. The run's `config.json` names the copies.
"""

import contextlib
import difflib
import hashlib
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping

import ml_collections

from asc_jax.config.choices import FUNCTION_FIELDS
from asc_jax.config.format import parse
from asc_jax.config.load import changeable, flatten
from asc_jax.data.cache import default_cache_dir
from asc_jax.runtime import functions
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole

FOLDER = "functions"
_COPY = re.compile(rf"{FOLDER}/\d+(/\w[\w.-]*)+")  # the place of a copy, below the run folder

_TRUSTED: set[str] = set()  # by this process


def own_functions(config) -> Iterator[tuple[str, functions.Source, str]]:
    """The functions of a config that lie in files: field, source, reference below its folder."""
    fields = flatten(config)
    for field in FUNCTION_FIELDS:
        place, _, name = fields.get(field, "").rpartition(":")
        if place.endswith(".py"):
            source = functions.read(pathlib.Path(place), field=field)
            yield field, source, f"{pathlib.Path(place).relative_to(source.root)}:{name}"


def described(config) -> dict[str, object]:
    """The fields of a config, for a record that outlives its files: own functions by content."""
    fields = flatten(config)
    for field, source, reference in own_functions(config):
        contents = [(file.relative_to(source.root), text) for file, text in source.files.items()]
        fields[field] = f"{reference} ({_digest(contents)[:8]})"
    return fields


def copy_functions(workdir: pathlib.Path, config) -> ml_collections.FrozenConfigDict:
    """Copies a config's own functions into a run's folder, which this user trusts from now on.

    Args:
      workdir: the run folder.
      config: checked, of the run.

    Returns:
      The config that names the copies, by their places in the folder.

    Raises:
      InputError: they cannot be written.
    """
    copied, places, files = changeable(config), {}, {}
    for field, source, reference in own_functions(config):
        place = places.setdefault(source.root, f"{FOLDER}/{len(places) + 1}")
        files |= {
            f"{place}/{file.relative_to(source.root)}": content
            for file, content in source.files.items()
        }
        copied.update_from_flattened_dict({field: f"{place}/{reference}"})
    for file in (workdir / FOLDER).rglob("*.py"):
        if file.relative_to(workdir).as_posix() not in files:
            file.unlink()
    for file, content in files.items():
        write_whole(workdir / file, content)
    named = {field: flatten(copied)[field] for field in FUNCTION_FIELDS if field in flatten(copied)}
    _trust(workdir, {field: name for field, name in named.items() if functions.is_own(name)})
    return ml_collections.FrozenConfigDict(copied)


def refuse_changed(theirs, ours, workdir: pathlib.Path) -> None:
    """Refuses to continue with functions that have changed.

    Args:
      theirs: config of the run folder, which names its copies.
      ours: the config to continue with.
      workdir: the run folder.

    Raises:
      InputError: naming the file and the first line that differs.
    """
    now = {field: source for field, source, _ in own_functions(ours)}
    for field, source, _ in own_functions(theirs):
        if field not in now:
            continue  # another name: the configs differ
        contents = [
            {
                f.relative_to(one.root): text.decode(errors="replace")
                for f, text in one.files.items()
            }
            for one in (source, now[field])
        ]
        for file in sorted(contents[0].keys() | contents[1].keys()):
            then, today = (one.get(file, "").splitlines() for one in contents)
            if change := _first_change(then, today):
                raise InputError(
                    f"{file} has changed since the run began ({change}); restore it, use another "
                    "--workdir, or add --other_functions to use the new one",
                    path=workdir,
                    field=field,
                )


def _first_change(then: list[str], now: list[str]) -> str:
    """In words, the first lines in which two texts differ; "" where they are the same."""
    for kind, i, j, k, m in difflib.SequenceMatcher(None, then, now, autojunk=False).get_opcodes():
        if kind != "equal":
            was, is_now = (
                " ".join(" ".join(lines).split())[:80] for lines in (then[i:j], now[k:m])
            )
            return f"line {k + 1}: {was!r} was there, {is_now!r} is now"
    return ""


def trust(workdir: pathlib.Path) -> None:
    """Remembers that this user has seen the functions of a run's folder.

    Raises:
      InputError: it is no run folder.
    """
    _trust(workdir, _references(workdir))


def refuse_untrusted(workdir: pathlib.Path) -> None:
    """Refuses a run's folder with functions that this user has neither written nor seen.

    Raises:
      InputError: naming the folder that holds them, or a reference to what lies elsewhere.
    """
    references = _references(workdir)
    for field, reference in references.items():
        place = reference.rpartition(":")[0]
        if place.endswith(".py") and not _COPY.fullmatch(place):
            raise InputError(
                f"must lie in {FOLDER}/ of the run; copy it there",
                path=workdir / "config.json",
                field=field,
                value=reference,
            )
    if not references or (name := _name_of(workdir, references)) in _TRUSTED:
        return
    with contextlib.suppress(InputError, OSError):
        if (default_cache_dir() / "trusted" / name).exists():
            return
    raise InputError(
        "are functions of the person who made the run, and would run with your "
        f"permissions; read them, then run asc-jax evaluate --workdir={workdir} --trust",
        path=workdir / FOLDER,
    )


def _trust(workdir: pathlib.Path, references: Mapping[str, str]) -> None:
    name = _name_of(workdir, references)
    _TRUSTED.add(name)
    with contextlib.suppress(InputError, OSError):  # without a home the next command asks again
        place = default_cache_dir() / "trusted" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _references(workdir: pathlib.Path) -> dict[str, str]:
    """The functions of the user's own that a run's config.json names."""
    path = workdir / "config.json"
    try:
        fields = flatten(parse(path.read_text(encoding="utf-8"), str(path)))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error}); restore it", path=path) from None
    named = {field: fields.get(field) for field in FUNCTION_FIELDS}
    return {field: name for field, name in named.items() if functions.is_own(name)}


def _name_of(workdir: pathlib.Path, references: Mapping[str, str]) -> str:
    """A name of all files of a run's functions, and of what it takes from them."""
    files = [(f.relative_to(workdir), f.read_bytes()) for f in (workdir / FOLDER).rglob("*.py")]
    named = (pathlib.Path("config.json"), repr(sorted(references.items())).encode())
    return _digest([*files, named])


def _digest(contents: Iterable[tuple[pathlib.Path, bytes]]) -> str:
    """A name of files with their content."""
    found = hashlib.sha256()
    for name, content in sorted(contents):
        found.update(f"{name.as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()
