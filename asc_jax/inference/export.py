"""A trained model as one file, which needs neither the run nor the code that made it.

    NAME.stablehlo   a program of JAX's `jax.export` for CPU, GPU and TPU and any number of windows,
                     and a card, as a zip; `asc-jax predict` and `asc_jax.load` take it
    NAME.onnx        the same for one window a call, for onnxruntime (`pip install 'asc_jax[onnx]'`)

Both map waveforms of one rate and length to probabilities: frontend, standardisation, folds and
softmax are within. Nothing of them is executed when they are read.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Callable

import jax
import jax.export
import jax.numpy as jnp

from asc_jax.inference.asking import Recogniser
from asc_jax.inference.model import TrainedModel, portable
from asc_jax.inference.model import load as load_run
from asc_jax.runtime.backend import any_platform
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, write_whole

PLATFORMS = ("cpu", "cuda", "tpu")
FORMAT = 1
_CARD, _PROGRAM = "card.json", "program"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ExportedModel(Recogniser):
    """What `export` has written as StableHLO.

    Attributes:
      program: of JAX's, see `apply`.
      card: what it is, as `describe` says.
    """

    program: jax.export.Exported
    card: dict

    def apply(self, waveforms: jax.Array) -> jax.Array:
        """See `Recogniser.apply`; T is `n_samples`."""
        return self.program.call(waveforms)


def export(model: TrainedModel, path: pathlib.Path, card: dict) -> None:
    """Writes a model as a file of its own; the ending says which.

    Args:
      model: to write.
      path: NAME.stablehlo or NAME.onnx.
      card: from `describe`.

    Raises:
      InputError: another ending, a package that is missing, a network that cannot be converted, or
        the file cannot be written.
    """
    write = {".stablehlo": _stablehlo, ".onnx": _onnx}.get(path.suffix.lower())
    if write is None:
        raise InputError("must end in .stablehlo or .onnx; name it so", path=path)
    write_whole(path, write(model, card))


def describe(model: TrainedModel, report: dict | None) -> dict:
    """The card of a model: what it takes and gives, and what it has scored.

    Args:
      model: to describe.
      report: the run's `report.json`, if it has been evaluated.
    """
    scores = {}
    for one in (report or {}).get("lists", []):
        best = one["systems"][0]
        scores[one["title"]] = {
            "system": best["name"],
            "class_wise_accuracy": best["class_wise_accuracy"],
            "description": one["description"],
        }
    return {
        "format": FORMAT,
        "labels": list(model.labels),
        "sampling_rate": model.sr,
        "n_samples": model.n_samples,
        "input": "waveforms, (windows, n_samples) float32, full scale at 1",
        "output": "probabilities, (windows, labels) float32",
        "folds": list(model.folds),
        "ensemble": model.rule,
        "title": (report or {}).get("title", ""),
        "scores": scores,
    }


def _stablehlo(model: TrainedModel, card: dict) -> bytes:
    (windows,) = jax.export.symbolic_shape("windows")
    shape = jax.ShapeDtypeStruct((windows, model.n_samples), jnp.float32)
    with any_platform():
        program = jax.export.export(jax.jit(portable(model)), platforms=PLATFORMS)(shape)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, part in ((_CARD, json.dumps(card, indent=1)), (_PROGRAM, program.serialize())):
            file.writestr(zipfile.ZipInfo(name), part)  # without a date: equal models, equal bytes
    return content.getvalue()


def _onnx(model: TrainedModel, card: dict) -> bytes:
    said = io.StringIO()  # it tells of plugins that this version of JAX lacks
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            import jax2onnx
        except ImportError:
            raise InputError(
                "jax2onnx is not installed; pip install 'asc_jax[onnx]', or write .stablehlo"
            ) from None
        with any_platform():
            made = jax2onnx.to_onnx(
                portable(model),
                [jax.ShapeDtypeStruct((1, model.n_samples), jnp.float32)],
                input_names=["waveform"],
                output_names=["probabilities"],
            )
    for name, value in card.items():
        entry = made.metadata_props.add()
        entry.key, entry.value = name, value if isinstance(value, str) else json.dumps(value)
    return made.SerializeToString()


def read_exported(path: pathlib.Path) -> ExportedModel:
    """Reads a NAME.stablehlo.

    Raises:
      InputError: it is no such file, cut, altered, or of a later version.
    """
    try:
        with zipfile.ZipFile(path) as file:
            card, program = parse_json(file.read(_CARD)), file.read(_PROGRAM)
        version = card["format"]
        takes = {
            "labels": tuple(map(str, card["labels"])),
            "sr": int(card["sampling_rate"]),
            "n_samples": int(card["n_samples"]),
        }
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", path=path) from None
    # The last is zipfile's, of a way to compress that it does not know.
    except (zipfile.BadZipFile, LookupError, ValueError, TypeError, EOFError, NotImplementedError):
        raise InputError(
            "is no model that asc-jax export has written, or is not whole; copy it again", path=path
        ) from None
    if version != FORMAT:
        raise InputError(
            f"is of format {version!r}, and this version reads {FORMAT}; take the version that "
            "wrote it",
            path=path,
        )
    return ExportedModel(**takes, program=_deserialise(program, path), card=card)


def load(place: str | os.PathLike, *, fold: int = 0, other_functions: bool = False) -> Recogniser:
    """Opens a run folder, or what `export` has made of one, for recordings.

    Args:
      place: a run folder, or NAME.stablehlo.
      fold: of a run folder: the number of one fold whose model is asked; 0 for the ensemble of all.
      other_functions: of a run folder: open it though the functions that trained it have changed.

    Raises:
      InputError: it is neither, or not whole, has no such fold, or its functions have changed.
    """
    path = pathlib.Path(place)
    if not path.is_file():
        return load_run(path, fold=fold, other_functions=other_functions)
    if path.suffix.lower() == ".onnx":
        raise InputError(
            "is for onnxruntime (docs/models.md); name the run, or a .stablehlo", path=path
        )
    if fold:
        raise InputError("a file has its folds within; leave it out", field="fold", value=fold)
    return read_exported(path)


def _deserialise(program: bytes, path: pathlib.Path) -> jax.export.Exported:
    read: Callable = jax.export.deserialize
    try:
        return read(bytearray(program))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"its program is not read by jax {jax.__version__} ({reason}); export the run again",
            path=path,
        ) from None
