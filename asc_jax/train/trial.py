"""Functions of the user's own, tried on shapes before any data is decoded for them."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from asc_jax.config.choices import FUNCTION_FIELDS
from asc_jax.config.load import flatten, frontend_config
from asc_jax.parallel.mesh import DATA
from asc_jax.runtime import functions
from asc_jax.runtime.errors import InputError
from asc_jax.train.classifier import Model
from asc_jax.train.hyperparameters import Hyperparameters

_BATCH = 2  # clips


def try_functions(config, make_model: Callable[[], Model]) -> None:
    """Traces each function of the user's own; nothing is computed.

    Args:
      config: that names them.
      make_model: of it; not called before the frontend has been tried, whose features it is for.

    Raises:
      InputError: one does not run, or returns something else than is wanted.
    """
    fields = flatten(config)
    own = {field for field in FUNCTION_FIELDS if functions.is_own(fields[field])}
    if "frontend.name" in own:
        _try("frontend.name", fields, lambda: _try_frontend(config))
    for field, trial in _TRIALS.items():
        if field in own:
            _try(field, fields, lambda trial=trial: trial(make_model()))


def _try(field: str, fields: Mapping[str, object], trial: Callable[[], tuple[str, str]]) -> None:
    place, _, name = fields[field].rpartition(":")
    try:
        given, wanted = trial()
    except InputError:
        raise
    except Exception as error:  # of any kind: it is the user's program
        raise functions.mistake(error, place, field=field) from error
    if given != wanted:
        raise InputError(
            f"{name} returns {given}, and must return {wanted}", path=place, field=field
        )


def _try_frontend(config) -> tuple[str, str]:
    frontend = frontend_config(config)
    own = functions.load(frontend.name, field="frontend.name")
    clip = _shape(round(config.data.clip_seconds * frontend.sr))
    given = jax.eval_shape(lambda waveform: own(waveform, dict(frontend.fields)), clip)
    wanted = "float(frames, bands)"
    return (wanted if _is_features(given) else _describe(given)), wanted


def _is_features(given) -> bool:
    is_array = hasattr(given, "ndim")
    return is_array and given.ndim == 2 and jnp.issubdtype(given.dtype, jnp.floating)


def _try_network(model: Model) -> tuple[str, str]:
    clips = _shape(_BATCH, *model.input_shape)
    key = jax.eval_shape(lambda: jax.random.key(0))
    init = lambda key, x: model.network.init(key, x, train=False)
    variables = jax.eval_shape(init, key, clips)

    def apply(variables, key, x):
        others = [name for name in variables if name != "params"]
        logits, updated = model.network.apply(
            variables, x, train=True, mutable=others, rngs={"params": key, "dropout": key}
        )
        return (logits, model.network.apply(variables, x, train=False)), updated

    # With the axis of the shards, as in a step.
    mapped = jax.vmap(apply, in_axes=(None, None, 0), axis_name=DATA)
    outputs, updated = jax.tree.map(
        _without_axis, jax.eval_shape(mapped, variables, key, _shape(1, *clips.shape))
    )
    for name, collection in updated.items():
        if _describe(collection) != _describe(variables[name]):
            raise InputError(
                f"changes the collection {name!r} from {_describe(variables[name])} to "
                f"{_describe(collection)}; its variables must stay of one kind",
                field="model.name",
            )
    given = [_describe(one) for one in outputs]
    wanted = _describe(_shape(_BATCH, model.n_classes))
    return next((one for one in given if one != wanted), wanted), wanted


def _try_augment(model: Model) -> tuple[str, str]:
    clip, target = _shape(*model.input_shape), _shape(model.n_classes)
    key = jax.eval_shape(lambda: jax.random.key(0))
    given = jax.eval_shape(model.augment, key, clip, target, clip, target)
    return _describe(given), _describe((clip, target))


def _try_loss(model: Model) -> tuple[str, str]:
    logits = _shape(_BATCH, model.n_classes)
    given = jax.eval_shape(lambda *two: model.loss(*two, label_smoothing=0.0), logits, logits)
    return _describe(given), _describe(_shape(_BATCH))


def _try_schedule(model: Model) -> tuple[str, str]:
    step = jax.ShapeDtypeStruct((), jnp.int32)
    return _describe(jax.eval_shape(model.schedule, step)), _describe(_shape())


def _try_optimizer(model: Model) -> tuple[str, str]:
    params = {"layer": {"kernel": _shape(3, 2), "bias": _shape(2)}}

    def update(params):
        optimizer = model.optimizer(Hyperparameters(jnp.float32(1e-3)))
        return optimizer.update(params, optimizer.init(params), params)[0]

    return _describe(jax.eval_shape(update, params)), _describe(params)


def _shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def _without_axis(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)


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
