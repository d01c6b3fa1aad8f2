"""A network and a data set small enough to train in a test."""

import types

import numpy as np
import pytest

from asc_jax.data.folds import Split
from asc_jax.data.pool import Pool
from asc_jax.train import parallel

# The level of tests/conftest.py, against the one that steps ask for: they are compiled more
# often here than they run.
parallel.COMPILER_OPTIONS["cpu"]["xla_backend_optimization_level"] = 0

N_CLIPS, N_FRAMES, N_MELS, N_CLASSES = 40, 24, 16, 3


@pytest.fixture(scope="session")
def small_pool() -> Pool:
    """40 clips of 24 frames and 16 bands; each class has its own loud band."""
    rng = np.random.default_rng(0)
    targets = np.arange(N_CLIPS, dtype=np.int32) % N_CLASSES
    log_mels = rng.normal(size=(N_CLIPS, N_FRAMES, N_MELS))
    log_mels[np.arange(N_CLIPS), :, 4 * targets] += 2
    return Pool(
        values=np.rint(1000 * log_mels).astype(np.int16),
        scale=np.full(N_CLIPS, 1e-3, np.float32),
        offset=np.full(N_CLIPS, -5, np.float32),
        targets=targets,
    )


@pytest.fixture(scope="session")
def small_splits() -> tuple[Split, ...]:
    """Four folds; the training parts differ in size."""
    clips = np.arange(N_CLIPS, dtype=np.int32)
    fold_of = np.concatenate([np.full(n, f) for f, n in enumerate((13, 10, 9, 8), start=1)])
    nothing = np.array([], np.int32)
    return tuple(
        Split(fold, clips[fold_of != fold], nothing, clips[fold_of == fold]) for fold in range(1, 5)
    )


@pytest.fixture(scope="session")
def small_model() -> types.MappingProxyType:
    """The `model` group of a config."""
    sizes = {"stage_sizes": (1, 1), "stage_strides": (1, 2), "width": 4}
    return types.MappingProxyType({"name": "resnet", **sizes, "se_ratio": 2})
