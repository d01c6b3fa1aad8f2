"""Programs by name: the text that JAX traces for a function, whatever function that is."""

import re
from collections.abc import Callable

from asc_jax.runtime.files import digest

# How a program that calls the host names that, on a CPU, a GPU and a TPU.
_CALLS_HOST = re.compile(r"xla\w*_callback|xla_host_transfer")


def name_program(step: Callable, *shapes, **static) -> str | None:
    """Names what JAX traces for a compiled function.

    Args:
      step: from `jax.jit`.
      *shapes: of its arguments.
      **static: its arguments that are no arrays.

    Returns:
      A digest of the program and its constants; None where it calls the host, for what is called
      there does not show.
    """
    import jax
    import numpy as np

    # Flags to look for a NaN with change no function.
    with jax.debug_nans(False), jax.debug_infs(False):
        traced = step.trace(*shapes, **static)
        program = traced.lower().as_text()
    if _CALLS_HOST.search(program):
        return None
    constants = [np.asarray(one).tobytes() for one in traced.jaxpr.consts]
    return digest(b"".join([program.encode(), *constants]))
