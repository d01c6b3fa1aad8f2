"""Acoustic scene classification as pure JAX functions."""

__version__ = "0.1.0"


def load(folder, **how):
    """Opens a trained run for recordings of one's own; see `asc_jax.inference.model.load`."""
    from asc_jax.inference.model import load as load_run  # not at the top: JAX takes a second

    return load_run(folder, **how)
