"""The state of a fold's model in training, and how it begins."""

from collections.abc import Callable, Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from asc_jax.data.folds import Split
from asc_jax.data.normalisation import by_own_moments, standardisation
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, compile_once, map_folds
from asc_jax.parallel.programs import name_program
from asc_jax.runtime.backend import PLATFORMS
from asc_jax.train.averaging import Average
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.recipe import Model

INITIAL = 2**32 - 1  # what a fold's key becomes for its initial values: beyond every step


@flax.struct.dataclass
class ClassifierState:
    """One fold's model in training; all folds' with a leading F axis on every leaf.

    Attributes:
      step: () int32, steps done.
      params: the network's parameters.
      batch_stats: its moving statistics.
      collections: its other variables that no gradient trains, by collection.
      opt_state: the optimizer's.
      hyperparameters: that it trains with.
      key_data: (2,) uint32, the fold's random key.
      band_mean: (M,) float32, subtracted from the log-mels.
      band_std: (M,) float32, by which they are then divided; infinite where a band is masked,
        so that it is 0 in every clip that this state trains on or answers for.
      per_clip: no array: whether each clip is standardised by its own moments before.
      class_weights: (K,) float32, by which the loss of each class's examples is multiplied; None
        for no weights.
      average: the averaged network, which is scored in place of the one in training; None for no
        average.
    """

    step: jax.Array
    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    hyperparameters: Hyperparameters
    key_data: jax.Array
    band_mean: jax.Array
    band_std: jax.Array
    per_clip: bool = flax.struct.field(pytree_node=False, default=False)
    collections: dict = flax.struct.field(default_factory=dict)
    class_weights: jax.Array | None = None
    average: Average | None = None

    @property
    def scored(self) -> "ClassifierState":
        """The state with the variables of the network that answers: the averaged one, if any."""
        if self.average is None:
            return self
        collections = dict(self.average.untrained)
        return self.replace(
            params=self.average.params,
            batch_stats=collections.pop("batch_stats", {}),
            collections=collections,
            average=None,
        )

    @property
    def untrained(self) -> dict:
        """The variables that no gradient trains, by collection."""
        statistics = {"batch_stats": self.batch_stats} if self.batch_stats else {}
        return statistics | self.collections

    @property
    def variables(self) -> dict:
        """What the network is applied with."""
        return {"params": self.params} | self.untrained

    def standardise(self, log_mel: jax.Array) -> jax.Array:
        """(..., N, M) log-mels as the network takes them."""
        if self.per_clip:
            log_mel = by_own_moments(log_mel, masked=jnp.isinf(self.band_std))
        return (log_mel - self.band_mean) / self.band_std


def init_fold(
    key: jax.Array,
    hyperparameters: Hyperparameters,
    band_mean: jax.Array,
    band_std: jax.Array,
    class_weights: jax.Array | None = None,
    *,
    model: Model,
) -> ClassifierState:
    """One fold's state before training.

    Args:
      key: the fold's random key.
      hyperparameters: that it trains with.
      band_mean: (M,), see `ClassifierState`, as the next two.
      band_std: (M,).
      class_weights: (K,), or None.
      model: its initialisers see a clip of zeros.

    Returns:
      The state, which a function of `jax.jit` can make.
    """
    clip = jnp.zeros((1, *model.input_shape))
    variables = model.network.init(jax.random.fold_in(key, INITIAL), clip, train=False)
    variables = dict(variables)
    params = variables.pop("params")
    average = model.averaging.begin(params, variables) if model.averaging else None
    return ClassifierState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.pop("batch_stats", {}),
        opt_state=model.optimizer(hyperparameters).init(params),
        hyperparameters=jax.tree.map(jnp.float32, hyperparameters),
        key_data=jax.random.key_data(key),
        band_mean=band_mean,
        band_std=band_std,
        per_clip=model.normalisation == "clip",
        collections=variables,
        class_weights=class_weights,
        average=average,
    )


def init_state(
    model: Model,
    members: Sequence[tuple[Split, int, Hyperparameters]],
    moments: tuple[np.ndarray, np.ndarray],
    mesh: Mesh,
    *,
    masked: np.ndarray | bool = False,
    class_weights: Sequence[np.ndarray | None] = (),
) -> ClassifierState:
    """Draws the state of all folds before training, each on its own devices.

    Args:
      model: that they have in common.
      members: the split, the seed and the hyperparameters of each. The folds of a seed draw
        different initial values from it. Bands are standardised by a split's own training clips,
        the recorded ones alone: what is scored is recorded, and generated clips, which hold
        nothing in the upper bands, would move those bands' mean and widen them.
      moments: `band_moments` of the recorded clips.
      mesh: of the folds.
      masked: (M,) bands that are 0 in every clip.
      class_weights: (K,) of each member, or None; () for none.

    Returns:
      The stacked state: every leaf (F, ...), `PER_FOLD`.
    """
    each = [
        (
            jax.random.key_data(jax.random.fold_in(jax.random.key(seed), split.fold)),
            own,
            *standardisation(moments, split.train, kind=model.normalisation, masked=masked),
            weights,
        )
        for (split, seed, own), weights in zip(
            members, class_weights or [None] * len(members), strict=True
        )
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    init = lambda key, *rest: init_fold(jax.random.wrap_key_data(key), *rest, model=model)
    # One after the other: the values that a fold draws do not depend on how many there are.
    init = map_folds(init, mesh, in_specs=(PER_FOLD,) * 5, out_specs=PER_FOLD, in_turn=PLATFORMS)
    return init(*put(stacked, mesh, PER_FOLD))


def state_shapes(model: Model) -> ClassifierState:
    """The shapes of one fold's state. Nothing is computed."""
    return _compile_init().eval_shape(*_init_shapes(model), model=model)


def name_init(model: Model) -> str | None:
    """Names what draws initial values; see `programs.name_program`."""
    return name_program(_compile_init(), *_init_shapes(model), model=model)


def _compile_init() -> Callable:
    return compile_once(init_fold, static=["model"])


def _init_shapes(model: Model) -> tuple:
    band, weights = (
        jax.ShapeDtypeStruct((n,), jnp.float32) for n in (model.input_shape[1], model.n_classes)
    )
    weights = (weights,) if model.balanced else ()
    return jax.random.key(0), Hyperparameters(0.0), band, band, *weights
