"""asc-jax as a process of its own, whose steps are compiled as quickly as the tests' own."""

import sys

_START = """
from asc_jax.__main__ import start
from asc_jax.parallel.mapping import COMPILER_OPTIONS

COMPILER_OPTIONS["cpu"]["xla_backend_optimization_level"] = 0
start()
"""

# Followed by the words of a command.
ASC_JAX = (sys.executable, "-c", _START)
