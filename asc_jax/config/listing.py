"""A config as a file to begin with: every field with its value, its comment and its origin."""

import ast
import io
import pathlib
import re
import tokenize
from collections.abc import Collection, Iterator, Mapping

from asc_jax.config.files import CONFIGS, file_of
from asc_jax.config.format import flatten


def render(config: Mapping, path: str, overridden: Collection[str] = ()) -> str:
    """Writes a config as a config file.

    Args:
      config: resolved.
      path: of the file that it came from, as it was named.
      overridden: fields that the command line has set.

    Returns:
      Python: a `get_config` that returns this config. Each value has the unit and meaning that
      the first file to state the field gives it, what the file that set the value says about the
      value (see configs/default.py), and the name of that file.
    """
    meanings: dict[str, tuple[list[str], str]] = {}
    of_values: dict[str, str] = {}
    origins: dict[str, str] = {}
    for file in _chain(file_of(path)):
        for field, above, beside in assignments(file):
            if "." not in field:  # a group begins anew
                for of_before in [one for one in origins if one.startswith(f"{field}.")]:
                    del origins[of_before], meanings[of_before]
            meaning, _, of_values[field] = ("", "", beside) if above else beside.partition("; ")
            origins[field] = file.name
            if field not in meanings or not any(meanings[field]):
                meanings[field] = above, meaning
    origins |= dict.fromkeys(overridden, "the command line")
    of_values |= dict.fromkeys(overridden, "")
    fields, order = flatten(config), list(meanings)
    groups = list(dict.fromkeys(field.rpartition(".")[0] for field in (*order, *fields)))
    lines, made = [], {""}
    for field in sorted(
        fields, key=lambda f: (groups.index(f.rpartition(".")[0]), _place(f, order))
    ):
        above, meaning = meanings.get(field, ([], ""))
        place, _, name = field.rpartition(".")
        group, _, within = place.partition(".")
        if group not in made:
            lines += ["", f"config.{group} = {group} = ml_collections.ConfigDict()"]
        if within and place not in made:  # a group of a group
            lines.append(f"{place} = ml_collections.ConfigDict()")
        made |= {group, place}
        lines += [f"# {line}" for line in above]
        origin = origins.get(field) or origins.get(place) or origins.get(group)
        beside = "; ".join(filter(None, [meaning, of_values.get(field)]))
        said = f"{beside} [{origin}]".strip() if origin else beside
        lines.append(
            f"{place or 'config'}.{name} = {fields[field]!r}" + (f"  # {said}" if said else "")
        )
    empty = [name for name, value in config.items() if hasattr(value, "items") and not len(value)]
    lines += [f"config.{name} = ml_collections.ConfigDict()" for name in empty]
    body = "\n".join(f"    {line}" if line else "" for line in lines)
    return (
        f'"""All fields of {path}, as they are resolved."""\n\nimport ml_collections\n\n\n'
        "def get_config() -> ml_collections.ConfigDict:\n"
        f"    config = ml_collections.ConfigDict()\n{body}\n    return config\n"
    )


def _place(field: str, order: list[str]) -> int:
    return order.index(field) if field in order else len(order)


def _chain(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """The config files that a config is made of, the first to set a field first."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            place = name.removeprefix("configs.").replace(".", "/") + ".py"
            for folder in (file.parent, CONFIGS):
                if (other := folder / place).is_file() and other != file:
                    yield from _chain(other)
                    break
    yield file


def assignments(file: pathlib.Path) -> Iterator[tuple[str, list[str], str]]:
    """Yields each field that a config file sets: its name, the comments above it, that beside."""
    text = file.read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}
    alone = {line for line, token in comments.items() if not token.line[: token.start[1]].strip()}
    words = lambda line: comments[line].string.lstrip("# ")
    tree = ast.parse(text)
    returned = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    # Variable -> the group that it stands for; that which is returned is the config.
    groups = {"config": ""} | {one.id: "" for one in returned if isinstance(one, ast.Name)}
    for node in sorted(ast.walk(tree), key=lambda node: getattr(node, "lineno", 0)):
        if not isinstance(node, ast.Assign):
            continue
        fields = [field for target in node.targets for field in _fields(target, groups)]
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        groups |= dict.fromkeys(names, fields[0] + ".") if fields else {}
        start = node.lineno
        while start - 1 in alone:
            start -= 1
        above = [words(line) for line in range(start, node.lineno)]
        beside = words(node.end_lineno) if node.end_lineno in comments else ""
        beside = re.sub(r" *\[\S+\.py\]$", "", beside)  # of a file that began as a listing
        yield from ((field, above, beside) for field in fields)


def _fields(target: ast.expr, groups: Mapping[str, str]) -> Iterator[str]:
    """The fields that the left side of an assignment names."""
    if isinstance(target, ast.Tuple):
        for one in target.elts:
            yield from _fields(one, groups)
    elif isinstance(target, ast.Attribute):
        if isinstance(target.value, ast.Name) and target.value.id in groups:
            yield groups[target.value.id] + target.attr
        elif isinstance(target.value, ast.Attribute):
            yield from (f"{place}.{target.attr}" for place in _fields(target.value, groups))
