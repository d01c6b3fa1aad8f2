"""The Python files that something is made of, and their digests."""

import functools
import inspect
import pathlib
import sys
import sysconfig
import types
from collections.abc import Mapping, Sequence

from asc_jax.runtime.files import digest

_PACKAGE = pathlib.Path(__file__).parents[1]
_PYTHON = pathlib.Path(sysconfig.get_path("stdlib"))
_INSTALLED = {"site-packages", "dist-packages"}


def file_digests() -> dict[str, str]:
    """Path below the package -> digest, of its Python files."""
    return {
        path.relative_to(_PACKAGE).as_posix(): digest(path.read_bytes())
        for path in sorted(_PACKAGE.rglob("*.py"))
        if path.is_file()
    }


def written_in(
    *modules: types.ModuleType, apart: Sequence[types.ModuleType] = ()
) -> dict[str, str]:
    """Finds the Python files that some modules are made of, as they are now.

    It follows the names of each module to other modules, and to the files of functions and
    classes, whoever has put them there; not to those of Python and of installed libraries.

    Args:
      *modules: to begin with.
      apart: modules that are left out, with all that only they use.

    Returns:
      Path -> digest; paths are below the package, those of other files names alone.
    """
    seen = {module.__file__ for module in apart}
    found, todo = {}, list(modules)
    while todo:
        file, names = _file_of(todo.pop())
        path = pathlib.Path(file or "")
        own = path.is_relative_to(_PACKAGE)
        if file in seen or not path.is_file():
            continue
        seen.add(file)
        if own or not is_installed(path):
            name = path.relative_to(_PACKAGE).as_posix() if own else path.name
            found[name] = digest(path.read_bytes())
            todo += [value for value in names.values() if _file_of(value)[0]]
    return found


def is_installed(path: pathlib.Path) -> bool:
    """Whether a file belongs to Python or to an installed library."""
    return path.is_relative_to(_PYTHON) or bool(_INSTALLED.intersection(path.parts))


def _file_of(value) -> tuple[str | None, Mapping]:
    """The file in which a module, a function or a class is written, and the names there."""
    while isinstance(value, functools.partial):
        value = value.func
    if inspect.isfunction(value):
        value = inspect.unwrap(value)
    if inspect.isfunction(value):
        return value.__code__.co_filename, value.__globals__
    if inspect.isclass(value):
        value = sys.modules.get(value.__module__)
    if inspect.ismodule(value):
        return getattr(value, "__file__", None), vars(value)
    return None, {}
