"""Functions of the user's own, tried before any data is decoded for them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from asc_jax.config.choices import FUNCTION_FIELDS
from asc_jax.config.load import flatten, frontend_config
from asc_jax.parallel.mapping import compile_once
from asc_jax.parallel.mesh import DATA
from asc_jax.runtime import functions
from asc_jax.runtime.errors import InputError
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.recipe import Model

N_STEPS = 100  # of the run that schedules are tried for

_BATCH = 2  # clips

# What to do about an error whose text does not say it to a user of this package.
_HINTS = (
    ("keyword argument 'train'", "its __call__ must take (x, train)"),
    ("not a valid JAX type", "its collections may hold arrays alone, to be stacked over folds"),
    (
        "InvalidRngError",
        "with train=False it may draw nothing: write deterministic=not train, or the like",
    ),
    (
        "ModifyScopeVariableError",
        "with train=False it may change nothing: write use_running_average=not train, or the like",
    ),
)


@dataclasses.dataclass(frozen=True)
class _Trial:
    """What a function gives on shapes and what it must, and how to compute it on a random clip."""

    given: str
    wanted: str
    compute: Callable[[], object]


def try_functions(config, make_model: Callable[[], Model]) -> None:
    """Traces each function of the user's own, and runs it once on random numbers.

    Args:
      config: that names them.
      make_model: of it; not called before the frontend has been tried, whose features it is for.

    Raises:
      InputError: one does not run, returns something else than is wanted, or what is not finite.
    """
    fields = flatten(config)
    own = {field for field in FUNCTION_FIELDS if functions.is_own(fields[field])}
    if "frontend.name" in own:
        _try("frontend.name", fields, lambda: _try_frontend(config))
    for field, trial in _TRIALS.items():
        if field in own:
            _try(field, fields, lambda trial=trial: trial(make_model()))


def _try(field: str, fields: Mapping[str, object], make_trial: Callable[[], _Trial]) -> None:
    place, _, name = fields[field].rpartition(":")
    try:
        trial = make_trial()
        as_wanted = trial.given == trial.wanted
        finite = not as_wanted or all(
            np.isfinite(leaf).all() for leaf in jax.tree.leaves(trial.compute())
        )
    except InputError:
        raise
    except Exception as error:  # of any kind: it is the user's program
        said = f"{type(error).__name__}: {error}"
        hint = next((hint for known, hint in _HINTS if known in said), "")
        refusal = functions.mistake(error, place, field=field, hint=hint)
        if refusal.path == place:  # no line of it ran
            refusal = refusal.at(path=functions.place_of(fields[field], field=field))
        raise refusal from error
    if as_wanted and finite:
        return
    where = {"path": functions.place_of(fields[field], field=field), "field": field}
    if not as_wanted:
        what = " (a loss for each of two clips)" if field == "train.loss" else ""
        must = f"must return {trial.wanted}{what}"
        raise InputError(f"{name} returns {trial.given}, but {must}", **where)
    raise InputError(
        f"{name} gives NaN or infinity for random numbers in the shape of a clip; keep "
        "divisors and the arguments of logarithms above 0",
        **where,
    )


def _try_frontend(config) -> _Trial:
    frontend = frontend_config(config)
    own = functions.load(frontend.name, field="frontend.name")
    n_samples = round(config.data.clip_seconds * frontend.sr)
    features = compile_once(lambda waveform: own(waveform, dict(frontend.fields)))
    given = jax.eval_shape(features, _shape(n_samples))
    wanted = "float(frames, bands)"
    return _Trial(
        wanted if _is_features(given) else _describe(given),
        wanted,
        lambda: features(0.1 * _random(n_samples)),
    )


def _is_features(given) -> bool:
    is_array = hasattr(given, "ndim")
    return is_array and given.ndim == 2 and jnp.issubdtype(given.dtype, jnp.floating)


def _try_network(model: Model) -> _Trial:
    clips = _shape(_BATCH, *model.input_shape)
    key = jax.eval_shape(lambda: jax.random.key(0))
    init = compile_once(functools.partial(model.network.init, train=False))
    score = compile_once(functools.partial(model.network.apply, train=False))
    variables = jax.eval_shape(init, key, clips)

    def train(variables, key, x):
        others = [name for name in variables if name != "params"]
        return model.network.apply(
            variables, x, train=True, mutable=others, rngs={"params": key, "dropout": key}
        )

    # With the axis of the shards, as in a step.
    mapped = jax.vmap(train, in_axes=(None, None, 0), axis_name=DATA)
    logits, updated = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype),
        jax.eval_shape(mapped, variables, key, _shape(1, *clips.shape)),
    )
    for name, collection in updated.items():
        if _describe(collection) != _describe(variables[name]):
            raise InputError(
                f"changes the collection {name!r} from {_describe(variables[name])} to "
                f"{_describe(collection)}; its variables must stay of one kind",
                field="model.name",
            )
    given = [_describe(one) for one in (logits, jax.eval_shape(score, variables, clips))]
    wanted = _describe(_shape(_BATCH, model.n_classes))

    def compute():
        clip = _random(1, *model.input_shape)
        return score(init(jax.random.key(0), clip), clip)

    return _Trial(next((one for one in given if one != wanted), wanted), wanted, compute)


def _try_augment(model: Model) -> _Trial:
    clip, target = _shape(*model.input_shape), _shape(model.n_classes)
    key = jax.eval_shape(lambda: jax.random.key(0))
    given = jax.eval_shape(model.augment, key, clip, target, clip, target)

    def compute():
        clips, targets = _random(2, *clip.shape), _targets(model)
        examples = clips[0], targets[0], clips[1], targets[1]
        return compile_once(model.augment)(jax.random.key(0), *examples)

    return _Trial(_describe(given), _describe((clip, target)), compute)


def _try_loss(model: Model) -> _Trial:
    logits = _shape(_BATCH, model.n_classes)
    loss = functools.partial(model.loss, label_smoothing=0.0)
    given = jax.eval_shape(loss, logits, logits)

    def compute():
        mean = lambda logits: loss(logits, _targets(model)).mean()
        return jax.value_and_grad(mean)(_random(*logits.shape))

    return _Trial(_describe(given), _describe(_shape(_BATCH)), compute)


def _try_schedule(model: Model) -> _Trial:
    given = jax.eval_shape(model.schedule, jax.ShapeDtypeStruct((), jnp.int32))
    compute = lambda: jax.vmap(model.schedule)(jnp.arange(N_STEPS))
    return _Trial(_describe(given), _describe(_shape()), compute)


def _try_optimizer(model: Model) -> _Trial:
    params = {"layer": {"kernel": _shape(3, 2), "bias": _shape(2)}}

    def update(params):
        optimizer = model.optimizer(Hyperparameters(jnp.float32(1e-3)))
        return optimizer.update(params, optimizer.init(params), params)[0]

    given = jax.eval_shape(update, params)
    compute = lambda: update(jax.tree.map(lambda leaf: _random(*leaf.shape), params))
    return _Trial(_describe(given), _describe(params), compute)


def _random(*sizes: int) -> jax.Array:
    """Standard normal numbers, always the same."""
    return jax.random.normal(jax.random.key(0), sizes)


def _targets(model: Model) -> jax.Array:
    """(2, K): of a class, and of a mixture of two."""
    one_hot = jnp.eye(model.n_classes)
    return jnp.stack([one_hot[0], 0.75 * one_hot[0] + 0.25 * one_hot[1]])


def _shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def _describe(tree) -> str:
    """Shapes in short, as float(2, 10)."""

    def name(leaf) -> str:
        if not hasattr(leaf, "shape"):
            return type(leaf).__name__
        return f"{'float' if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype}{leaf.shape}"

    return str(jax.tree.map(name, tree)).replace("'", "")


_TRIALS = {
    "model.name": _try_network,
    "augment.name": _try_augment,
    "train.loss": _try_loss,
    "optimizer.schedule": _try_schedule,
    "optimizer.name": _try_optimizer,
}
