"""The functions that a config names, as its folds have them in common."""

import functools
from collections.abc import Callable

from asc_jax.augment import make_augment, make_band_augment, make_waveform_augment, reach
from asc_jax.config.load import frontend_config
from asc_jax.data import pool
from asc_jax.runs.inputs import (
    crops_of,
    input_samples,
    input_shape,
    kept_frames,
    make_network,
    read_impulse_responses,
)
from asc_jax.runtime import functions, precision
from asc_jax.train.averaging import make_averaging
from asc_jax.train.losses import make_loss
from asc_jax.train.optimizer import make_optimizer, make_schedule
from asc_jax.train.recipe import Model, Waveforms


def make_model(config, n_classes: int, n_steps: int) -> Model:
    """The functions that a config names.

    Args:
      config: checked.
      n_classes: of the data set.
      n_steps: of the whole run, for the schedule of the learning rate and for averages.

    Raises:
      InputError: a file with a function of the user's own does not run, or lacks it.
    """
    group = config.optimizer
    schedule = make_schedule(
        _own_or_name(group.schedule, "optimizer.schedule"),
        n_steps,
        group.warmup,
        drops=group.drops,
        drop_factor=group.drop_factor,
    )
    crops, waveforms = crops_of(config), _make_waveforms(config)
    return Model(
        network=make_network(config, n_classes),
        optimizer=functools.partial(
            make_optimizer,
            name=_own_or_name(group.name, "optimizer.name"),
            share=schedule,
            clip_norm=group.clip_norm,
            momentum=group.momentum,
            fields=group.to_dict(),
        ),
        schedule=schedule,
        features=functools.partial(
            pool.log_mels,
            frontend=frontend_config(config),
            n_frames=kept_frames(config),
            size=crops.size if crops else 0,
        ),
        loss=make_loss(config.train.loss),
        augment=make_augment(config.augment),
        partners=waveforms is not None and config.augment.between_class,
        input_shape=input_shape(config),
        n_classes=n_classes,
        normalisation=config.data.normalisation,
        products=precision.products_of(config.train.precision),
        accumulate=config.train.accumulate,
        crops=crops,
        balanced=config.train.class_weights == "balanced",
        waveforms=waveforms,
        averaging=make_averaging(config.train, n_steps),
        bands=make_band_augment(config.augment, frontend_config(config)),
    )


def _make_waveforms(config) -> Waveforms | None:
    responses = functools.cache(functools.partial(read_impulse_responses, config))
    augment = make_waveform_augment(config.augment, responses)
    if augment is None:
        return None
    return Waveforms(
        augment,
        reach(input_samples(config), config.augment.time_scale),
        functools.partial(
            pool.features_of, frontend=frontend_config(config), n_frames=kept_frames(config)
        ),
    )


def _own_or_name(name: str, field: str) -> str | Callable:
    """The function that a field names, if it is the user's own."""
    return functions.load(name, field=field) if functions.is_own(name) else name
