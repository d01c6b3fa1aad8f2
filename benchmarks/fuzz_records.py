"""The records of a run, as a real one left them, and damaged."""

import contextlib
import functools
import io
import itertools
import json
import pathlib
import shutil
import tempfile
import types
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from asc_jax.config.format import flatten
from asc_jax.data import cache, generated, splits
from asc_jax.data.clips import Clip, Dataset
from asc_jax.data.folds import Split
from asc_jax.data.manifest import Manifest
from asc_jax.experiments import jobs, sweep
from asc_jax.gan import embedder
from asc_jax.report import page
from asc_jax.report import table4 as table4_report
from asc_jax.report.comparison import export
from asc_jax.report.comparison.page import write_comparison
from asc_jax.report.comparison.results import compare_runs
from asc_jax.runs import logits as stored_logits
from asc_jax.runs import metrics_log, provenance, sweep_record, table4
from asc_jax.runs.folder import read_config
from asc_jax.scoring import evaluate, scores
from benchmarks.fuzz import refusal, strike

_KEPT = pathlib.Path(__file__).parents[1] / "tests/kept/format1"
_NONE = np.array([], np.int32)
_CLIPS = tuple(
    Clip(f"audio/{k}.wav", label, f"place-{k}") for k, label in enumerate(["bus", "tram"] * 3)
)
_DATASET = Dataset(pathlib.Path("set"), _CLIPS, ("bus", "tram"), {})
_HALVES = np.arange(0, 2, dtype=np.int32), np.arange(2, 6, dtype=np.int32)
_SPLITS = (Split(1, _HALVES[0], _NONE, _HALVES[1]), Split(2, _HALVES[1], _NONE, _HALVES[0]))
_DIGESTS = [f"{k:016x}" for k in range(6)]
_MADE_OF = {"format": 2, "settings": {"sr": 8000}, "files": [["a.wav", 1, 2]]}
_CLASSIFIER = {"parameters": "0123456789abcdef", "fields": {"model.width": 4}}


@functools.cache
def _originals() -> dict[str, bytes]:
    """The records by their names, as they were written."""
    names = ("config.json", "metrics.jsonl", "report.json", "logits.npz")
    records = {name: (_KEPT / name).read_bytes() for name in names}
    line = records["metrics.jsonl"]
    records["metrics.jsonl"] = line + line.replace(b'"epoch": 1', b'"epoch": 2')
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        splits.write_splits(root / "splits.json", _DATASET, _SPLITS, _NONE, _DIGESTS)
        made = generated.Synthetic(_DATASET, np.array([1, 2] * 3, np.int32), "ab" * 32)
        generated.write_record(root / "synthetic.json", made, _DIGESTS)
        entry = cache.store(root, _MADE_OF, iter([(np.ones((2, 3), np.float32), 1.0, "d")]))
        assert entry is not None
        (found,) = root.glob("*/fingerprint.json")
        for name in ("splits.json", "synthetic.json"):
            records[name] = (root / name).read_bytes()
        records["fingerprint.json"] = found.read_bytes()
    lines = [
        {"path": f"audio/{label}{fold}.wav", "scene_label": label, "fold": fold, "batch": 0,
         "row": 1, "checkpoint": "ab12", "classifier": "cd34", "sr": 48_000, "n_samples": 480_000}
        for fold in (1, 2) for label in ("bus", "tram")
    ]  # fmt: skip
    records["manifest.jsonl"] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    of_sweep = {
        "format": 1, "command": "sweep", "config": "configs/ablations/se.py",
        "base": {"model.se_ratio": 16}, "data": {"data.root": "set"}, "lost": {},
        "settings": {"base": {"fields": {"model.se_ratio": 16}, "runs": {"0": "base/seed0"}}},
    }  # fmt: skip
    records["sweep.json"] = json.dumps(of_sweep).encode()
    starts = [_start(step) for step in (0, 4)]
    records["starts.jsonl"] = "".join(json.dumps(line) + "\n" for line in starts).encode()
    records["classifier.json"] = json.dumps(_CLASSIFIER).encode()
    corpora = [{"fold": 1, "scene_labels": ["bus"], "train": ["a"], "unseen": ["b"]}]
    records["corpora.json"] = json.dumps(corpora).encode()
    return records


def _without(record: dict, *names: str) -> dict:
    return {name: value for name, value in record.items() if name not in names}


def _config(folder: pathlib.Path) -> object:
    return flatten(read_config(folder))


def _of_config(content: bytes) -> object:
    return {f: v for f, v in flatten(json.loads(content)).items() if f != "format"}


def _splits(folder: pathlib.Path) -> object:
    path = folder / "splits.json"
    splits.refuse_other_splits(path, _DATASET, _SPLITS, _NONE)
    splits.refuse_other_audio(path, _DATASET, _DIGESTS)
    return json.loads(_originals()["splits.json"])


def _of_splits(content: bytes) -> object:
    theirs, ours = json.loads(content), json.loads(_originals()["splits.json"])
    # Files of earlier versions hold no digests, or not of all clips; others do not count.
    kept = {clip: theirs.get("audio", {}).get(clip, d) for clip, d in ours["audio"].items()}
    return theirs | {"audio": kept}


def _metrics(folder: pathlib.Path) -> object:
    lines = metrics_log.read_metrics(folder / "metrics.jsonl")
    metrics_log.non_finite_policy(lines)
    return metrics_log.untimed(lines)


def _lines(content: bytes) -> list:
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


def _report(folder: pathlib.Path) -> object:
    about = {"training": {"steps": 4, "state": "", "scored_by": ""}, "scene_labels": []}
    with contextlib.redirect_stderr(io.StringIO()):  # where it says what it leaves out
        evaluate._earlier(folder, about, set())
    sweep._scores(folder)
    report = page.read_report(folder / "report.json")
    config = read_config(folder)
    table4_report._row(table4.ROWS[0], folder, config, {})
    _compared(folder)
    return report


def _starts(folder: pathlib.Path) -> object:
    starts = provenance.read_starts(folder)
    provenance.refuse_another(folder, _start(step=4), step=8, allowed=False)
    provenance.trained_on(starts)
    provenance.device_seconds(starts, [{"step": 4, "seconds": 1.5}])
    with contextlib.redirect_stderr(io.StringIO()):
        provenance.say_other_files([folder])
    _compared(folder)
    return starts


def _start(step: int) -> dict:
    """A line of `starts.jsonl`."""
    return {
        "time": "2026-11-29T12:00:00Z", "step": step, "platform": "cpu", "device": "cpu",
        "n_devices": 1, "n_processes": 1, "versions": {"jax": "0.7"}, "answers": {"looks": [0.5]},
        "programs": {"train": "ab12"}, "source": {"frontend.py": "cd"},
        "settings": {"jax_enable_x64": "False"},
    }  # fmt: skip


def _compared(folder: pathlib.Path) -> None:
    """What `asc-jax report` makes of a run."""
    (folder / "sweep.json").unlink()  # else the folder is a sweep's
    results = compare_runs([folder])
    for form in export.FORMATS.values():
        form(results)
    write_comparison(results, folder / "comparison.html")


def _manifest(folder: pathlib.Path) -> object:
    (folder / "audio").mkdir()
    for line in _lines(_originals()["manifest.jsonl"]):
        (folder / line["path"]).touch()
    read = generated.read_manifest(folder, _DATASET, _SPLITS)
    manifest = Manifest(folder)
    found = [manifest.lines(label, fold) for label in ("bus", "tram") for fold in (1, 2)]
    assert [c.path for c in read.dataset.clips] == [
        line["path"] for line in _lines((folder / "manifest.jsonl").read_bytes())
    ]
    return sorted(itertools.chain(*found), key=json.dumps)


def _synthetic(folder: pathlib.Path) -> object:
    return generated.read_record(folder / "synthetic.json")


def _of_synthetic(content: bytes) -> object:
    record = json.loads(content)
    counts = {int(fold): int(n) for fold, n in record["clips_per_fold"].items()}
    return record["manifest_sha256"], counts


def _classifier(folder: pathlib.Path) -> object:
    stub = types.SimpleNamespace(describe=lambda: _CLASSIFIER, workdir="run")
    embedder.refuse_other_classifier(folder / "classifier.json", stub)
    return _CLASSIFIER


def _fingerprint(folder: pathlib.Path) -> object:
    """A damaged cache entry is none; else it is the one that was stored."""
    values = np.ones((2, 3), np.float32)
    cache.store(folder, _MADE_OF, iter([(values, 1.0, "d")]))
    (place,) = folder.glob("*/fingerprint.json")
    place.write_bytes((folder / "fingerprint.json").read_bytes())
    entry = cache.load(folder, _MADE_OF)
    assert entry is None or (entry.digests == ("d",) and entry.values.shape == (1, 2, 3))
    return "same or none"


def _logits(folder: pathlib.Path) -> object:
    lists, labels = stored_logits.read_logits(folder / "logits.npz")
    for one in lists.values():
        n = len(one.clips)
        assert one.logits.shape[-2:] == (n, len(labels)), one.logits.shape
        assert one.folds.shape == ((n,) if one.out_of_fold else one.logits.shape[:1])
        if one.labelled:
            scores.score(one, labels, rule="mean_logits", decision="argmax")
    _compared(folder)
    return "whole"


# By name of the record: what the package reads of a folder, and what stands there.
_READERS: dict[str, tuple[Callable, Callable]] = {
    "config.json": (_config, _of_config),
    "splits.json": (_splits, _of_splits),
    "metrics.jsonl": (
        _metrics,
        lambda content: [_without(line, *metrics_log.TIMED) for line in _lines(content)],
    ),
    "report.json": (_report, json.loads),
    "logits.npz": (_logits, lambda content: "whole"),
    "manifest.jsonl": (_manifest, lambda content: sorted(_lines(content), key=json.dumps)),
    "synthetic.json": (_synthetic, _of_synthetic),
    "sweep.json": (
        sweep_record.read_record,
        lambda content: {"data": {}, "command": "sweep", "lost": {}, "format": 1}
        | json.loads(content),
    ),
    "classifier.json": (
        _classifier,
        lambda content: _CLASSIFIER
        | {"parameters": json.loads(content)["parameters"]}
        | {"fields": _CLASSIFIER["fields"] | {
            f: v for f, v in json.loads(content)["fields"].items() if f in _CLASSIFIER["fields"]
        }},
    ),
    "starts.jsonl": (_starts, _lines),
    "fingerprint.json": (_fingerprint, lambda content: "same or none"),
}  # fmt: skip

JSON = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 5), st.integers(), st.floats(allow_nan=False),
    st.sampled_from(["", "1", "x", "\0", "\udce9", "../../x", "é"]), st.just([]), st.just({}),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.just("a"), st.integers()),
    st.sampled_from([10**400, float("nan"), float("inf")]),
)  # fmt: skip


class Record(NamedTuple):
    """A record, and what is done to it."""

    name: str
    kind: str
    places: tuple[float, ...]  # as shares, of the file or of each level
    value: object
    octets: bytes


RECORDS = st.builds(
    Record,
    st.sampled_from(sorted(_READERS)),
    st.sampled_from(
        ["value", "value", "value", "key deleted", "key added", "byte", "cut", "deep", "inserted",
         "other bytes", "UTF-16", "line twice"]
    ),
    st.tuples(*[st.floats(0, 1, exclude_max=True)] * 6),
    JSON,
    st.binary(min_size=1, max_size=12),
)  # fmt: skip


def damage(record: Record, content: bytes) -> bytes:
    """The content of a record after one blow."""
    place = int(record.places[0] * len(content))
    match record.kind:
        case "byte" | "cut" | "inserted":
            return strike(content, record.kind, place, record.octets)
        case "deep":
            return (b"[" if record.places[0] < 0.5 else b'{"a":') * 100_000
        case "other bytes":
            return record.octets
        case "UTF-16":
            return content.decode("latin-1").encode("utf-16")
    if record.name.endswith(".npz"):
        return _damage_arrays(record, content)
    if record.name.endswith(".jsonl"):
        lines = content.split(b"\n")[:-1]
        at = int(record.places[0] * len(lines))
        if record.kind == "line twice":
            lines.insert(at, lines[at])
        else:
            lines[at] = damage_json(record, lines[at])
        return b"\n".join(lines) + b"\n"
    return damage_json(record, content)


def damage_json(record, content: bytes) -> bytes:
    """One value of a JSON text is another one, or is gone.

    Args:
      record: what is done: `kind`, `places` and `value`, see `Record`.
      content: the text.
    """
    whole = {"": json.loads(content)}
    parent, key = whole, ""
    for share in record.places[1:]:
        inside = parent[key]
        if not isinstance(inside, (dict, list)) or not inside:
            break
        keys = list(inside) if isinstance(inside, dict) else range(len(inside))
        if share > 0.9 and parent is not whole:
            break
        parent, key = inside, keys[int(share * len(keys))]
    if record.kind == "key deleted" and parent is not whole:
        del parent[key]
    elif record.kind == "key added" and isinstance(parent, dict) and parent is not whole:
        parent["of a later version"] = record.value
    else:
        parent[key] = record.value
    return json.dumps(whole[""]).encode()


def _damage_arrays(record: Record, content: bytes) -> bytes:
    """One array of an npz file is another one, or is gone."""
    with np.load(io.BytesIO(content)) as stored:
        arrays = dict(stored)
    name = list(arrays)[int(record.places[1] * len(arrays))]
    others = (
        arrays[name][:-1], arrays[name][None], arrays[name].astype("U9"), np.array(3.0),
        arrays[name][:0], arrays[name].reshape(-1)[:7], np.array([None]), np.full(30, -1),
        arrays[name][::-1].T,
    )  # fmt: skip
    if record.kind == "key deleted":
        del arrays[name]
    elif record.kind == "key added":
        arrays["other/logits"] = arrays[name]
    else:
        arrays[name] = others[int(record.places[2] * len(others))]
    damaged = io.BytesIO()
    np.savez(damaged, **arrays)
    return damaged.getvalue()


def check_record(record: Record) -> str:
    """A damaged record is refused, or read as it stands there."""
    originals = _originals()
    content = damage(record, originals[record.name])
    reader, expected = _READERS[record.name]
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        for name, whole in originals.items():
            (place / name).write_bytes(content if name == record.name else whole)
        if record.name == "manifest.jsonl":
            (place / "splits.json").unlink()
        found, said = refusal(reader, place)
        if record.name in ("report.json", "manifest.jsonl", "corpora.json"):
            # A command that goes on asks these, and does again what is not done.
            jobs.is_scored(place, 1)
            (place / "clips").mkdir()
            shutil.copy(place / "manifest.jsonl", place / "clips")
            jobs.is_synthesized(place, place / "clips", 1)
    if said:
        return "refused"
    assert found == expected(content), (found, expected(content))
    return "read"
