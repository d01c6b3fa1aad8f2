"""A warm start: a run that begins with the weights of another run's models, and leaks nothing.

Each model begins with one that has heard neither the clips that it is scored on nor their
locations. `warm_start.json` of the run folder says which one that is, and what it had heard.
"""

import dataclasses
import functools
import json
import operator
import pathlib
import sys
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from asc_jax.data.folds import Split
from asc_jax.parallel import hosts
from asc_jax.parallel.agreement import read_by_first
from asc_jax.runs.checkpoint import digest_arrays
from asc_jax.runs.folder import read_trained_config
from asc_jax.runs.inputs import Clips
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json, reading, write_whole
from asc_jax.train import classifier
from asc_jax.train.classifier import ClassifierState, Model
from asc_jax.train.model import make_model
from asc_jax.train.restore import restore_chosen

NAME = "warm_start.json"

_FIELD = "train.init_from"


@dataclasses.dataclass(frozen=True)
class Heard:
    """What a model has trained on, or chosen its epoch by.

    Attributes:
      locations: of the clips.
      audio: digests of their files.
    """

    locations: frozenset[str] = frozenset()
    audio: frozenset[str] = frozenset()

    def __or__(self, other: "Heard") -> "Heard":
        return Heard(self.locations | other.locations, self.audio | other.audio)

    def as_json(self) -> dict:
        return {"locations": sorted(self.locations), "audio": sorted(self.audio)}


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """The models that a run begins with.

    Attributes:
      folder: of their run.
      state: of that run's folds, on the host.
      rows: of `state`, one for each model of the new run.
      record: for `warm_start.json`.
    """

    folder: pathlib.Path
    state: ClassifierState
    rows: tuple[int, ...]
    record: Mapping

    def apply(self, state: ClassifierState, model: Model) -> ClassifierState:
        """Puts weights and statistics in the place of initial ones, where the shapes are equal.

        Bands are standardised by the new run's own clips, whatever they were before.

        Args:
          state: of the new run's models before the first step, on the host.
          model: its functions.

        Raises:
          InputError: not one array fits.
        """
        ours, structure = jax.tree_util.tree_flatten_with_path(_weights(state))
        theirs = dict(jax.tree_util.tree_flatten_with_path(_weights(self.state))[0])
        leaves, drawn = [], []
        for path, leaf in ours:
            if path in theirs and _kind(theirs[path]) == _kind(leaf):
                leaves.append(theirs[path][np.array(self.rows)])
            else:
                leaves.append(leaf)
                drawn.append(jax.tree_util.keystr(path[1:], simple=True, separator="/"))
        if len(drawn) == len(ours):
            raise InputError(
                "not one array of that run has a place in this network; name a run of one like it",
                field=_FIELD,
                value=str(self.folder),
            )
        if hosts.is_first():
            rest = f"; drawn anew: {', '.join(drawn)}" if drawn else ""
            taken = f"{len(ours) - len(drawn)} of {len(ours)} arrays"
            print(f"{_FIELD}={self.folder}: {taken} are taken from there{rest}", file=sys.stderr)
        weights = jax.tree.unflatten(structure, leaves)
        # An optimizer may keep the parameters that it begins with.
        init = lambda own, params: model.optimizer(own).init(params)
        opt_state = jax.vmap(init)(state.hyperparameters, weights["params"])
        return state.replace(**weights, opt_state=jax.device_get(opt_state))

    def write(self, workdir: pathlib.Path) -> None:
        """Writes `warm_start.json` of a run that begins; all processes call it.

        Raises:
          InputError: the run has begun before, with other weights.
        """
        if not hosts.is_first():
            return
        path = workdir / NAME
        if path.exists() and _read_json(path)["weights"] != self.record["weights"]:
            raise InputError(
                f"the run has begun with other weights than {self.folder} has now; put those back, "
                "or use another --workdir",
                path=path,
            )
        write_whole(path, json.dumps(self.record) + "\n")


def open_warm_start(folder: str, clips: Clips, splits: Sequence[Split]) -> WarmStart:
    """Opens the run whose models another one begins with. Its data are not needed.

    Args:
      folder: of that run.
      clips: of the new run.
      splits: of its models; one begins with the model of its own fold's number where it can.

    Raises:
      InputError: it is no trained run; or a fold is scored on what each of its models has heard.
    """
    source = pathlib.Path(folder)
    config = read_trained_config(source, _FIELD)
    record, before = read_by_first(lambda: [_read_json(source / "splits.json"), _earlier(source)])
    n_classes = len({label for label, _ in record["clips"].values()})
    folds = [int(fold) for fold in record["folds"]]
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((len(folds), *leaf.shape), leaf.dtype),
        classifier.state_shapes(make_model(config, n_classes, n_steps=1)),
    )
    state, _, _ = restore_chosen(source, config, like)
    heard = {fold: _heard(record, fold) | _before(before, fold) for fold in folds}
    begins_with = {split.fold: _unheard(split, clips, heard, source) for split in splits}
    about = {
        "source": str(source.absolute()),
        "weights": digest_arrays(_weights(state)),
        "folds": {str(fold): theirs for fold, theirs in begins_with.items()},
        "heard": {str(fold): heard[theirs].as_json() for fold, theirs in begins_with.items()},
    }
    rows = tuple(folds.index(begins_with[split.fold]) for split in splits)
    return WarmStart(source, state, rows, about)


def heard_before(workdir: pathlib.Path) -> Heard:
    """What a run's models had heard, all of them together, before its first step."""
    earlier = _earlier(workdir)
    return functools.reduce(operator.or_, (_before(earlier, fold) for fold in earlier), Heard())


def _unheard(split: Split, clips: Clips, heard: Mapping[int, Heard], source: pathlib.Path) -> int:
    """The fold of a run of which the model has not heard what a new fold is scored on."""
    each = clips.dataset.clips
    scored = [*split.held_out, *clips.test]
    # Folds at random hear the locations that they are scored on anyway.
    places = {each[i].location for i in scored} - {each[i].location for i in split.train}
    audio = {clips.digests[i] for i in scored}
    known = {}
    for fold in sorted(heard, key=lambda fold: fold != split.fold):
        known[fold] = sorted(heard[fold].locations & places)
        if not known[fold] and not heard[fold].audio & audio:
            return fold
    named = next((f"location {one[0]!r}" for one in known.values() if one), "a clip")
    raise InputError(
        f"fold {split.fold} is scored on {named}, which every model of that run has heard; give "
        "both runs the same folds (folds.kind, folds.n_folds, folds.seed, folds.test_fold)",
        field=_FIELD,
        value=str(source),
    )


def _heard(record: Mapping, fold: int) -> Heard:
    """What a fold has heard, by its run's `splits.json`; one of format 1 may name no audio."""
    part, audio = record["folds"][str(fold)], record.get("audio", {})
    paths = [*part["train"], *part["inner"]]
    return Heard(
        frozenset(record["clips"][path][1] for path in paths),
        frozenset(audio[path] for path in paths if path in audio),
    )


def _earlier(workdir: pathlib.Path) -> dict:
    """What the models of a run had heard before it, by fold; nothing without a warm start."""
    path = workdir / NAME
    return _read_json(path)["heard"] if path.exists() else {}


def _before(earlier: Mapping, fold: int | str) -> Heard:
    """The same of one fold."""
    return Heard(**{name: frozenset(each) for name, each in earlier.get(str(fold), {}).items()})


def _weights(state: ClassifierState) -> dict:
    """What a warm start takes of a state, where it fits."""
    return {name: getattr(state, name) for name in ("params", "batch_stats", "collections")}


def _kind(leaf: np.ndarray) -> tuple:
    """Of one model's part of an array."""
    return leaf.shape[1:], leaf.dtype


def _read_json(path: pathlib.Path) -> dict:
    with reading(path):
        return parse_json(path.read_text(encoding="utf-8"))
