"""The classifier: what its folds have in common, the state and the steps of one fold.

`train_step` and `eval_step` know one fold and its share of the batch; `compile_steps` maps
them over folds and devices.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from asc_jax.data.folds import Split
from asc_jax.data.normalisation import by_own_moments, standardisation
from asc_jax.data.pool import Pool
from asc_jax.models.dropout import DROPOUT_STREAM
from asc_jax.ops.global_norm import global_norm
from asc_jax.parallel.arrays import put, shapes_per_fold
from asc_jax.parallel.mapping import (
    PER_EXAMPLE,
    PER_FOLD,
    PER_STEP,
    SHARED,
    compile_once,
    map_folds,
)
from asc_jax.parallel.mesh import DATA, one_device
from asc_jax.parallel.programs import name_program
from asc_jax.runtime.backend import PLATFORMS
from asc_jax.train.averaging import Average, of_batch
from asc_jax.train.examples import scored_windows, training_examples
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.recipe import Model

# What a step's key becomes for dropout, and a fold's for its initial values: beyond every place
# in a batch, and beyond every step.
_DROPOUT = _INITIAL = 2**32 - 1
_OTHER_STREAMS = _DROPOUT - 1

# What a fold's key becomes for the statistics of its averaged network: beyond every step.
_STATISTICS = _INITIAL - 1


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


@flax.struct.dataclass
class BestEpoch:
    """The variables of a fold's best epoch by the score of its inner clips."""

    params: dict
    batch_stats: dict
    score: jax.Array  # () float32, class-wise accuracy; -1 before the first
    epoch: jax.Array  # () int32, from 1
    collections: dict = flax.struct.field(default_factory=dict)


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
    variables = model.network.init(jax.random.fold_in(key, _INITIAL), clip, train=False)
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


def train_step(
    state: ClassifierState,
    pool: Pool,
    clips: jax.Array,
    *,
    model: Model,
    skip_non_finite: bool,
) -> tuple[ClassifierState, dict[str, jax.Array]]:
    """One optimizer step of one fold.

    Args:
      state: the fold's.
      pool: the clips.
      clips: (B, 2) int32 indices into the pool: each example and its mixup partner; (B, 1)
        without mixup.
      model: the functions of the step.
      skip_non_finite: leave parameters, statistics and the optimizer's state as they are
        where the loss or the gradient is not finite; the step is counted all the same.

    Returns:
      The next state; "loss", "accuracy" and "gradient_norm", the global one before any
      clipping, over the fold's whole batch.
    """
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), state.step)
    inputs, targets = training_examples(model, state.standardise, pool, clips, key)
    if model.accumulate == 1:
        updated, (loss, logits, grads) = _gradient(
            state, state.untrained, inputs, targets, key, model=model
        )
    else:
        parts = jax.tree.map(
            lambda leaf: leaf.reshape(model.accumulate, -1, *leaf.shape[1:]), (inputs, targets)
        )
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(model.accumulate))
        updated, of_parts = jax.lax.scan(
            lambda untrained, part: _gradient(state, untrained, *part, model=model),
            state.untrained,
            (*parts, keys),
        )
        losses, logits, grads = of_parts
        logits = logits.reshape(-1, *logits.shape[2:])
        loss, grads = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), (losses, grads))
    updates, opt_state = model.optimizer(state.hyperparameters).update(
        grads, state.opt_state, state.params
    )
    right = jnp.argmax(logits, -1) == jnp.argmax(targets, -1)
    norm = global_norm(grads)
    accuracy = jax.lax.pmean(jnp.mean(right), DATA)
    after = state.replace(
        params=optax.apply_updates(state.params, updates),
        batch_stats=updated.pop("batch_stats", {}),
        opt_state=opt_state,
        collections=updated,
    )
    if model.averaging:
        average = model.averaging.update(state.average, after.params, state.step)
        after = after.replace(average=average)
    if skip_non_finite:
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        after = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, state)
    metrics = {"loss": loss, "accuracy": accuracy, "gradient_norm": norm}
    return after.replace(step=state.step + 1), metrics


def _gradient(
    state: ClassifierState,
    untrained: dict,
    inputs: jax.Array,
    targets: jax.Array,
    key: jax.Array,
    *,
    model: Model,
) -> tuple[dict, tuple[jax.Array, jax.Array, dict]]:
    """The variables that change as the network is applied; loss, logits and gradient."""

    def mean_loss(params):
        # Marked as varying over the shards, so that their gradients are summed exactly once.
        params = jax.lax.pcast(params, DATA, to="varying")
        logits, updated = model.network.apply(
            {"params": params} | untrained,
            inputs,
            train=True,
            mutable=list(untrained),
            rngs=_streams(key, model.network),
        )
        smoothing = state.hyperparameters.label_smoothing
        losses = model.loss(logits, targets, label_smoothing=smoothing)
        if state.class_weights is not None:
            losses *= targets @ state.class_weights
        return jax.lax.pmean(jnp.mean(losses), DATA), (logits, dict(updated))

    (loss, (logits, updated)), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    return _of_all_shards(updated), (loss, logits, grads)


def _streams(key: jax.Array, network: nn.Module) -> dict[str, jax.Array]:
    """The keys of a network's random streams in a step, by name; "params" is of all others.

    A network that knows of the axis of the shards draws by an example's place in the batch, from
    one key on all shards. Any other draws other numbers on each.
    """
    if getattr(network, "axis_name", None) != DATA:
        key = jax.random.fold_in(key, jax.lax.axis_index(DATA))
    other = {"params": jax.random.fold_in(key, _OTHER_STREAMS)}
    return {DROPOUT_STREAM: jax.random.fold_in(key, _DROPOUT)} | other


def _of_all_shards(variables: dict) -> dict:
    """The means of those variables that each shard has updated by its own examples."""
    leaves, tree = jax.tree.flatten(variables)
    varies = [DATA in jax.typeof(leaf).manual_axis_type.varying for leaf in leaves]
    means = iter(jax.lax.pmean([leaf for leaf, v in zip(leaves, varies, strict=True) if v], DATA))
    return tree.unflatten(
        [
            next(means).astype(leaf.dtype) if v else leaf
            for leaf, v in zip(leaves, varies, strict=True)
        ]
    )


def train_steps(state, pool, clips, *, step: Callable) -> tuple[ClassifierState, dict]:
    """Several steps of one fold in one call: clips (S, B, 2 or 1) -> metrics (S,)."""
    return jax.lax.scan(lambda state, clips: step(state, pool, clips), state, clips)


def statistics_step(
    state: ClassifierState, pool: Pool, clips: jax.Array, number: jax.Array, *, model: Model
) -> ClassifierState:
    """Takes a batch into the statistics of the averaged network of one fold.

    They become the mean over batches of what `of_batch` gives, each batch augmented and passed
    through the network as in training. Labels have no part in it.

    Args:
      state: the fold's.
      pool: the clips.
      clips: see `train_step`.
      number: () int32 of the batch; what was before number 0 is forgotten.
      model: the functions of the step.
    """
    average, network = state.average, model.network
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), _STATISTICS)
    key = jax.random.fold_in(key, number)
    inputs, _ = training_examples(model, state.standardise, pool, clips, key)
    parts = inputs.reshape(model.accumulate, -1, *inputs.shape[1:])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(model.accumulate))

    def of_part(part):
        inputs, key = part

        def update(untrained):
            variables = {"params": average.params} | untrained
            how = {"mutable": list(untrained), "rngs": _streams(key, network)}
            _, updated = network.apply(variables, inputs, train=True, **how)
            return _of_all_shards(dict(updated))

        return of_batch(update, state.untrained)

    of_parts = jax.lax.map(of_part, (parts, keys))

    def mean(old, new):
        if not jnp.issubdtype(old.dtype, jnp.floating):
            return new[-1]
        new = jnp.mean(new, axis=0)
        return jnp.where(number == 0, new, old + (new - old) / (number + 1)).astype(old.dtype)

    untrained = jax.tree.map(mean, average.untrained, of_parts)
    return state.replace(average=average.replace(untrained=untrained))


def statistics_steps(state, pool, clips, numbers, *, model: Model) -> ClassifierState:
    """Several batches of one fold in one call: clips (S, B, 2 or 1), numbers (S,)."""
    take = lambda state, batch: (statistics_step(state, pool, *batch, model=model), None)
    return jax.lax.scan(take, state, (clips, numbers))[0]


def eval_step(state: ClassifierState, pool: Pool, clips: jax.Array, *, model: Model):
    """Logits of one fold's model, in evaluation mode.

    Args:
      state: the fold's.
      pool: the clips.
      clips: (B,) int32 indices into the pool, or of crops (B, 2) windows, see `scored_windows`;
        where one is -1 the row means nothing.
      model: the functions of the step.

    Returns:
      (B, K) float32 logits; of crops these, and (B,) bool, whether there is a sound.
    """
    if model.crops is not None:
        inputs, loud = scored_windows(model, state.standardise, pool, jnp.maximum(clips, 0))
        return model.network.apply(state.variables, inputs, train=False), loud
    inputs = state.standardise(model.features(pool, jnp.maximum(clips, 0)))
    return model.network.apply(state.variables, inputs, train=False)


def keep_best(best: BestEpoch, state: ClassifierState, score, epoch) -> BestEpoch:
    """`best`, or this epoch's variables if its score is higher (the earlier one wins a tie)."""
    now = BestEpoch(state.params, state.batch_stats, score, epoch, state.collections)
    return jax.tree.map(lambda new, old: jnp.where(score > best.score, new, old), now, best)


@dataclasses.dataclass(frozen=True)
class Steps:
    """The compiled functions of all folds.

    Attributes:
      train: (state, pool, clips (F, S, B, 2 or 1)) -> state, metrics (F, S). Consumes the state.
      evaluate: (state, pool, clips (F, B)) -> logits (F, B, K); of crops see `eval_step`.
      keep_best: (best, state, score (F,), epoch (F,)) -> best. Consumes `best`.
      statistics: (state, pool, clips (F, S, B, 2 or 1), numbers (S,)) -> state, of an averaged
        network; see `statistics_step`. Consumes the state.
    """

    train: Callable
    evaluate: Callable
    keep_best: Callable
    statistics: Callable


def compile_steps(mesh, model: Model, *, skip_non_finite: bool = False) -> Steps:
    """Maps the steps of one fold over folds and devices; see `train_step` for the arguments."""
    one_step = functools.partial(train_step, model=model, skip_non_finite=skip_non_finite)
    return Steps(
        train=map_folds(
            functools.partial(train_steps, step=one_step),
            mesh,
            in_specs=(PER_FOLD, SHARED, PER_STEP),
            out_specs=(PER_FOLD, PER_FOLD),
            donate=(0,),
            products=model.products,
        ),
        evaluate=map_folds(
            functools.partial(eval_step, model=model),
            mesh,
            in_specs=(PER_FOLD, SHARED, PER_EXAMPLE),
            out_specs=PER_EXAMPLE,
            products=model.products,
        ),
        keep_best=map_folds(
            keep_best, mesh, in_specs=(PER_FOLD,) * 4, out_specs=PER_FOLD, donate=(0,)
        ),
        statistics=map_folds(
            functools.partial(statistics_steps, model=model),
            mesh,
            in_specs=(PER_FOLD, SHARED, PER_STEP, SHARED),
            out_specs=PER_FOLD,
            donate=(0,),
            products=model.products,
        ),
    )


def shapes_of_one(
    like: ClassifierState, one_clip: Pool, *, batch_size: int, partners: bool, crops: bool = False
) -> dict[str, tuple]:
    """The smallest arguments of the steps, by which it is known what they compute.

    Args:
      like: shapes of one fold's state.
      one_clip: shapes of the smallest pool.
      batch_size: of a step.
      partners: whether the examples have mixup partners.
      crops: whether they are crops.

    Returns:
      Name -> arguments of that function of `Steps`, on `mesh.one_device()`.
    """
    like = shapes_per_fold(like, 1, one_device())
    scored = like.scored
    batch = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.int32)
    chosen = jax.ShapeDtypeStruct((1,), jnp.float32), batch((1,))
    return {
        "keep_best": (
            BestEpoch(like.params, like.batch_stats, *chosen, like.collections),
            scored,
            *chosen,
        ),
        "train": (like, one_clip, batch((1, 1, batch_size, 1 + partners))),
        "statistics": (like, one_clip, batch((1, 1, batch_size, 1 + partners)), batch((1,))),
        "evaluate": (scored, one_clip, batch((1, batch_size, 2) if crops else (1, batch_size))),
    }
