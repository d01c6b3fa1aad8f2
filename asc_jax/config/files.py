"""Config files as Python programs: finding one, running it, and saying what it did wrong."""

import contextlib
import difflib
import importlib
import importlib.util
import pathlib
import sys
import traceback
from collections.abc import Iterator

from asc_jax.runtime.errors import InputError
from asc_jax.runtime.functions import importing_from, mistake

# The project's configs, which those of others may build upon: within an installed package, beside
# that of a checkout.
_PACKAGE = pathlib.Path(__file__).parents[1]
_INSTALLED = _PACKAGE / "configs"
CONFIGS = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "configs"


def call(path: str | pathlib.Path, function: str) -> object:
    """Calls a function of a config file.

    Args:
      path: the file, FILE.py:ARGUMENT for a `get_config` that takes one, or the name of one of
        ours, as "se_resnet152" or "ablations/se".
      function: its name.

    Raises:
      InputError: there is no such file, it does not run, or it has no such function.
    """
    _, colon, argument = str(path).partition(".py:")
    arguments = [argument] if colon and function == "get_config" else []
    file = file_of(path)
    if not file.is_file() or file.suffix != ".py":
        raise InputError(_no_config(file), path=path)
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    try:
        with _as_it_was(), importing_from(file.parent):
            _make_importable(file)
            spec.loader.exec_module(module)
            if hasattr(module, function):
                return getattr(module, function)(*arguments)
    except (Exception, SystemExit) as error:  # of any kind: it is the user's program
        hint = _hint(error, spec.origin)
        raise mistake(error, file, origin=spec.origin, hint=hint) from error
    raise InputError(f"has no {function}(); see configs/ablations/se.py for an example", path=file)


def file_of(path: str | pathlib.Path) -> pathlib.Path:
    """The file that the path of a config names; see `call`."""
    stem, colon, _ = str(path).partition(".py:")
    file = pathlib.Path(f"{stem}.py" if colon else path)
    ours = CONFIGS / f"{file}.py"
    return ours if not file.suffix and not file.exists() and ours.is_file() else file


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Keeps what a config file does to the process from the command.

    What it prints is not the command's answer.
    """
    with contextlib.redirect_stdout(sys.stderr), contextlib.chdir("."):
        yield


def _no_config(file: pathlib.Path) -> str:
    """What a path is instead of a config file, and what may have been meant."""
    cwd = pathlib.Path.cwd()
    ours = CONFIGS.relative_to(cwd) if CONFIGS.is_relative_to(cwd) else CONFIGS
    if file.exists():
        return f"is no Python file, as configs are; name one of {ours}/*.py"
    meant = ours.parent / file  # as typed in the checkout
    if not meant.is_file():
        others = {
            other.stem: other
            for folder in (ours, file.parent, (ours / file).parent)
            for other in folder.glob("*.py")
        }
        near = difflib.get_close_matches(file.stem, others, n=1)
        meant = others[near[0]] if near else None
    folder = (ours / file).parent if (ours / file).parent.is_dir() else ours
    hint = f"did you mean {meant}?" if meant else f"name one of {folder}/*.py"
    return f"no such config file; {hint}"


def _make_importable(file: pathlib.Path) -> None:
    """Lets a config import others: from the folder `configs` that it lies in, and ours.

    They are read anew: another folder's may have the same names.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "configs"]:
        del sys.modules[name]
    around = [folder for folder in file.absolute().parents if folder.name == "configs"][:1]
    folders = [folder for folder in (*around, CONFIGS) if folder.is_dir()]
    for folder in reversed(folders):
        if str(folder.parent) not in sys.path:
            sys.path.insert(0, str(folder.parent))
    if folders:
        importlib.import_module("configs").__path__ = [str(folder) for folder in folders]


def _hint(error: BaseException, origin: str) -> str:
    """What to do about an error of a config file that is at `origin`."""
    if isinstance(error, ModuleNotFoundError) and error.name == "configs":
        return "configs are in the project's checkout: set PYTHONPATH to it"
    ran = any(frame.filename == origin for frame in traceback.extract_tb(error.__traceback__))
    if isinstance(error, TypeError) and not ran:  # the call itself
        return "only FILE.py:ARGUMENT gives get_config() an argument"
    return ""
