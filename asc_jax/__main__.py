"""The process of asc-jax, or python -m asc_jax."""

import sys

from asc_jax.cli import main
from asc_jax.runtime import output


def start() -> None:
    """Carries out the command line of this process, and ends it."""
    output.prepare()
    try:
        status = main()
    except SystemExit as left:  # argparse's, of --help
        status = left.code
    sys.exit(output.finish(status))


if __name__ == "__main__":
    start()
