"""Exported models: damaged by accident, and forged by somebody who knows their form."""

import contextlib
import functools
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import tempfile
import unittest
import warnings
import zipfile
from typing import NamedTuple

import jax
import jax.export
import numpy as np
import safetensors
import safetensors.numpy
from hypothesis import strategies as st

from asc_jax.config import load as configs
from asc_jax.inference import export
from asc_jax.inference.card import FIELDS
from asc_jax.inference.exported import load
from asc_jax.inference.model import TrainedModel, assemble
from asc_jax.train.model import make_model
from asc_jax.train.state import state_shapes
from benchmarks.fuzz import refusal, strike
from benchmarks.fuzz_records import JSON, damage_json

_CONFIG = pathlib.Path(__file__).parents[1] / "configs/demo.py"

_WORDS = ("frontend.sr=8000", "frontend.n_mels=16", "frontend.fmax=0", "frontend.n_fft=256",
          "frontend.win_length=256", "frontend.hop_length=128", "model.width=4",
          "model.stage_sizes=(1,)", "model.stage_strides=(1,)", "data.n_frames=0")  # fmt: skip
_SECONDS = (0.25, 0.25, 0.2)  # a window of each model, whose labels differ as well
_LABELS = (("bus", "park", "tram"), ("bus", "park", "tram"), ("bus", "tram"))
# What config fields may name: it tells that it was run.
_OWN = "import pathlib\npathlib.Path({!r}).touch()\ndef make(*_, **__):\n    return make\n"


class Blow(NamedTuple):
    """What is done to a file."""

    ending: str  # of the file
    kind: str
    places: tuple[float, ...]  # as shares, of the file or of each level
    value: object
    octets: bytes


_ACCIDENTS = ("bit", "bytes", "cut", "front", "inserted", "twice", "joined", "size", "ending")
_FORGERIES = {
    "stablehlo": ("value", "value", "key deleted", "key added", "other part", "envelope", "zip"),
    "safetensors": ("value", "value", "value", "key deleted", "key added", "other part", "array",
                    "own function"),
    "onnx": ("value", "value", "key deleted", "key added", "other part", "graph"),
}  # fmt: skip


def _blows(ending: str) -> st.SearchStrategy:
    return st.builds(
        Blow,
        st.just(ending),
        st.one_of(st.sampled_from(_ACCIDENTS), st.sampled_from(_FORGERIES[ending])),
        st.tuples(*[st.floats(0, 1, exclude_max=True)] * 6),
        st.one_of(JSON, st.sampled_from([8000, 2000, 10**9, ["a\n", "b", "c"], ["a", "a", "b"]])),
        st.binary(min_size=1, max_size=12),
    )


MODELS = st.one_of(_blows("stablehlo"), _blows("safetensors"))
ONNX = _blows("onnx")


@functools.cache
def _model(number: int) -> TrainedModel:
    """A model of two folds; the second is the first with other weights, the third of other form."""
    words = [*_WORDS, f"data.clip_seconds={_SECONDS[number]}"]
    config = configs.load_config(str(_CONFIG), [f"--config.{word}" for word in words])
    model = make_model(config, len(_LABELS[number]), n_steps=1)
    rng = np.random.default_rng(number)
    state = jax.tree.map(
        lambda leaf: rng.uniform(0.1, 1, (2, *leaf.shape)).astype(leaf.dtype),
        state_shapes(model).replace(opt_state=()),
    )
    return assemble(config, _LABELS[number], (1, 2), model, state)


@functools.cache
def original(ending: str, number: int = 0) -> bytes:
    """A model's file as `export` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path, model = pathlib.Path(folder) / f"m.{ending}", _model(number)
        about = dict.fromkeys(FIELDS, "as said")
        export.export(model, path, export.describe(model, None, about))
        return path.read_bytes()


@functools.cache
def _noise() -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(5000).astype(np.float32)


@functools.cache
def _answer(number: int) -> np.ndarray:
    return _model(number)(_noise(), 8000).probabilities


def _damage(blow: Blow, content: bytes) -> bytes:
    """What an accident makes of a file."""
    other = original(blow.ending, 1 + (blow.places[2] < 0.5))
    at, share = int(blow.places[0] * len(content)), blow.places[1]
    match blow.kind:
        case "twice":
            end = at + int(share * 3000)
            return content[:end] + content[at:]
        case "joined":
            return content[:at] + other[int(share * len(other)) :]
        case "size":  # near an end, where formats have theirs
            at = int(share * 60) if blow.places[2] < 0.5 else len(content) - 1 - int(share * 120)
            size = (0xFFFFFFFF, 0x7FFFFFFF, 0, 1 << 62)[int(4 * blow.places[3])]
            octets = size.to_bytes(8, "little")[: 4 + 4 * (size > 1 << 32)]
            return strike(content, "bytes", at, octets)
        case "ending":  # as it is, by another name
            return content
    return strike(content, blow.kind, at, blow.octets)


def _forge_stablehlo(blow: Blow) -> bytes:
    """A zip that is whole, and whose card names the program that is in it."""
    card, program = _parts(original("stablehlo"))
    match blow.kind:
        case "other part":
            _, program = _parts(original("stablehlo", 1 + (blow.places[0] < 0.5)))
        case "envelope":  # around the MLIR, see docs/reliability.md
            start = program.index(b"ML\xefR")
            mlir = jax.export.deserialize(bytearray(program)).mlir_module_serialized
            place = int(blow.places[0] * (len(program) - len(mlir)))
            place += len(mlir) * (place >= start)
            program = strike(program, "byte", place, blow.octets)
        case "zip":
            return _forge_zip(blow, card, program)
        case _:
            card = damage_json(blow, card)
    if blow.places[5] < 0.9 and isinstance(fields := json.loads(card), dict):
        card = json.dumps(fields | {"sha256": hashlib.sha256(program).hexdigest()}).encode()
    return _zipped([("card.json", card), ("program", program)])


def _parts(content: bytes) -> tuple[bytes, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return file.read("card.json"), file.read("program")


def _forge_zip(blow: Blow, card: bytes, program: bytes) -> bytes:
    method = (0, 8, 12, 14)[int(4 * blow.places[0])]
    parts = [("card.json", card), ("program", program)]
    match int(6 * blow.places[1]):
        case 0:
            parts += [("../evil", b"evil"), ("/tmp/evil", b"evil")]
        case 1:
            parts += [("card.json", b"{}")]
        case 2:
            parts = parts[1:]
        case 3:
            parts = [("card.json", bytes(1 << 28)), ("program", bytes(1 << 28))]
            method = method or 14
        case 4:
            return blow.octets + _zipped(parts, method) + blow.octets
    return _zipped(parts, method)


def _zipped(parts: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w", method) as file:
        warnings.simplefilter("ignore")  # of one name twice
        for name, part in parts:
            file.writestr(name, part)
    return content.getvalue()


def _forge_safetensors(blow: Blow, own: pathlib.Path) -> bytes:
    """A file whose digest is that of its content."""
    content = original("safetensors", (blow.places[0] < 0.5) if blow.kind == "other part" else 0)
    metadata, arrays = _tensors(content)
    names = ("card", "config", "made_by")
    match blow.kind:
        case "other part":
            others, _ = _tensors(original("safetensors", 2))
            name = names[int(3 * blow.places[1])]
            metadata[name] = others[name]
        case "array":
            name = sorted(arrays)[int(blow.places[1] * len(arrays))]
            array = arrays[name]
            forms = (array[:1], array.astype(np.float16), array[..., None], array[:0],
                     np.full_like(array, np.nan), np.zeros(3, np.float32))  # fmt: skip
            arrays[name] = np.ascontiguousarray(forms[int(blow.places[2] * len(forms))])
            if blow.places[3] < 0.2:
                del arrays[name]
        case "own function":
            config = json.loads(metadata["config"])
            fields = (("model", "name"), ("train", "loss"), ("frontend", "name"))
            group, field = fields[int(3 * blow.places[1])]
            where = own if blow.places[2] < 0.5 else own.name
            config[group][field] = f"{where}:make"
            metadata["config"] = json.dumps(config)
        case _:
            name = names[int(3 * blow.places[0])]
            metadata[name] = damage_json(blow, metadata[name].encode()).decode()
    if blow.places[5] < 0.9:
        metadata["digest"] = export.digest_of(arrays, metadata)
    return safetensors.numpy.save(arrays, metadata)


def _tensors(content: bytes) -> tuple[dict, dict]:
    """Metadata without their digest, and arrays."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header["__metadata__"]
    del metadata["digest"]
    return metadata, safetensors.numpy.load(content)


def _forge_onnx(blow: Blow) -> bytes:
    """A file whose seal is that of its content."""
    import onnx

    n_sealed = -len(export.seal(b""))
    content = original("onnx", 1 + (blow.places[1] < 0.5) if blow.kind == "other part" else 0)
    made = onnx.load_from_string(content[:n_sealed])
    entries = {entry.key: entry.value for entry in made.metadata_props}
    if blow.kind == "graph":
        at = int(blow.places[0] * (len(content) + n_sealed))
        content = strike(content[:n_sealed], "byte", at, blow.octets)
        return content + export.seal(content)
    if blow.kind == "other part":
        others = onnx.load_from_string(original("onnx")[:n_sealed]).metadata_props
        entries = {entry.key: entry.value for entry in others}
    else:
        kept = {name: _read(text) for name, text in entries.items()}
        forged = json.loads(damage_json(blow, json.dumps(kept).encode()))
        entries = {}
        for name, value in forged.items() if isinstance(forged, dict) else ():
            text = value if isinstance(value, str) else json.dumps(value)
            entries[name] = text.encode(errors="replace").decode()
    del made.metadata_props[:]
    for name, value in entries.items():
        entry = made.metadata_props.add()
        entry.key, entry.value = name, value
    content = made.SerializeToString()
    return content + export.seal(content)


def _read(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def check_onnx(blow: Blow) -> str:
    """See `check_model`.

    Raises:
      unittest.SkipTest: a package is not installed.
    """
    for package in ("jax2onnx", "onnxruntime"):
        if not importlib.util.find_spec(package):
            raise unittest.SkipTest(f"{package} is not installed: pip install 'asc_jax[onnx]'")
    return check_model(blow)


def check_model(blow: Blow) -> str:
    """A damaged model is refused, or is the one it was; a forged one answers as its card says."""
    with tempfile.TemporaryDirectory() as folder:
        ending = blow.ending
        if blow.kind == "ending":
            ending = ("stablehlo", "safetensors", "onnx", "bin")[int(4 * blow.places[0])]
        path, own, run = (pathlib.Path(folder, name) for name in (f"m.{ending}", "own.py", "run"))
        own.write_text(_OWN.format(str(run)))
        if blow.kind in _ACCIDENTS:
            content = _damage(blow, original(blow.ending))
        elif blow.ending == "stablehlo":
            content = _forge_stablehlo(blow)
        elif blow.ending == "safetensors":
            content = _forge_safetensors(blow, own)
        else:
            content = _forge_onnx(blow)
        path.write_bytes(content)
        with contextlib.chdir(folder):
            model, said = refusal(load, path, names=str(path))
        assert sorted(os.listdir(folder)) == sorted([path.name, "own.py"]), os.listdir(folder)
    if said:
        return "refused"
    answer = model(_noise(), 8000).probabilities
    if blow.kind in _ACCIDENTS:  # of two that are joined, the second may be whole
        whole = [*map(_answer, (0, 1, 2) if blow.kind == "joined" else (0,))]
        same = [np.allclose(answer, one, atol=1e-4) for one in whole if one.shape == answer.shape]
        assert any(same) and model.labels in _LABELS, (answer, model.labels)
    labels = model.labels
    assert len(set(labels)) == answer.shape[1] and "".join(labels).isprintable(), labels
    return "read"
