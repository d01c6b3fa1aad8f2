"""From files to arrays: clips, folds, decoded audio, and the pool on the device.

The readers import neither JAX nor a decoder until they need one, so that the tables of a
data set can be read anywhere. The pool, which lives on the device, is `asc_jax.data.pool`.
"""

from asc_jax.data.clips import Clip, Dataset, read_dataset
from asc_jax.data.folds import Split, location_folds, make_splits
from asc_jax.data.published_folds import PublishedFold

__all__ = [
    "Clip",
    "Dataset",
    "PublishedFold",
    "Split",
    "location_folds",
    "make_splits",
    "read_dataset",
]
