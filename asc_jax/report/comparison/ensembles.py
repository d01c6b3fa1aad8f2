"""Ensembles across runs, as further rows of the table."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from asc_jax.report.comparison.answers import Answers, ClipList, decide, gather
from asc_jax.report.comparison.folders import Row
from asc_jax.runtime.errors import InputError
from asc_jax.scoring.alignment import refuse_shared_locations
from asc_jax.scoring.blending import FITS, blend, cross_fit

# name on the command line -> its name in the table, how weights are fitted, what is averaged
KINDS = {
    "mean_logits": ("mean of logits", "equal", "mean_logits"),
    "mean_probabilities": ("mean of probabilities", "equal", "mean_probabilities"),
    "weighted": ("weighted mean of logits", "log_loss", "mean_logits"),
    "greedy": ("greedy selection", "greedy", "mean_logits"),
}
_OUT_OF_FOLD = "out_of_fold"


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """An ensemble of all runs.

    Attributes:
      name: unlike the rows'.
      answers: of one "seed".
      members: (name of the run, its weight), in the order of the runs.
      cross_fitted: whether each clip was scored by weights that other locations gave; then
        `members` says what all locations give.
    """

    name: str
    answers: Answers
    members: tuple[tuple[str, float], ...]
    cross_fitted: bool


def build(
    kinds: Sequence[str], rows: Sequence[Row], listed: ClipList, answers: Sequence[Answers]
) -> list[Ensemble]:
    """The ensembles of all runs of all rows.

    Weights are fitted on out-of-fold logits. On that list itself they are cross-fitted over
    locations; on another one they are fitted once.

    Args:
      kinds: of `KINDS`.
      rows: the runs.
      listed: the clips to score.
      answers: of the rows on them.

    Raises:
      InputError: there are not two runs, or weights cannot be fitted on other locations.
    """
    runs = [run for row in rows for run in row.runs]
    if kinds and len(runs) < 2:
        raise InputError("needs at least two runs; name more", field="--ensemble")
    logits = np.concatenate([one.logits for one in answers])
    fitted_on, fitting = listed, logits
    if listed.name != _OUT_OF_FOLD and any(KINDS[kind][1] != "equal" for kind in kinds):
        if lacking := [run for run in runs if _OUT_OF_FOLD not in run.lists]:
            raise InputError("has no out-of-fold logits to fit weights on", path=lacking[0].path)
        fitted_on, theirs = gather(rows, _OUT_OF_FOLD)
        fitting = np.concatenate([one.logits for one in theirs])
        refuse_shared_locations(fitted_on.clips, listed.clips)
    names = [
        f"{row.name}, seed {run.config.get('seed')}" if len(row.runs) > 1 else row.name
        for row in rows
        for run in row.runs
    ]
    made = []
    for kind in kinds:
        title, fit, rule = KINDS[kind]
        weights = FITS[fit](fitting, fitted_on.targets, rule)
        crossed = fit != "equal" and fitted_on is listed
        if crossed:
            blended = cross_fit(logits, listed.targets, listed.locations, FITS[fit], rule)
        else:
            blended = blend(logits, weights, rule)
        one = Answers(blended[None], decide(blended)[None])
        members = tuple(zip(names, weights.tolist(), strict=True))
        made.append(Ensemble(f"{title} of {len(runs)} runs", one, members, crossed))
    return made
