"""A trained run as a function of waveforms: the ensemble of its folds, without training data."""

import contextlib
import dataclasses
import logging
import os
import pathlib
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from asc_jax.config.load import frontend_config
from asc_jax.frontend import Frontend, frontend_function
from asc_jax.inference.asking import Recogniser
from asc_jax.runs import provenance
from asc_jax.runs.inputs import decoding_of, make_network
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.precision import multiplying, products_of
from asc_jax.scoring import ensemble
from asc_jax.train.classifier import ClassifierState
from asc_jax.train.start import describe_use
from asc_jax.train.trained import open_trained


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TrainedModel(Recogniser):
    """The models of a run's folds, asked together.

    Attributes:
      folds: the numbers of the folds that are asked.
      rule: of `ensemble.RULES`, by which their logits become one answer.
      state: of these folds, on the device.
      network: that their variables are applied by.
      frontend: waveform to log-mel.
      n_frames: log-mel frames of a window that are kept, from the first; 0 for all.
      products: how float32 is multiplied, see `runtime.precision`.
    """

    folds: tuple[int, ...]
    rule: str
    state: ClassifierState
    network: nn.Module
    frontend: Frontend
    n_frames: int
    products: str

    def logits(self, waveforms: jax.Array) -> jax.Array:
        """Each fold's logits: (B, T) float32 at `sr` -> (F, B, K) float32.

        Raises:
          InputError: waveforms of another number of axes.
        """
        if jnp.ndim(waveforms) != 2:
            raise InputError(
                f"have the shape {jnp.shape(waveforms)}; give (windows, samples)", field="waveforms"
            )

        def of_all(state, waveforms):
            features = frontend_function(self.frontend)(waveforms)
            if waveforms.shape[-1] == self.n_samples:
                features = features[:, : self.n_frames or None]
            one = lambda state: self.network.apply(
                state.variables, state.standardise(features), train=False
            )
            return jax.vmap(one)(state)

        return multiplying(of_all, self.products)(self.state, waveforms)

    def apply(self, waveforms: jax.Array) -> jax.Array:
        """See `Recogniser.apply`."""
        return jax.nn.softmax(ensemble.RULES[self.rule](self.logits(waveforms)), axis=-1)

    def by_fold(self, waveforms: jax.Array) -> jax.Array:
        """The probabilities of the ensemble and, behind it, of each fold's model.

        Args:
          waveforms: see `apply`.

        Returns:
          (1 + F, B, K) float32, folds in the order of `folds`.
        """
        logits = self.logits(waveforms)
        both = jnp.concatenate([ensemble.RULES[self.rule](logits)[None], logits])
        return jax.nn.softmax(both, axis=-1)


def portable(model: TrainedModel) -> Callable[[jax.Array], jax.Array]:
    """`model.apply` out of operations that any compiler knows: folds one by one, plain layers.

    To be traced on `backend.any_platform()`.
    """
    network = model.network
    if "conv" in {field.name for field in dataclasses.fields(network)}:
        network = network.clone(conv=nn.Conv)
    state_of = lambda i: jax.tree.map(lambda leaf: leaf[i], model.state)
    states = [state_of(i) for i in range(len(model.folds))]

    def apply(waveforms):
        features = frontend_function(model.frontend)(waveforms)[:, : model.n_frames or None]
        logits = [
            network.apply(state.variables, state.standardise(features), train=False)
            for state in states
        ]
        return jax.nn.softmax(ensemble.RULES[model.rule](jnp.stack(logits)), axis=-1)

    return apply


def load(
    folder: str | os.PathLike, *, fold: int = 0, other_functions: bool = False
) -> TrainedModel:
    """Opens a trained run for recordings that it has not seen.

    Args:
      folder: the run's, as `asc-jax train` leaves it.
      fold: the number of one fold whose model is asked; 0 for the ensemble of all.
      other_functions: open it though the functions that trained it have changed since.

    Raises:
      InputError: it is no trained run, has no such fold, or its functions have changed.
    """
    with _quiet():
        run = open_trained(pathlib.Path(folder), "MODEL")
    if fold and fold not in run.folds:
        raise InputError(
            f"has the folds {', '.join(map(str, run.folds))}; name one of these, or 0 for all",
            path=folder,
            field="fold",
            value=fold,
        )
    decoding = decoding_of(run.config)
    now = describe_use(run.config, run.model, decoding)
    mend = "take the version of asc_jax that made it"
    provenance.refuse_another(
        run.folder, now, step=run.progress.step, allowed=other_functions, mend=mend
    )
    rows = np.array([i for i, number in enumerate(run.folds) if fold in (0, number)])
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), run.state.replace(opt_state=()))
    return TrainedModel(
        labels=run.labels,
        sr=decoding.frontend.sr,
        n_samples=decoding.n_samples,
        folds=tuple(run.folds[i] for i in rows),
        rule=run.config.ensemble.rule,
        state=state,
        network=make_network(run.config, len(run.labels), axis_name=None),
        frontend=frontend_config(run.config),
        n_frames=run.config.data.n_frames,
        products=products_of(run.config.train.precision),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Orbax from warning that a folder is only read."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
