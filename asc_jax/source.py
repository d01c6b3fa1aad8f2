"""What functions do, told by their code: comments and docstrings change nothing, all else does."""

import ast
import contextlib
import dis
import functools
import hashlib
import importlib
import pathlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator

import numpy as np


def file_digests(package: pathlib.Path) -> dict[str, str]:
    """Names what the files of a package say.

    Args:
      package: its folder.

    Returns:
      Path below the folder -> 16 hexadecimal digits, of all Python files.

    Raises:
      OSError: a file cannot be read.
    """
    digests = {}
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            has_docstring = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            if isinstance(node, has_docstring) and ast.get_docstring(node) is not None:
                del node.body[0]
        digests[path.relative_to(package).as_posix()] = _digest(ast.dump(tree).encode())
    return digests


def digest(*functions: Callable) -> str:
    """Names what functions do, by the code that this process has loaded and would run.

    The functions, classes and constants that they name count as well: in their modules, in modules
    that they import, in their closures. Of the standard library and of installed packages other
    than this one only names count; their versions are up to the caller.

    Args:
      functions: Python functions, or what `functools.partial`, `jax.jit` and the like make of them.

    Returns:
      16 hexadecimal digits.
    """
    return _digest("\0".join(_describe(functions, {})).encode(errors="surrogatepass"))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _describe(value: object, seen: dict[int, tuple[int, object]]) -> Iterator[str]:
    """The texts that stand for a value: of a function, for all that it does.

    Args:
      value: of any kind.
      seen: by `id`, the number and the value of what was described before; held here, so that
        nothing else takes its place.
    """
    end, waiting = object(), [value]  # no recursion: what functions use may be any depth away
    while waiting:
        value = waiting.pop()
        if value is end:
            yield ")"
        elif isinstance(value, str | bytes | int | float | complex | None):
            yield repr(value)
        elif id(value) in seen:
            yield f"number {seen[id(value)][0]}"
        else:
            seen[id(value)] = len(seen), value
            yield f"{type(value).__qualname__} {getattr(value, '__qualname__', '')}("
            waiting += [end, *reversed(list(_parts(value)))]


def _parts(value: object) -> Iterable:
    """What a value consists of."""
    match value:
        case tuple() | list():
            return value
        case set() | frozenset():
            return sorted(map(repr, value))
        case dict():
            return [part for item in value.items() for part in item]
        case functools.partial():
            return value.func, value.args, value.keywords
        case types.FunctionType() if _is_ours(value):
            return _parts_of_function(value)
        case type() if _is_ours(value):
            own = [item for item in vars(value).items() if item[0][:2] != "__" or callable(item[1])]
            return value.__bases__, sorted(own, key=lambda item: item[0])
        case types.FunctionType() | type() | types.ModuleType():
            return ()
    if hasattr(value, "__array__"):  # numpy's and JAX's
        array = np.asarray(value)
        return str(array.dtype), array.shape, array.tobytes()
    # Of what `jax.jit` makes, methods and properties.
    within = [
        getattr(value, name, None) for name in ("__wrapped__", "__func__", "__self__", "fget")
    ]
    if _is_ours(type(value)):
        within += [type(value), getattr(value, "__dict__", None)]
    return within


def _is_ours(value: object) -> bool:
    """Whether a function, a class or a module is neither Python's nor of an installed package."""
    name = value.__name__ if isinstance(value, types.ModuleType) else value.__module__ or ""
    top = name.partition(".")[0]
    return top == __package__ or not (top in sys.stdlib_module_names or _is_installed(top))


@functools.cache
def _is_installed(top: str) -> bool:
    """Whether a package or a module that has been imported lies where an installer puts them.

    That may be any folder: the user's, the system's, of `pip install --target`. A package that is
    installed as editable lies in its project.
    """
    module = sys.modules.get(top)
    place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None)
    if place is None:
        return False
    place = pathlib.Path(place)
    folder = place.parent.parent if place.stem == "__init__" else place.parent
    return folder.name in ("site-packages", "dist-packages") or any(folder.glob("*.dist-info"))


def _parts_of_function(function: types.FunctionType) -> list:
    """Its code, what it was given when it was made, and what it names elsewhere."""
    parts: list = [function.__defaults__, function.__kwdefaults__]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # a name that has no value yet
            parts.append(cell.cell_contents)
    codes, names, imported = [function.__code__], set(), set()
    for code in codes:  # which grows: functions within it have codes of their own
        constants = list(code.co_consts)
        if code is function.__code__ and function.__doc__ in constants[:1]:
            del constants[0]
        codes += [one for one in constants if isinstance(one, types.CodeType)]
        parts += [one for one in constants if not isinstance(one, types.CodeType)]
        parts += [code.co_code, code.co_exceptiontable, code.co_names, code.co_varnames]
        parts += [code.co_freevars, code.co_flags]
        names |= set(code.co_names)
        steps = dis.get_instructions(code)
        imported |= {step.argval for step in steps if step.opname == "IMPORT_NAME"}
    scope = function.__globals__ | {name: _import(name) for name in imported}
    for name in sorted(scope.keys() & (names | imported)):
        parts += [name, scope[name], *_members(scope[name], names)]
    return parts


def _import(name: str) -> object:
    """The module that a function imports when it runs; None where there is none."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _members(module: object, names: set[str]) -> list:
    """What a function that has these names may use of a module of ours."""
    if not (isinstance(module, types.ModuleType) and _is_ours(module)):
        return []
    found = [vars(module)[name] for name in sorted(names & vars(module).keys())]
    return found + [part for one in found for part in _members(one, names)]


def replaced(package: str) -> dict[str, str]:
    """Finds what stands in the place of a package's own functions, put there by another's code.

    Args:
      package: its name; of its loaded modules.

    Returns:
      "module.name" of each function, method, class or entry of a table -> its digest.
    """
    found = {}
    for module_name, module in sorted(sys.modules.items()):
        if module_name.partition(".")[0] == package and module is not None:
            for name, value in vars(module).items():
                for place, one in _callables(f"{module_name}.{name}", value, module_name):
                    top = (one.__module__ or "").partition(".")[0]
                    if top != package and _is_ours(one):
                        found[place] = digest(one)
    return found


def _callables(place: str, value: object, module: str) -> Iterator[tuple[str, Callable]]:
    """The functions and classes that a name of a module stands for."""
    while isinstance(value, functools.partial):
        value = value.func
    value = getattr(value, "__wrapped__", value)
    if isinstance(value, types.FunctionType | type):
        yield place, value
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, type) and value.__module__ == module:
        items = vars(value).items()
    else:
        return
    for name, one in list(items):
        if isinstance(one, types.FunctionType | type | functools.partial):
            yield from _callables(f"{place}.{name}", one, "")
