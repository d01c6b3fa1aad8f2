"""A trained model as one file.

    NAME.stablehlo     a program of JAX's `jax.export` for CPU, GPU and TPU and any number of
                       windows, and a card, as a zip
    NAME.onnx          the same for one window a call, for onnxruntime (`asc_jax[onnx]`)
    NAME.safetensors   the weights, with the config that they are of

The first two map waveforms of one rate and length to probabilities without the code that trained
them: frontend, standardisation, folds and softmax are within.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import pathlib
import zipfile
from collections.abc import Mapping

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from asc_jax.config.choices import FUNCTION_FIELDS
from asc_jax.config.load import flatten, to_json
from asc_jax.config.rules import PATH_FIELDS
from asc_jax.inference.model import TrainedModel, portable
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import digest_arrays
from asc_jax.runtime import functions
from asc_jax.runtime.backend import any_platform
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import digest, parse_json, write_whole

PLATFORMS = ("cpu", "cuda", "tpu")
FORMAT = 1
CARD, PROGRAM = "card.json", "program"  # in a .stablehlo
BANDS = ("band_mean", "band_std")  # of a state, in a .safetensors beside the variables


def export(model: TrainedModel, path: pathlib.Path, card: dict, *, half: bool = False) -> None:
    """Writes a model as one file, in the format of its ending.

    Args:
      model: the model to write.
      path: NAME.stablehlo, NAME.onnx or NAME.safetensors.
      card: from `describe`.
      half: store the parameters of a .safetensors as float16, in half the bytes.

    Raises:
      InputError: the ending is another one, a package is missing, the network cannot be converted,
        or the file cannot be written.
    """
    if half and path.suffix.lower() != ".safetensors":
        raise InputError(
            "--half is only for .safetensors; leave it out, or change the ending", path=path
        )
    writers = {".stablehlo": _stablehlo, ".onnx": _onnx, ".safetensors": _safetensors}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise InputError(f"must end in {', '.join(writers)}; rename it", path=path)
    if not path.parent.is_dir():
        raise InputError("its folder does not exist; correct the name", path=path)
    write_whole(path, write(_in_half(model) if half else model, card))


def describe(model: TrainedModel, report: dict | None, about: dict | None = None) -> dict:
    """The card of a model: what it takes and gives, and what it has scored.

    Args:
      model: to describe.
      report: the run's `report.json`, if it has been evaluated.
      about: what people say of it, from `card.read_card`, if anything.
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
        "hop_samples": model.hop_samples,
        "input": "waveforms, (windows, n_samples) float32, full scale at 1",
        "output": "probabilities, (windows, labels) float32",
        "folds": list(model.folds),
        "ensemble": model.rule,
        "title": (report or {}).get("title", ""),
        "scores": scores,
    } | ({"about": about} if about else {})


def _stablehlo(model: TrainedModel, card: dict) -> bytes:
    (windows,) = jax.export.symbolic_shape("windows")
    shape = jax.ShapeDtypeStruct((windows, model.n_samples), jnp.float32)
    with any_platform():
        exported = jax.export.export(jax.jit(portable(model)), platforms=PLATFORMS)(shape)
    program = bytes(exported.serialize())
    card = card | {"sha256": hashlib.sha256(program).hexdigest()}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, part in ((CARD, json.dumps(card, indent=1)), (PROGRAM, program)):
            file.writestr(zipfile.ZipInfo(name), part)  # without a date: equal models, equal bytes
    return content.getvalue()


def _onnx(model: TrainedModel, card: dict) -> bytes:
    # It tells, by all ways, of plugins that this version of JAX lacks.
    said = io.StringIO()
    logging.getLogger("jax2onnx").setLevel(logging.CRITICAL)
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
    content = made.SerializeToString()
    return content + seal(content)


def seal(content: bytes) -> bytes:
    """An entry for the metadata at the end of an ONNX file, with the digest of what is before it.

    Protocol buffers may be joined: the entry, of field 14 of a model, is one more.
    """
    name, digest = b"sha256", hashlib.sha256(content).hexdigest().encode()
    entry = bytes([0x0A, len(name)]) + name + bytes([0x12, len(digest)]) + digest
    return bytes([14 << 3 | 2, len(entry)]) + entry


def _safetensors(model: TrainedModel, card: dict) -> bytes:
    import safetensors.numpy

    if own := own_functions(model.config):
        raise InputError(
            "names a function of your own, which a file of weights cannot contain; write "
            ".stablehlo or .onnx",
            field=own[0],
            value=flatten(model.config)[own[0]],
        )
    state = model.state
    arrays = traverse_util.flatten_dict(jax.device_get(state.variables), sep="/")
    arrays |= {name: np.asarray(getattr(state, name)) for name in BANDS}
    config = parse_json(to_json(model.config))
    for group, name in (field.split(".") for field in PATH_FIELDS):
        if place := config.get(group, {}).get(name):
            config[group][name] = pathlib.Path(place).name  # the folder is of this machine
    about = {
        "card": card,
        "config": config,
        "made_by": {field: model.made_by[field] for field in provenance.COMPARED},
    }
    metadata = {name: json.dumps(value) for name, value in about.items()}
    return safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        metadata | {"digest": digest_of(arrays, metadata)},
    )


def _in_half(model: TrainedModel) -> TrainedModel:
    """The model with its parameters in float16. The statistics of a network may be too small."""
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), model.state.params)
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params)):
        raise InputError("a parameter is too large for float16; leave --half out")
    return dataclasses.replace(model, state=model.state.replace(params=params))


def own_functions(config) -> list[str]:
    """Lists the fields of a config that name functions of the user's own."""
    fields = flatten(config)
    return [field for field in FUNCTION_FIELDS if functions.is_own(fields.get(field))]


def digest_of(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """The entry `digest` of a .safetensors: of its arrays and its other metadata."""
    return digest(json.dumps([digest_arrays(arrays), sorted(metadata.items())]))
