"""A training step to measure: asc_jax's own, on a synthetic pool."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from asc_jax import models
from asc_jax.augment import Augmentation, augment
from asc_jax.data import batches
from asc_jax.data.folds import Split
from asc_jax.data.normalisation import band_moments
from asc_jax.data.pool import Pool, log_mels
from asc_jax.frontend import FrontendConfig
from asc_jax.models.summary import summarise
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import SHARED
from asc_jax.parallel.mesh import DATA, make_mesh, one_device
from asc_jax.parallel.programs import name_program
from asc_jax.runtime import precision
from asc_jax.train import classifier
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.losses import cross_entropy
from asc_jax.train.optimizer import make_optimizer, make_schedule
from asc_jax.train.recipe import Model
from asc_jax.train.state import ClassifierState, init_state

N_CLASSES = 10

LEARNING_RATE = 1e-3

RESNET50 = {"name": "resnet", "stage_sizes": (3, 4, 6, 3), "se_ratio": 0}
SE_RESNET50 = RESNET50 | {"se_ratio": 16}
SE_RESNET152 = RESNET50 | {"stage_sizes": (3, 8, 36, 3), "se_ratio": 16}
TINY = {"name": "resnet", "stage_sizes": (1, 1), "stage_strides": (1, 2), "width": 8, "se_ratio": 4}


@dataclasses.dataclass(frozen=True)
class Size:
    """How much a training step has to do.

    Attributes:
      folds: F.
      batch: clips per step and fold B.
      n_frames: frames of a clip N.
      n_mels: mel bands M.
    """

    folds: int = 4
    batch: int = 16
    n_frames: int = 500
    n_mels: int = 40


QUICK = Size(folds=2, batch=4, n_frames=40, n_mels=16)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A compiled training step and its arguments.

    Attributes:
      train: (state, pool, clips (F, S, B, 2)) -> state, metrics (F, S). Consumes the state.
      state: of all folds, on the devices.
      pool: on the devices.
      clips: (F, steps, B, 2), indices of an epoch's batches.
      n_steps: of a call of `train`, S.
      seconds: that the phases of the preparation took, by name.
    """

    train: Callable
    state: ClassifierState
    pool: Pool
    clips: np.ndarray
    n_steps: int
    seconds: Mapping[str, float]


def prepare(
    model: Mapping,
    size: Size,
    *,
    dtype: str = "float32",
    n_clips: int = 256,
    mesh_shape: tuple[int, ...] = (),
    n_steps: int = 1,
) -> Prepared:
    """Builds and compiles the training step of a network.

    Args:
      model: its config.
      size: of the step.
      dtype: of the network's computation.
      n_clips: clips of the pool; every fold trains on the share of the other folds.
      mesh_shape: see `mesh.make_mesh`.
      n_steps: of a call, at most.

    Returns:
      All that the step needs.
    """
    seconds, clock = {}, _stopwatch()
    splits = make_splits(size.folds, n_clips)
    mesh = make_mesh(size.folds, size.batch, shape=mesh_shape)
    host_pool = make_pool(size, n_clips)
    pool = put(host_pool, mesh, SHARED)
    one_model = make_model(model, size, dtype)
    state = jax.block_until_ready(initial(one_model, splits, host_pool, mesh))
    clips = batches.epoch_indices(
        splits,
        seed=0,
        epoch=0,
        n_steps=batches.steps_per_epoch(splits, size.batch),
        batch_size=size.batch,
    )
    seconds["initial state"] = clock()

    steps = classifier.compile_steps(one_device(), one_model)
    one = lambda shape: lambda leaf: jax.ShapeDtypeStruct((*shape, *leaf.shape[1:]), leaf.dtype)
    shapes = classifier.shapes_of_one(
        jax.tree.map(one(()), state),
        jax.tree.map(one((1,)), host_pool),
        batch_size=size.batch,
        partners=False,
    )
    for name in ("evaluate", "train"):  # as `asc-jax train` does before it trains
        name_program(getattr(steps, name), *shapes[name])
    seconds["names"] = clock()

    steps = classifier.compile_steps(mesh, one_model)
    n_steps = min(n_steps, clips.shape[1])
    train = steps.train.lower(state, pool, clips[:, :n_steps]).compile()
    seconds["program"] = clock()
    return Prepared(train, state, pool, clips, n_steps, seconds)


def prepare_as_trained(model: Mapping, size: Size, dtype: str, n_clips: int) -> Prepared:
    """The same on one device, with the steps in a call that training chooses for so many clips."""
    n_steps = steps_per_call(size, n_clips)
    return prepare(model, size, dtype=dtype, n_clips=n_clips, mesh_shape=(1, 1), n_steps=n_steps)


def steps_per_call(size: Size, n_clips: int) -> int:
    """Steps of a dispatch, as training chooses them for an epoch."""
    if jax.default_backend() == "cpu":
        return 1
    return batches.steps_per_call(
        batches.steps_per_epoch(make_splits(size.folds, n_clips), size.batch)
    )


def make_model(model: Mapping, size: Size, dtype: str = "float32") -> Model:
    """What training makes of a network's config, in a precision of `train.precision`."""
    schedule = make_schedule("constant", n_steps=1)
    adam = {"name": "adam", "share": schedule, "clip_norm": 0}
    frontend = FrontendConfig(n_mels=size.n_mels)
    return Model(
        build(model, dtype),
        functools.partial(make_optimizer, **adam),
        schedule,
        features=functools.partial(log_mels, frontend=frontend, n_frames=0),
        loss=cross_entropy,
        augment=functools.partial(augment, cfg=Augmentation()),
        partners=False,
        input_shape=(size.n_frames, size.n_mels),
        n_classes=N_CLASSES,
        products=precision.products_of(dtype),
    )


def initial(model: Model, splits: Sequence[Split], pool: Pool, mesh: Mesh):
    """The state of a fold per split before training."""
    members = [(split, 0, Hyperparameters(lr=LEARNING_RATE)) for split in splits]
    return init_state(model, members, band_moments(pool, model.features), mesh)


def stepper(prepared: Prepared) -> Callable[[], None]:
    """A function that does the next call of steps; it takes the state, so make only one."""
    state, clips = prepared.state, prepared.clips[:, : prepared.n_steps]

    def step():
        nonlocal state
        state, metrics = prepared.train(state, prepared.pool, clips)
        jax.block_until_ready((state, metrics))

    return step


def build(model: Mapping, dtype: str = "float32"):
    """The network of a config, as training makes it."""
    # Out of JSON, tuples come as lists, which a module cannot hash.
    model = {key: tuple(v) if isinstance(v, list) else v for key, v in model.items()}
    return models.build(model, N_CLASSES, axis_name=DATA, dtype=precision.dtype_of(dtype))


def step_flops(model: Mapping, size: Size) -> float:
    """Of a training step: forward, gradient by input, gradient by kernel, two per MAC."""
    macs = summarise(build(model), size.n_frames, size.n_mels).macs
    return 3.0 * 2 * macs * size.folds * size.batch


def make_splits(n_folds: int, n_clips: int) -> tuple[Split, ...]:
    """Every fold holds out another share of the clips; a single fold holds out a quarter."""
    none = np.zeros(0, np.int32)
    clips = np.arange(n_clips, dtype=np.int32)
    held_out = [clips[fold :: max(n_folds, 4)] for fold in range(n_folds)]
    return tuple(
        Split(fold, np.setdiff1d(clips, out), none, out) for fold, out in enumerate(held_out, 1)
    )


def make_pool(size: Size, n_clips: int) -> Pool:
    """Noise in the shape of log-mels, on the host."""
    rng = np.random.default_rng(0)
    shape = (n_clips, size.n_frames, size.n_mels)
    return Pool(
        values=rng.integers(-30_000, 30_000, shape, dtype=np.int16),
        scale=np.full(n_clips, 1e-4, np.float32),
        offset=np.zeros(n_clips, np.float32),
        targets=rng.integers(0, N_CLASSES, n_clips, dtype=np.int32),
    )


def _stopwatch() -> Callable[[], float]:
    """A function that gives the seconds since its last call."""
    last = time.perf_counter()

    def lap() -> float:
        nonlocal last
        before, last = last, time.perf_counter()
        return last - before

    return lap
