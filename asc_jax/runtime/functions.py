"""Functions that users write in files of their own: finding one, and importing it.

A reference is "FILE.py:NAME" or "PACKAGE.MODULE:NAME". A process imports a file once, and with it
the modules that lie beside it, whatever else of their names is on Python's path or was imported.
"""

import ast
import contextlib
import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import pathlib
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence

from asc_jax.runtime.errors import InputError
from asc_jax.runtime.sources import is_installed

_LONGEST = 300  # characters of a reason
_PACKAGE = pathlib.Path(__file__).parents[1]
# Packages that no folder of the user's stands in for.
_OURS = frozenset({"asc_jax", "configs"})


@dataclasses.dataclass(frozen=True)
class Source:
    """What a function is written in.

    Attributes:
      module: that has it.
      root: folder that Python finds the module and those beside it in.
      files: below it that were imported -> their content.
    """

    module: types.ModuleType
    root: pathlib.Path
    files: Mapping[pathlib.Path, bytes]

    def refuse_changed(self) -> None:
        """Refuses files that are not what this process has imported.

        Raises:
          InputError: naming the first of them.
        """
        for file, content in self.files.items():
            if not file.is_file() or file.read_bytes() != content:
                raise InputError(
                    "has changed since this process imported it; start the command again", path=file
                )


_IMPORTED: dict[pathlib.Path, Source] = {}


def is_own(name: object) -> bool:
    """Whether a config's field refers to a function of the user's, and not to one of ours."""
    return isinstance(name, str) and ":" in name


def find(reference: str, folders: Sequence[pathlib.Path], *, field: str) -> str:
    """Finds the file that a reference is about.

    Args:
      reference: as it was written.
      folders: to look in, in this order.
      field: that holds it, for a message.

    Returns:
      The reference with the absolute path of its file; by its module where that belongs to an
      installed library, or to this package.

    Raises:
      InputError: there is no such file or module.
    """
    place, _, name = reference.rpartition(":")
    where = {"field": field, "value": reference}
    if not name.isidentifier():
        raise InputError("must be FILE.py:NAME or PACKAGE.MODULE:NAME", **where)
    if place.endswith(".py"):
        files = [(folder / place).absolute() for folder in folders]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            looked = ", ".join(dict.fromkeys(str(file.parent) for file in files))
            raise InputError(f"no such file (looked for in {looked})", **where)
    else:
        try:
            with importing_from(*folders):
                spec = importlib.util.find_spec(place)
        except ModuleNotFoundError:
            spec = None
        except (Exception, SystemExit) as error:  # a package runs as one looks into it
            raise mistake(error, place, field=field) from error
        if spec is None or not spec.has_location:
            raise InputError(
                f"Python finds no module {place}; install it, or name its file", **where
            )
        file = pathlib.Path(spec.origin)
    if file.is_relative_to(_PACKAGE):
        module = ".".join(file.relative_to(_PACKAGE.parent).with_suffix("").parts)
        return f"{module}:{name}"
    return reference if is_installed(file) else f"{file}:{name}"


def load(reference: str, *, field: str) -> Callable:
    """Imports a function, or a class, of a user's.

    Args:
      reference: from `find`.
      field: that holds it, for a message.

    Raises:
      InputError: naming the file and the line, if it does not run or has nothing of that name.
    """
    place, _, name = reference.rpartition(":")
    if place.endswith(".py"):
        module = read(pathlib.Path(place), field=field).module
    else:
        try:
            module = importlib.import_module(place)
        except (Exception, SystemExit) as error:
            raise mistake(error, place, field=field) from error
    function = getattr(module, name, None)
    if not callable(function):
        what = "is no function" if hasattr(module, name) else "is not there"
        theirs = [other for other, value in vars(module).items() if callable(value)]
        near = difflib.get_close_matches(name, theirs, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "correct the name"
        raise InputError(f"{name} {what}; {hint}", path=place, field=field)
    return function


def place_of(reference: str, *, field: str) -> str:
    """Where a function that can be loaded begins: "my_file.py:12", or its file or module alone."""
    place = reference.rpartition(":")[0]
    try:
        return f"{place}:{inspect.getsourcelines(load(reference, field=field))[1]}"
    except (OSError, TypeError):  # made by no `def` or `class`
        return place


def read(file: pathlib.Path, *, field: str = "") -> Source:
    """Imports a file, once, with the modules beside it that it imports.

    Args:
      file: absolute.
      field: that names it, for a message.

    Raises:
      InputError: it does not run, it has changed since it was imported, or it imports a module
        beside it within a function, where Python would look for it elsewhere.
    """
    if file in _IMPORTED:
        _IMPORTED[file].refuse_changed()
        return _IMPORTED[file]
    root, name = file.parent, file.stem
    while (root / "__init__.py").is_file() and root.name not in _OURS:
        root, name = root.parent, f"{root.name}.{name}"  # relative imports need the package
    try:
        with importing_from(root) as imported:
            module = _import(file, name)
            contents = {one: one.read_bytes() for one in {file, *imported()}}
        for one, content in contents.items():
            _refuse_imports(one, content, root, field)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # of any kind: it is the user's program
        raise mistake(error, file, field=field) from error
    if pathlib.Path(module.__file__) != file:
        raise InputError(
            f"Python finds {module.__file__} under this name; rename the file",
            path=file,
            field=field,
        )
    _IMPORTED[file] = Source(module, root, dict(sorted(contents.items())))
    return _IMPORTED[file]


def mistake(
    error: BaseException,
    place: str | pathlib.Path,
    *,
    field: str = "",
    origin: str = "",
    hint: str = "",
) -> InputError:
    """Says what went wrong in a user's file, in the last of its lines that ran.

    Args:
      error: that it raised.
      place: the file, as it is to be named.
      field: that names it.
      origin: the file as Python knows it; `place` by default.
      hint: what to do about it.
    """
    origin = origin or str(place)
    reason = " ".join(str(error).split())[:_LONGEST]
    ran = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == origin]
    if isinstance(error, SyntaxError) and error.filename == origin:
        ran, reason = [error.lineno], error.msg
    line = f":{ran[-1]}" if ran else ""
    what = f"does not run ({type(error).__name__}: {reason})" + (f"; {hint}" if hint else "")
    return InputError(what, path=f"{place}{line}", field=field)


@contextlib.contextmanager
def importing_from(*folders: pathlib.Path) -> Iterator[Callable[[], list[pathlib.Path]]]:
    """Python looks for modules in these folders first, whatever of their names was imported.

    Afterwards their modules have names of their own, so that none stands in for another's. No
    bytecode is kept: Python takes a file that was edited within a second, to the same length, for
    the one before.

    Yields a function of the files that have been imported from there since.
    """
    folders = [folder.absolute() for folder in folders]
    names = {n for n in set().union(*map(_modules_in, folders)) if not _is_library(n)}
    hidden = {name: sys.modules[name] for name in list(sys.modules) if _top(name) in names}
    path, bytecode = list(sys.path), sys.dont_write_bytecode
    for name in hidden:
        del sys.modules[name]
    before = set(sys.modules)
    sys.path[:0] = map(str, folders)
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()

    def files() -> dict[str, pathlib.Path]:
        new = {
            name: getattr(sys.modules[name], "__file__", None) for name in {*sys.modules} - before
        }
        theirs = {name: pathlib.Path(file) for name, file in new.items() if file}
        return {
            name: file
            for name, file in theirs.items()
            if any(map(file.is_relative_to, folders))
            and not is_installed(file)
            and _top(name) not in _OURS
        }

    try:
        yield lambda: list(files().values())
    finally:
        for name, file in files().items():
            _rename(sys.modules.pop(name), f"{name}@{hashlib.sha256(bytes(file)).hexdigest()[:8]}")
        for name in [name for name in list(sys.modules) if _top(name) in names]:
            del sys.modules[name]
        sys.modules.update(hidden)
        sys.path[:], sys.dont_write_bytecode = path, bytecode


def _import(file: pathlib.Path, name: str) -> types.ModuleType:
    """A file's module: by its path, or in its package."""
    if "." in name:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(f"own:{name}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _rename(module: types.ModuleType, name: str) -> None:
    """Gives a module another name, which what is defined in it later finds it by."""
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__:
            value.__module__ = name
    sys.modules[name] = module
    module.__name__ = name


def _modules_in(folder: pathlib.Path) -> set[str]:
    """The names by which Python finds modules in a folder, but for its own library's."""
    names = {file.stem for file in folder.glob("*.py")}
    names |= {file.parent.name for file in folder.glob("*/*.py")}
    return names - sys.stdlib_module_names - _OURS


def _is_library(name: str) -> bool:
    """Whether a module of this name is imported, of an installed library."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and is_installed(pathlib.Path(file))


def _top(name: str) -> str:
    return name.partition(".")[0]


def _refuse_imports(file: pathlib.Path, content: bytes, root: pathlib.Path, field: str) -> None:
    """Refuses imports of files below `root` by which Python would get other ones.

    These are imports within a function, when the folder is no longer the first that Python looks
    in, and those of a name that a library has.
    """
    beside, tree = _modules_in(root), ast.parse(content)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node for node in ast.walk(tree) if isinstance(node, functions)]
    late = {id(node) for body in bodies for node in ast.walk(body)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {_top(node.module or "")}
        elif isinstance(node, ast.Import):
            names = {_top(alias.name) for alias in node.names}
        else:
            continue
        what = ""
        if id(node) in late and (names & beside or getattr(node, "level", 0)):
            what = "imports a file beside it within a function; import it at the top"
        elif taken := [
            one for one in names & beside if _is_library(one) and _is_module(root / one)
        ]:
            what = f"imports {taken[0]}, which an installed library is called too; rename the file"
        if what:
            raise InputError(what, path=f"{file}:{node.lineno}", field=field)


def _is_module(place: pathlib.Path) -> bool:
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()
