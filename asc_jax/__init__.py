"""Acoustic scene classification as pure JAX functions."""

import time

__version__ = "0.1.0"

STARTED = time.time()  # before any other module of the package was read
