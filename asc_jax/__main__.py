"""python -m asc_jax: the same as asc-jax."""

import sys

from asc_jax.cli import main

sys.exit(main())
