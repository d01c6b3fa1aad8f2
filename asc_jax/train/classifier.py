"""The steps of one fold's model, and how they are compiled for all folds.

`train_step` and `eval_step` know one fold and its share of the batch; `compile_steps` maps
them over folds and devices.
"""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from asc_jax.data.pool import Pool
from asc_jax.models.dropout import DROPOUT_STREAM
from asc_jax.ops.global_norm import global_norm
from asc_jax.parallel.arrays import shapes_per_fold
from asc_jax.parallel.mapping import PER_EXAMPLE, PER_FOLD, PER_STEP, SHARED, map_folds
from asc_jax.parallel.mesh import DATA, one_device
from asc_jax.train.averaging import of_batch
from asc_jax.train.best_epoch import BestEpoch, keep_best
from asc_jax.train.examples import scored_windows, training_examples
from asc_jax.train.recipe import Model
from asc_jax.train.state import INITIAL, ClassifierState

_DROPOUT = 2**32 - 1  # what a step's key becomes for dropout: beyond every place in a batch
_OTHER_STREAMS = _DROPOUT - 1

# What a fold's key becomes for the statistics of its averaged network: beyond every step.
_STATISTICS = INITIAL - 1


def train_step(
    state: ClassifierState,
    pool: Pool,
    clips: jax.Array,
    *,
    model: Model,
    skip_non_finite: bool,
) -> tuple[ClassifierState, dict[str, jax.Array]]:
    """Takes one optimizer step of one fold.

    It averages over the mesh axis `DATA`, so it is called through `map_folds`, as `compile_steps`
    does; one device is a mesh of (1, 1).

    Args:
      state: the fold's.
      pool: the clips.
      clips: (B, 2) int32 indices into the pool: each example and its partner; (B, 1)
        without partners.
      model: the functions of the step.
      skip_non_finite: leave parameters, statistics and the optimizer's state as they are
        where the loss or the gradient is not finite; the step is counted all the same.

    Returns:
      The next state; and metrics over the fold's whole batch: "loss", "accuracy" (how often the
      likeliest class is that of the target, which may be a mixture), and "gradient_norm", the
      global one before any clipping.
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
      partners: whether the examples have partners, see `Model`.
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
