"""Acoustic scene classification as pure JAX functions."""

__version__ = "0.1.0"


def load(place, *, fold: int = 0, other_functions: bool = False):
    """Opens a trained run, or an exported one; see `asc_jax.inference.exported.load`."""
    from asc_jax.inference import exported  # not at the top: JAX takes a second

    return exported.load(place, fold=fold, other_functions=other_functions)
