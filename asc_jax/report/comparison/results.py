"""The scores of rows of runs, and how each differs from a reference."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from asc_jax.report.comparison import ensembles
from asc_jax.report.comparison.answers import Answers, ClipList, choose_list, common_lists, gather
from asc_jax.report.comparison.folders import Row, read_rows
from asc_jax.runtime.errors import InputError
from asc_jax.scoring.scores import groups
from asc_jax.stats.calibration import Reliability, brier_score, log_loss, reliability
from asc_jax.stats.comparison import Comparison, compare
from asc_jax.stats.scores import Score, confusion_matrix, scores_by_location
from asc_jax.stats.significance import CORRECTIONS, levels

ALPHA = 0.05
MEASURES = ("class_wise_accuracy", "accuracy")


@dataclasses.dataclass(frozen=True)
class Difference:
    """From the reference.

    Attributes:
      comparison: of one measure.
      p: of the comparison, corrected for those of the other rows.
      detectable: the true difference that would be found 80 times of 100, so corrected; see
        `significance.levels`.
    """

    comparison: Comparison
    p: float
    detectable: float

    @property
    def verdict(self) -> int:
        """1 better, -1 worse, 0 where no difference was shown."""
        return int(np.sign(self.comparison.difference)) if self.p < ALPHA else 0


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How well the probabilities are calibrated, over the answers of all seeds."""

    diagram: Reliability
    log_loss: float
    brier_score: float


@dataclasses.dataclass(frozen=True)
class Result:
    """A row's scores.

    Attributes:
      name: of the row.
      row: its runs; None for an ensemble of all of them.
      scores: measure -> the mean over seeds, with an interval over locations.
      by_seed: measure -> (S,) of each seed.
      per_class: K recalls, averaged over seeds.
      groups: "city" or "device" -> name -> class-wise accuracy there.
      confusion: (K, K) clips, averaged over seeds; rows true, columns predicted.
      calibration: of the probabilities.
      differences: measure -> from the reference; empty for the reference.
    """

    name: str
    row: Row | None
    scores: Mapping[str, Score]
    by_seed: Mapping[str, tuple[float, ...]]
    per_class: tuple[Score, ...]
    groups: Mapping[str, Mapping[str, Score]]
    confusion: np.ndarray
    calibration: Calibration
    differences: Mapping[str, Difference]


@dataclasses.dataclass(frozen=True)
class Results:
    """A table of rows.

    Attributes:
      paths: the folders that were named.
      listed: the clips.
      other_lists: further lists with labels that all runs have.
      results: of the rows, then of the ensembles.
      reference: index into `results`.
      correction: of `significance.CORRECTIONS`.
      ensembles: as many as the last of the results.
      left_out: folders of runs that are not finished.
    """

    paths: tuple[pathlib.Path, ...]
    listed: ClipList
    other_lists: tuple[str, ...]
    results: tuple[Result, ...]
    reference: int
    correction: str
    ensembles: tuple[ensembles.Ensemble, ...]
    left_out: tuple[str, ...]

    @property
    def rows(self) -> list[Result]:
        """Those that are no ensembles."""
        return [result for result in self.results if result.row]

    @property
    def about_recipes(self) -> bool:
        """Whether some comparison knows of other seeds."""
        return any(comparison.about_recipes for comparison in self._comparisons)

    @property
    def two_seeds(self) -> bool:
        """Whether some comparison knows of other seeds by two of a setting alone."""
        return any(one.about_recipes and max(one.n_seeds) == 2 for one in self._comparisons)

    @property
    def _comparisons(self) -> list[Comparison]:
        return [one.comparison for row in self.others for one in row.differences.values()]

    @property
    def others(self) -> list[Result]:
        """Those that are compared with the reference."""
        return [result for i, result in enumerate(self.results) if i != self.reference]


def compare_runs(
    paths: Sequence[pathlib.Path],
    *,
    reference: str = "",
    list_name: str = "",
    kinds: Sequence[str] = (),
    correction: str = "holm",
    finished_only: bool = False,
) -> Results:
    """Compares runs, for the table and the page.

    Args:
      paths: run folders and folders of sweeps.
      reference: the name of a row or the folder of its run; "" for the first sweep's base,
        else the first row.
      list_name: name of the list of clips; "" for "test", or else "out_of_fold".
      kinds: kinds of ensembles to add, from `ensembles.KINDS`.
      correction: a key of `significance.CORRECTIONS`.
      finished_only: leave out unfinished runs of a sweep.

    Raises:
      InputError: the runs cannot be compared, or the reference is not one of them.
    """
    rows, left_out = read_rows(paths, finished_only=finished_only)
    chosen = find_reference(rows, reference)
    listed, answers = gather(rows, choose_list(rows, list_name))
    built = ensembles.build(tuple(dict.fromkeys(kinds)), rows, listed, answers)
    named = [(row.name, row, own) for row, own in zip(rows, answers, strict=True)]
    named += [(one.name, None, one.answers) for one in built]
    differences = _differences(listed, named, chosen, correction)
    results = tuple(
        _result(name, row, own, listed, different)
        for (name, row, own), different in zip(named, differences, strict=True)
    )
    others = tuple(name for name in common_lists(rows) if name != listed.name)
    return Results(
        tuple(paths), listed, others, results, chosen, correction, tuple(built), tuple(left_out)
    )


def find_reference(rows: Sequence[Row], reference: str) -> int:
    """The index of the row that the others are compared with.

    Raises:
      InputError: it is none of them.
    """
    if not reference:
        return next((i for i, row in enumerate(rows) if row.base), 0)
    place = pathlib.Path(reference).resolve()
    for i, row in enumerate(rows):
        if reference == row.name or row.folder.resolve() == place:
            return i
    names = ", ".join(row.name for row in rows)
    raise InputError(f"is not among the runs; one of {names}", field="--reference", value=reference)


def _differences(
    listed: ClipList,
    named: Sequence[tuple[str, Row | None, Answers]],
    reference: int,
    correction: str,
) -> list[dict[str, Difference]]:
    others = [i for i in range(len(named)) if i != reference]
    found = [{} for _ in named]
    _, first, answers = named[reference]
    for measure in MEASURES:
        comparisons = [
            compare(
                listed.targets,
                answers.classes,
                named[i][2].classes,
                listed.locations,
                len(listed.scene_labels),
                measure=measure,
                runs=_relation(first, named[i][1]),
            )
            for i in others
        ]
        if others:
            p = np.array([one.p for one in comparisons])
            corrected, alphas = CORRECTIONS[correction](p), levels(p, ALPHA, correction)
            for i, one, own, alpha in zip(others, comparisons, corrected, alphas, strict=True):
                detectable = min(1.0, one.detectable(alpha=float(alpha)))
                found[i][measure] = Difference(one, float(own), detectable)
    return found


def _relation(reference: Row | None, other: Row | None) -> str:
    """How the runs of two rows belong together; see `compare`."""
    if reference is None or other is None:
        return "fixed"  # an ensemble of these very models
    same = len(reference.runs) == len(other.runs) and all(
        _training(one.config) == _training(two.config)
        for one, two in zip(reference.runs, other.runs, strict=True)
    )
    return "paired" if same else "independent"


def _training(config: Mapping[str, object]) -> dict[str, object]:
    """The fields that a model's training has followed, the seed included."""
    return {
        field: value
        for field, value in config.items()
        if field != "title" and not field.startswith("ensemble.")
    }


def _result(
    name: str, row: Row | None, own: Answers, listed: ClipList, different: Mapping
) -> Result:
    n_classes = len(listed.scene_labels)

    def scores(classes: np.ndarray, where=slice(None)) -> tuple[dict[str, Score], list[Score]]:
        overall, class_wise, recalls = scores_by_location(
            listed.targets[where], classes[:, where], listed.locations[where], n_classes
        )
        return {"class_wise_accuracy": class_wise, "accuracy": overall}, recalls

    values, recalls = scores(own.classes)
    single = [scores(one[None])[0] for one in own.classes]
    confusions = [confusion_matrix(listed.targets, one, n_classes) for one in own.classes]
    return Result(
        name,
        row,
        values,
        {measure: tuple(one[measure].value for one in single) for measure in MEASURES},
        tuple(recalls),
        {
            field: {
                group: scores(own.classes, where)[0]["class_wise_accuracy"]
                for group, where in groups(listed.clips, field).items()
            }
            for field in ("city", "device")
        },
        np.mean(confusions, axis=0),
        _calibration(own, listed),
        different,
    )


def _calibration(own: Answers, listed: ClipList) -> Calibration:
    from scipy.special import softmax

    logits = own.logits.reshape(-1, own.logits.shape[-1]).astype(float)
    targets = np.tile(listed.targets, len(own.logits))
    probabilities = softmax(logits, axis=-1)
    return Calibration(
        reliability(probabilities, targets),
        log_loss(logits, targets),
        brier_score(probabilities, targets),
    )
