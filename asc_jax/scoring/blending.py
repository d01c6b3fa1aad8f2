"""Ensembles of runs, from their stored logits. No JAX, no device.

A run's own folds are combined by `ensemble`; here runs are, that is, recipes or seeds.
Weights are fitted on out-of-fold logits, where every clip was scored by models that had not
seen it. A fold's model has no weight of its own: no clip is scored by two of them.
"""

from collections.abc import Callable

import numpy as np

from asc_jax.config.choices import ENSEMBLES
from asc_jax.runtime.errors import InputError
from asc_jax.stats.calibration import log_loss

_ROUNDS = 50
_TINY = 1e-30  # a probability, instead of 0
_GROUPS = 5


def blend(
    logits: np.ndarray, weights: np.ndarray | None = None, rule: str = "mean_logits"
) -> np.ndarray:
    """The runs' weighted mean.

    Args:
      logits: (R, ..., K) of R runs; or a run's folds, (F, n, K).
      weights: (R,) not negative, of sum 1; None for equal ones.
      rule: "mean_logits", or "mean_probabilities", whose logarithm serves as logits.

    Returns:
      (..., K).

    Raises:
      InputError: a logit is not finite.

    Source: the rules of `asc_jax.scoring.ensemble`, with weights.
    """
    from scipy.special import log_softmax, logsumexp

    _refuse_non_finite(logits)
    weights = np.full(len(logits), 1 / len(logits)) if weights is None else np.asarray(weights)
    if rule == "mean_logits":
        return np.tensordot(weights, logits, axes=1)
    if rule == "mean_probabilities":
        by_run = weights.reshape(-1, *(1,) * (logits.ndim - 1))
        return logsumexp(log_softmax(logits, axis=-1), axis=0, b=by_run)
    raise ValueError(f"no rule {rule!r}: one of {', '.join(ENSEMBLES)}")


def _refuse_non_finite(logits: np.ndarray) -> None:
    if not np.isfinite(logits).all():
        raise InputError("logits contain NaN or infinity; leave out their run")


def equal(logits: np.ndarray, targets: np.ndarray, rule: str = "mean_logits") -> np.ndarray:
    """(R,) equal weights; arguments as `fit_weights`."""
    return np.full(len(logits), 1 / len(logits))


def fit_weights(logits: np.ndarray, targets: np.ndarray, rule: str = "mean_logits") -> np.ndarray:
    """The weights of least log loss.

    The loss is convex in the weights under both rules, so there is one minimum.

    Args:
      logits: (R, n, K) out of fold.
      targets: (n,) class indices.
      rule: of `blend`.

    Returns:
      (R,) not negative, of sum 1.

    Raises:
      InputError: a logit is not finite.

    Source: van der Laan, Polley and Hubbard, "Super learner", 2007.
    """
    from scipy.optimize import LinearConstraint, minimize
    from scipy.special import log_softmax, softmax

    _refuse_non_finite(logits)
    logits = logits.astype(float)
    log_probabilities = log_softmax(logits, axis=-1)
    clips = np.arange(len(targets))
    truth = np.eye(logits.shape[-1])[targets]

    def loss_and_slope(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = blend(logits, np.maximum(weights, 1e-12), rule)
        if rule == "mean_logits":
            slope = np.einsum("rnk,nk->r", logits, softmax(mixed, axis=-1) - truth)
            return log_loss(mixed, targets), slope / len(targets)
        chosen = mixed[clips, targets]  # already a logarithm
        ratio = np.exp(log_probabilities[:, clips, targets] - chosen)
        return -chosen.mean(), -ratio.mean(axis=1)

    n_runs = len(logits)
    fitted = minimize(
        loss_and_slope,
        np.full(n_runs, 1 / n_runs),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * n_runs,
        constraints=LinearConstraint(np.ones((1, n_runs)), 1, 1),
        options={"maxiter": 500, "ftol": 1e-10},
    )
    weights = np.clip(fitted.x, 0, 1)
    return weights / weights.sum()


def select_greedily(
    logits: np.ndarray, targets: np.ndarray, rule: str = "mean_logits"
) -> np.ndarray:
    """Adds the run that helps most, again and again, with replacement.

    Class-wise accuracy decides, and among equals the log loss. Of the 50 ensembles on the
    way the best, and of equals the smallest, is taken.

    Args:
      logits: (R, n, K) out of fold.
      targets: (n,) class indices.
      rule: of `blend`.

    Returns:
      (R,) how often each run was added, as shares of 1.

    Raises:
      InputError: a logit is not finite.

    Source: Caruana et al., "Ensemble selection from libraries of models", 2004.
    """
    from scipy.special import log_softmax, softmax

    _refuse_non_finite(logits)
    averaged = logits.astype(float) if rule == "mean_logits" else softmax(logits, axis=-1)
    clips, n_clips = np.arange(len(targets)), np.bincount(targets)
    clip_weight = 1 / n_clips[targets] / np.count_nonzero(n_clips)
    total, counts = np.zeros(logits.shape[1:]), np.zeros(len(logits), int)
    best, kept = (-np.inf, -np.inf), counts
    for size in range(1, _ROUNDS + 1):
        mixed = (total + averaged) / size  # (R, n, K): with each run added
        if rule == "mean_logits":
            log_probabilities = log_softmax(mixed, axis=-1)
        else:
            log_probabilities = np.log(np.maximum(mixed, _TINY))
        accuracies = (mixed.argmax(axis=-1) == targets) @ clip_weight
        likelihoods = log_probabilities[:, clips, targets].mean(axis=1)
        # Rounded, so that sums in another order are no progress.
        merits = list(zip(accuracies.round(9), likelihoods.round(9), strict=True))
        added = max(range(len(logits)), key=merits.__getitem__)
        total, counts = total + averaged[added], counts + (np.arange(len(logits)) == added)
        if merits[added] > best:
            best, kept = merits[added], counts
    return kept / kept.sum()


FITS = {"equal": equal, "log_loss": fit_weights, "greedy": select_greedily}


def cross_fit(
    logits: np.ndarray,
    targets: np.ndarray,
    locations: np.ndarray,
    fit: Callable[..., np.ndarray],
    rule: str = "mean_logits",
) -> np.ndarray:
    """Blends out-of-fold logits so that they can be scored themselves.

    The locations are dealt into five groups; the clips of each are blended by weights that
    were fitted on the other four. (The fold models behind those had seen them, as in all
    stacking: this keeps the few weights honest, not every trace out.)

    Args:
      logits: (R, n, K) out of fold.
      targets: (n,) class indices.
      locations: (n,) any names.
      fit: one of `FITS`.
      rule: of `blend`.

    Returns:
      (n, K).

    Raises:
      InputError: all clips are of one location.
    """
    from sklearn.model_selection import GroupKFold

    n_groups = min(_GROUPS, len(np.unique(locations)))
    if n_groups < 2:
        raise InputError(
            "weights cannot be fitted and scored on clips of one location; use equal weights"
        )
    out = np.empty(logits.shape[1:])
    for fitted, scored in GroupKFold(n_groups).split(targets, groups=locations):
        weights = fit(logits[:, fitted], targets[fitted], rule)
        out[scored] = blend(logits[:, scored], weights, rule)
    return out
