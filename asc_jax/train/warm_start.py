"""A warm start: a run that begins with the weights of another run's models, and leaks nothing.

Each model begins with one that has heard neither the clips that it is scored on nor their
locations. `warm_start.json` of the run folder says which one that is, and what it had heard.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from asc_jax.data.folds import Split
from asc_jax.parallel import hosts
from asc_jax.parallel.agreement import read_by_first
from asc_jax.runs.checkpoint import digest_arrays
from asc_jax.runs.inputs import Clips
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import reading, write_whole
from asc_jax.train.heard import WARM_START, Heard, earlier, heard, read_earlier, read_record
from asc_jax.train.recipe import Model
from asc_jax.train.state import ClassifierState
from asc_jax.train.trained import open_trained

_FIELD = "train.init_from"


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

    def refuse_unlike(self, state: ClassifierState) -> None:
        """Checks that there is something to take.

        Args:
          state: of the new run's models, or its shapes.

        Raises:
          InputError: not one array fits.
        """
        ours, _ = jax.tree_util.tree_flatten_with_path(_weights(state))
        theirs = dict(jax.tree_util.tree_flatten_with_path(_weights(self.state))[0])
        if not any(_kind(theirs.get(path)) == _kind(leaf) for path, leaf in ours):
            raise InputError(
                "no array of that run fits this network; name a run with a similar network",
                field=_FIELD,
                value=str(self.folder),
            )

    def apply(self, state: ClassifierState, model: Model) -> ClassifierState:
        """Puts weights and statistics in the place of initial ones, where the shapes are equal.

        Bands are standardised by the new run's own clips, whatever they were before.

        Args:
          state: of the new run's models before the first step, on the host.
          model: its functions.
        """
        ours, structure = jax.tree_util.tree_flatten_with_path(_weights(state))
        theirs = dict(jax.tree_util.tree_flatten_with_path(_weights(self.state))[0])
        leaves, drawn = [], []
        for path, leaf in ours:
            if _kind(theirs.get(path)) == _kind(leaf):
                leaves.append(theirs[path][np.array(self.rows)])
            else:
                leaves.append(leaf)
                drawn.append(jax.tree_util.keystr(path[1:], simple=True, separator="/"))
        if hosts.is_first():
            rest = f"; drawn anew: {', '.join(drawn)}" if drawn else ""
            taken = f"{len(ours) - len(drawn)} of {len(ours)} arrays"
            print(f"{_FIELD}={self.folder}: {taken} are copied from there{rest}", file=sys.stderr)
        weights = jax.tree.unflatten(structure, leaves)
        # An optimizer may keep the parameters that it begins with.
        init = lambda own, params: model.optimizer(own).init(params)
        opt_state = jax.vmap(init)(state.hyperparameters, weights["params"])
        begun = state.replace(**weights, opt_state=jax.device_get(opt_state))
        if model.averaging:
            average = jax.vmap(model.averaging.begin)(begun.params, begun.untrained)
            begun = begun.replace(average=jax.device_get(average))
        return begun

    def write(self, workdir: pathlib.Path) -> None:
        """Writes `warm_start.json` of a run that begins; all processes call it.

        Raises:
          InputError: the run has begun before, with other weights.
        """
        if not hosts.is_first():
            return
        path = workdir / WARM_START
        if path.exists() and read_record(path)["weights"] != self.record["weights"]:
            raise InputError(
                f"the run was started from other weights than {self.folder} has now; restore "
                "those, or use another --workdir",
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
    run = open_trained(source, _FIELD)
    record, folds, state = run.record, run.folds, run.state
    before = read_by_first(lambda: read_earlier(source, run.config))
    with reading(source / "splits.json"):  # one of an earlier version has no digests
        trained = {fold: heard(record, fold, "train") | earlier(before, fold) for fold in folds}
        chosen = {fold: heard(record, fold, "inner") for fold in folds}
    begins_with = {split.fold: _match(split, clips, trained, chosen, source) for split in splits}
    known = {fold: trained[theirs] | chosen[theirs] for fold, theirs in begins_with.items()}
    about = {
        "source": str(source.absolute()),
        "weights": digest_arrays(_weights(state)),
        "folds": {str(fold): theirs for fold, theirs in begins_with.items()},
        "heard": {str(fold): one.as_json() for fold, one in known.items()},
    }
    rows = tuple(folds.index(begins_with[split.fold]) for split in splits)
    return WarmStart(source, state, rows, about)


def _match(
    split: Split,
    clips: Clips,
    trained: Mapping[int, Heard],
    chosen: Mapping[int, Heard],
    source: pathlib.Path,
) -> int:
    """The fold of a run whose model has heard nothing that a new fold is scored on.

    Nor may it have trained on what the new fold's epoch is chosen by; its own may have been.
    """
    each = clips.dataset.clips
    # Folds at random hear the locations that they are scored on anyway.
    own = {each[i].location for i in (*split.train, *split.inner)}
    scored, inner = [*split.held_out, *clips.test], split.inner
    places, audio = {each[i].location for i in scored} - own, {clips.digests[i] for i in scored}
    inner_places = {each[i].location for i in inner} - {each[i].location for i in split.train}
    inner_audio = {clips.digests[i] for i in inner}
    found = ""
    for fold in sorted(trained, key=lambda fold: fold != split.fold):
        all_heard = trained[fold] | chosen[fold]
        known = (all_heard.locations & places) | (trained[fold].locations & inner_places)
        if not known and not all_heard.audio & audio and not trained[fold].audio & inner_audio:
            return fold
        found = found or (f"location {min(known)!r}" if known else "a clip")
    raise InputError(
        f"fold {split.fold} is scored on {found}, or chooses its epoch by it, but every "
        "model of that run was trained on it or chose its epoch by it; give both runs "
        "the same folds (folds.*)",
        field=_FIELD,
        value=str(source),
    )


def _weights(state: ClassifierState) -> dict:
    """What a warm start takes of a state, where it fits."""
    return {name: getattr(state, name) for name in ("params", "batch_stats", "collections")}


def _kind(leaf) -> tuple | None:
    """Of one model's part of an array; None of none."""
    return None if leaf is None else (leaf.shape[1:], leaf.dtype)
