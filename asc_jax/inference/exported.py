"""Exported models, read from their files. Nothing in a file is executed as it is read."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import jax
import jax.export
import numpy as np
from flax import traverse_util

from asc_jax.config.load import from_json
from asc_jax.data.names import label_fault
from asc_jax.inference import shipped
from asc_jax.inference.asking import JaxRecogniser, Recogniser
from asc_jax.inference.card import refuse_odd
from asc_jax.inference.export import BANDS, CARD, FORMAT, PROGRAM, digest_of, own_functions, seal
from asc_jax.inference.model import TrainedModel, assemble
from asc_jax.inference.model import load as load_run
from asc_jax.runs import provenance
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json
from asc_jax.train.model import make_model
from asc_jax.train.state import state_shapes


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ExportedModel(JaxRecogniser):
    """What `export` has written as StableHLO.

    Attributes:
      program: of JAX's, see `apply`.
    """

    program: jax.export.Exported

    def apply(self, waveforms: jax.Array) -> jax.Array:
        """See `JaxRecogniser.apply`; T is `n_samples`."""
        if waveforms.shape[-1] != self.n_samples:
            raise TypeError(f"it takes {self.n_samples} samples, not {waveforms.shape[-1]}")
        return self.program.call(waveforms)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class OnnxModel(Recogniser):
    """What `export` has written as ONNX.

    Attributes:
      session: onnxruntime's.
    """

    session: Any

    def answer(self, waveforms: np.ndarray) -> np.ndarray:
        """See `Recogniser.answer`; T is `n_samples`."""
        if waveforms.shape[1] != self.n_samples:
            raise TypeError(f"it takes {self.n_samples} samples, not {waveforms.shape[1]}")
        (name,) = (one.name for one in self.session.get_inputs())
        return np.concatenate([self.session.run(None, {name: one[None]})[0] for one in waveforms])


def load(place: str | os.PathLike, *, fold: int = 0, other_functions: bool = False) -> Recogniser:
    """Opens a run folder or an exported file, to classify recordings.

    Args:
      place: a run folder, NAME.stablehlo, NAME.onnx or NAME.safetensors; or, as text, the name of a
        model of the package, see `shipped.find`.
      fold: the number of the fold whose model is used; 0 for the ensemble of all. Only for a run
        folder.
      other_functions: open a run folder or NAME.safetensors even if the functions that trained it
        have changed.

    Raises:
      InputError: it is none of these or is incomplete, it has no such fold, or its functions
        have changed.
    """
    path = shipped.find(place)
    if not path.is_file():
        return load_run(path, fold=fold, other_functions=other_functions)
    if fold:
        raise InputError(
            "cannot be chosen in an exported file; export that fold of the run instead",
            field="fold",
            value=fold,
        )
    match path.suffix.lower():
        case ".onnx":
            return _read_onnx(path)
        case ".safetensors":
            return _read_safetensors(path, other_functions=other_functions)
    return _read_stablehlo(path)


@contextlib.contextmanager
def _whole(path: pathlib.Path) -> Iterator[None]:
    """Turns what goes wrong within into an `InputError`: parsers raise many kinds of error."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", path=path) from None
    except Exception:
        raise InputError(
            "is not a model from asc-jax export, or is incomplete; copy it again", path=path
        ) from None


def _described(card: dict, path: pathlib.Path) -> dict:
    """The attributes that a model's card says.

    Raises:
      InputError: it is of another format, or what people have written in it is no card.
    """
    if card["format"] != FORMAT:
        raise InputError(
            f"has format {card['format']!r}, but this version reads {FORMAT}; use the "
            "version that wrote it",
            path=path,
        )
    if "about" in card:
        refuse_odd(card["about"], path)
    labels, n_samples = card["labels"], card["n_samples"]
    sizes = [card["sampling_rate"], n_samples, card.get("hop_samples", n_samples)]
    if not labels or len(set(labels)) < len(labels) or any(map(label_fault, labels)):
        raise ValueError("no names of classes")
    if not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError("no sizes")
    names = ("sr", "n_samples", "hop_samples")
    return {"labels": tuple(labels), **dict(zip(names, sizes, strict=True))}


def _read_stablehlo(path: pathlib.Path) -> ExportedModel:
    with _whole(path):
        with zipfile.ZipFile(path) as file:
            if any(file.getinfo(name).compress_type for name in (CARD, PROGRAM)):
                raise ValueError("compressed: may be of any size")
            card, program = parse_json(file.read(CARD)), file.read(PROGRAM)
        takes = _described(card, path)
        if card["sha256"] != hashlib.sha256(program).hexdigest():
            raise ValueError("altered")
    try:
        read = jax.export.deserialize(bytearray(program))
        model = ExportedModel(**takes, program=read, card=card)
        given = jax.ShapeDtypeStruct((2, model.n_samples), np.float32)
        if jax.eval_shape(model.apply, given).shape != (2, len(model.labels)):
            raise ValueError("it gives others than its labels")
        return model
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"jax {jax.__version__} cannot read its program ({reason}); export the run again",
            path=path,
        ) from None


def _read_onnx(path: pathlib.Path) -> OnnxModel:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(
            "needs onnxruntime; pip install 'asc_jax[onnx]', or name the run", path=path
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it would log is raised as well
    with _whole(path):
        content = path.read_bytes()  # so that it opens no other file beside this one
        n_sealed = len(content) - len(seal(b""))
        if content[n_sealed:] != seal(content[:n_sealed]):
            raise ValueError("altered")
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        entries = session.get_modelmeta().custom_metadata_map
        card = {name: _parsed(text) for name, text in entries.items()}
        model = OnnxModel(**_described(card, path), session=session, card=card)
        (given,), (said,) = session.get_inputs(), session.get_outputs()
        kinds = (given.type, given.shape), (said.type, said.shape)
        sizes = model.n_samples, len(model.labels)
        if kinds != tuple(("tensor(float)", [1, size]) for size in sizes):
            raise ValueError("it takes or gives others than its card says")
        return model


def _parsed(text: str) -> object:
    """An entry of the card: `export` leaves text as it is."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def _read_safetensors(path: pathlib.Path, *, other_functions: bool) -> TrainedModel:
    import safetensors

    with _whole(path):
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata()
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.pop("digest") != digest_of(arrays, metadata):
            raise ValueError("altered")
        card, made_by = parse_json(metadata["card"]), parse_json(metadata["made_by"])
        labels = _described(card, path)["labels"]
        folds = tuple(map(int, card["folds"]))
        fields = parse_json(metadata["config"])
        if own_functions(fields):
            raise ValueError("would run a file")
    config = from_json(json.dumps(fields), str(path))
    model = make_model(config, len(labels), n_steps=1)
    shapes = state_shapes(model).scored.replace(opt_state=())
    wanted = traverse_util.flatten_dict(shapes.variables, sep="/")
    wanted |= {name: getattr(shapes, name) for name in BANDS}
    halves = [name for name, array in arrays.items() if array.dtype == np.float16]
    arrays |= {name: arrays[name].astype(np.float32) for name in halves}
    kinds = {name: (leaf.dtype, (len(folds), *leaf.shape)) for name, leaf in wanted.items()}
    if not folds or {n: (array.dtype, array.shape) for n, array in arrays.items()} != kinds:
        raise InputError("its weights do not fit its config; export the run again", path=path)
    like = jax.tree.map(lambda leaf: np.zeros((len(folds), *leaf.shape), leaf.dtype), shapes)
    bands = {name: arrays.pop(name) for name in BANDS}
    variables = traverse_util.unflatten_dict(arrays, sep="/")
    state = like.replace(
        params=variables.pop("params"),
        batch_stats=variables.pop("batch_stats", {}),
        collections=variables,
        **bands,
    )
    opened = dataclasses.replace(assemble(config, labels, folds, model, state), card=card)
    if not other_functions:
        with _whole(path):
            if path.parent == shipped.FOLDER:  # goes with these files, whichever it was made with
                made_by |= {"source": opened.made_by["source"]}
            provenance.refuse_unlike(made_by, opened.made_by, path, provenance.TAKE_ITS_VERSION)
    return opened
