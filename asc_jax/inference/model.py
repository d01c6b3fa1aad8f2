"""A trained run as a function of waveforms: the ensemble of its folds, without training data."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import sys
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from asc_jax.config.load import frontend_config
from asc_jax.frontend import Frontend, frontend_function
from asc_jax.inference.asking import JaxRecogniser
from asc_jax.runs import provenance
from asc_jax.runs.inputs import crops_of, decoding_of, input_samples, kept_frames, make_network
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.precision import multiplying, products_of
from asc_jax.scoring import ensemble
from asc_jax.train.recipe import Model
from asc_jax.train.start import describe_use
from asc_jax.train.state import ClassifierState
from asc_jax.train.trained import open_trained


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TrainedModel(JaxRecogniser):
    """Classifies with the models of a run's folds as an ensemble.

    Attributes:
      folds: the numbers of the folds.
      rule: a key of `ensemble.RULES`, which combines the logits of the folds.
      state: the state of these folds, on the device.
      network: the module of these folds.
      frontend: waveform to log-mel.
      n_frames: log-mel frames of a window that are kept, from the first; 0 for all.
      products: how float32 is multiplied, see `runtime.precision`.
      config: the config of the run.
      made_by: the functions that compute the results, see `provenance.describe`.
    """

    folds: tuple[int, ...]
    rule: str
    state: ClassifierState
    network: nn.Module
    frontend: Frontend
    n_frames: int
    products: str
    config: ml_collections.FrozenConfigDict
    made_by: dict

    def logits(self, waveforms: jax.Array) -> jax.Array:
        """Computes each fold's logits: (B, T) float32 at `sr` -> (F, B, K) float32.

        Raises:
          InputError: the waveforms have another number of axes.
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
        """See `JaxRecogniser.apply`."""
        return jax.nn.softmax(ensemble.RULES[self.rule](self.logits(waveforms)), axis=-1)

    def by_fold(self, waveforms: jax.Array) -> jax.Array:
        """Computes the probabilities of the ensemble and then of each fold's model.

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
    done, wanted = run.progress.epochs, run.config.train.epochs
    if done < wanted:
        print(f"{folder}: training is not finished: epoch {done} of {wanted}", file=sys.stderr)
    if fold and fold not in run.folds:
        raise InputError(
            f"has the folds {', '.join(map(str, run.folds))}; name one of these, or 0 for all",
            path=folder,
            field="fold",
            value=fold,
        )
    rows = np.array([i for i, number in enumerate(run.folds) if fold in (0, number)])
    state = jax.tree.map(lambda leaf: leaf[rows], run.state.replace(opt_state=()))
    model = assemble(run.config, run.labels, tuple(run.folds[i] for i in rows), run.model, state)
    provenance.refuse_another(
        run.folder, model.made_by, step=run.progress.step, allowed=other_functions
    )
    return model


def assemble(
    config, labels: tuple[str, ...], folds: tuple[int, ...], model: Model, state: ClassifierState
) -> TrainedModel:
    """Puts a trained model together.

    Args:
      config: of the run.
      labels: the classes.
      folds: the numbers of the folds, in the order of the state's leading axis.
      model: the functions of the run.
      state: of these folds, on the host.
    """
    crops = crops_of(config)
    return TrainedModel(
        labels=labels,
        sr=config.frontend.sr,
        n_samples=input_samples(config),
        hop_samples=crops.hop if crops else input_samples(config),
        folds=folds,
        rule=config.ensemble.rule,
        state=jax.tree.map(jnp.asarray, state),
        network=make_network(config, len(labels), axis_name=None),
        frontend=frontend_config(config),
        n_frames=kept_frames(config),
        products=products_of(config.train.precision),
        config=config,
        made_by=describe_use(config, model, decoding_of(config)),
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
