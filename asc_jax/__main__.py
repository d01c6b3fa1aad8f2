"""The process of asc-jax, or python -m asc_jax."""

import sys

from asc_jax import huge_pages


def start() -> None:
    """Carries out the command line of this process, and ends it."""
    huge_pages.ask()
    from asc_jax.cli import main  # not before: the process may begin anew

    sys.exit(main())


if __name__ == "__main__":
    start()
