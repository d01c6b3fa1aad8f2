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

# The checkout's configs, which those of others may build upon.
CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def call(path: str | pathlib.Path, function: str) -> object:
    """Calls a function of a config file.

    Args:
      path: the file, or FILE.py:ARGUMENT for a `get_config` that takes one.
      function: its name.

    Raises:
      InputError: there is no such file, it does not run, or it has no such function.
    """
    stem, colon, argument = str(path).partition(".py:")
    file = pathlib.Path(f"{stem}.py" if colon else path)
    arguments = [argument] if colon and function == "get_config" else []
    if not file.is_file() or file.suffix != ".py":
        raise InputError(_no_config(file), path=path)
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    try:
        with _as_it_was():
            _make_importable(file)
            spec.loader.exec_module(module)
            if hasattr(module, function):
                return getattr(module, function)(*arguments)
    except (Exception, SystemExit) as error:  # of any kind: it is the user's program
        raise _mistake(error, file, spec.origin) from error
    raise InputError(f"has no {function}(); compare configs/ablations/se.py, which has", path=file)


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Keeps what a config file does to the process from the command: all but its modules' path.

    What it prints is not the command's answer. No bytecode is kept: Python takes a file that was
    edited within a second, to the same length, for the one before.
    """
    kept = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        with contextlib.redirect_stdout(sys.stderr), contextlib.chdir("."):
            yield
    finally:
        sys.dont_write_bytecode = kept


def _no_config(file: pathlib.Path) -> str:
    """What a path is instead of a config file, and what may have been meant."""
    cwd = pathlib.Path.cwd()
    ours = CONFIGS.relative_to(cwd) if CONFIGS.is_relative_to(cwd) else CONFIGS
    if file.exists():
        return f"is no Python file, as configs are; name one of {ours}/*.py"
    meant = ours.parent / file  # as typed in the checkout
    if not meant.is_file():
        others = {
            other.stem: other for folder in (ours, file.parent) for other in folder.glob("*.py")
        }
        near = difflib.get_close_matches(file.stem, others, n=1)
        meant = others[near[0]] if near else None
    hint = f"did you mean {meant}?" if meant else f"name one of {ours}/*.py"
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


def _mistake(error: BaseException, file: pathlib.Path, origin: str) -> InputError:
    """What went wrong, at the line that ran last of the file, whose code is of `origin`."""
    reason = " ".join(str(error).split())
    ran = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in ran if frame.filename == origin]
    if isinstance(error, SyntaxError) and error.filename == origin:
        lines, reason = [error.lineno], error.msg
    mend = ""
    if isinstance(error, ModuleNotFoundError) and error.name == "configs":
        mend = "; configs are in the project's checkout: set PYTHONPATH to it"
    elif isinstance(error, TypeError) and not lines:  # the call itself
        mend = "; only FILE.py:ARGUMENT gives get_config() an argument"
    place = f"{file}:{lines[-1]}" if lines else file
    return InputError(f"does not run ({type(error).__name__}: {reason}){mend}", path=place)
